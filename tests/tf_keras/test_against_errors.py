"""fanin against tf_keras itself: errors, of the same types, and beginning with the same words."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fanin
from strategies import (
    Call,
)
from tf_keras_kit import K

MATRIX = (3, 3)
# what is called, the type of both libraries' exceptions, how both messages begin
SAME_ERRORS: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "normal of integers": (
        lambda k: k.RandomNormal(seed=1)(MATRIX, "int32"),
        ValueError,
        "Expected floating point type, got ",
    ),
    "normal of bools": (
        lambda k: k.RandomNormal(seed=1)(MATRIX, "bool"),
        ValueError,
        "Expected floating point type, got ",
    ),
    "normal of complex": (
        lambda k: k.HeNormal(seed=1)(MATRIX, "complex64"),
        ValueError,
        "Expected floating point type, got ",
    ),
    "orthogonal of integers": (
        lambda k: k.Orthogonal(seed=1)(MATRIX, "int32"),
        ValueError,
        "Expected floating point type, got ",
    ),
    "identity of integers": (lambda k: k.Identity()(MATRIX, "int32"), ValueError, "Expected floating point type, got "),
    "normal of strings": (
        lambda k: k.RandomNormal(seed=1)(MATRIX, "string"),
        ValueError,
        "Expected floating point type, got ",
    ),
    "uniform of strings": (
        lambda k: k.RandomUniform(seed=1)(MATRIX, "string"),
        ValueError,
        "Expected float or integer dtype, got ",
    ),
    "uniform of bools": (
        lambda k: k.RandomUniform(seed=1)(MATRIX, "bool"),
        ValueError,
        "Expected float or integer dtype, got ",
    ),
    "uniform of complex": (
        lambda k: k.RandomUniform(seed=1)(MATRIX, "complex64"),
        ValueError,
        "Expected float or integer dtype, got ",
    ),
    "zeros of strings": (lambda k: k.Zeros()(MATRIX, "string"), ValueError, "Expected numeric or boolean dtype, got "),
    "ones of strings": (lambda k: k.Ones()(MATRIX, "string"), ValueError, "Expected numeric or boolean dtype, got "),
    "unknown dtype": (lambda k: k.Zeros()(MATRIX, "float33"), TypeError, "Cannot convert "),
    "default bounds, int32": (lambda k: k.RandomUniform(seed=1)(MATRIX, "int32"), TypeError, ""),
    "default bounds, int64": (lambda k: k.RandomUniform(seed=1)(MATRIX, "int64"), TypeError, ""),
    "float bounds, int32": (lambda k: k.RandomUniform(0.0, 5.0, seed=1)(MATRIX, "int32"), TypeError, ""),
    "default bounds, uint32": (lambda k: k.RandomUniform(seed=1)(MATRIX, "uint32"), ValueError, ""),
    "bounds, uint64": (lambda k: k.RandomUniform(0, 5, seed=1)(MATRIX, "uint64"), ValueError, ""),
    "int8": (lambda k: k.RandomUniform(0, 5, seed=1)(MATRIX, "int8"), ValueError, ""),
    "uint8": (lambda k: k.RandomUniform(None, None, seed=1)(MATRIX, "uint8"), ValueError, ""),
    "one bound of integers": (lambda k: k.RandomUniform(0, None, seed=1)(MATRIX, "int32"), ValueError, ""),
    "other bound of integers": (lambda k: k.RandomUniform(None, 5, seed=1)(MATRIX, "int64"), ValueError, ""),
    "bound out of int64": (lambda k: k.RandomUniform(0, 2**63, seed=1)(MATRIX, "int64"), ValueError, ""),
    "no lower bound": (lambda k: k.RandomUniform(None, 1.0, seed=1)(MATRIX), ValueError, ""),
    "no bounds": (lambda k: k.RandomUniform(None, None, seed=1)(MATRIX), ValueError, ""),
    "scale 0": (lambda k: k.VarianceScaling(0), ValueError, "`scale` must be positive float. Received: scale=0."),
    "scale -1.5": (
        lambda k: k.VarianceScaling(-1.5),
        ValueError,
        "`scale` must be positive float. Received: scale=-1.5.",
    ),
    "scale '1'": (lambda k: k.VarianceScaling("1"), TypeError, ""),
    "mode": (lambda k: k.VarianceScaling(mode="fan"), ValueError, "Invalid `mode` argument: "),
    "distribution": (
        lambda k: k.VarianceScaling(distribution="cauchy"),
        ValueError,
        "Invalid `distribution` argument: ",
    ),
    "orthogonal vector": (
        lambda k: k.Orthogonal(seed=1)((3,)),
        ValueError,
        "The tensor to initialize must be at least two-dimensional. Received: shape=(3,) of rank 1.",
    ),
    "identity of rank 3": (
        lambda k: k.Identity()((3, 3, 3)),
        ValueError,
        "Identity matrix initializer can only be used for 2D matrices. Received: shape=(3, 3, 3) of rank 3.",
    ),
    "orthogonal partition": (
        lambda k: k.Orthogonal(seed=1)(MATRIX, partition_shape=(2, 2)),
        ValueError,
        "Orthogonal initializer doesn't support partition-related arguments.",
    ),
    "orthogonal partition None": (
        lambda k: k.Orthogonal(seed=1)(MATRIX, partition_offset=None),
        ValueError,
        "Orthogonal initializer doesn't support partition-related arguments.",
    ),
    "identity partition": (
        lambda k: k.Identity()(MATRIX, partition_offset=(0, 0)),
        ValueError,
        "Identity initializer doesn't support partition-related arguments.",
    ),
    "unknown keywords": (
        lambda k: k.Zeros()(MATRIX, foo=1, bar=2),
        TypeError,
        "Unknown keyword arguments: ['foo', 'bar']. "
        "Allowed keyword arguments: ['partition_shape', 'partition_offset', 'layout'].",
    ),
    "too many arguments": (lambda k: k.HeNormal(1, 2), TypeError, ""),
    "unknown argument": (lambda k: k.RandomNormal(sed=1), TypeError, ""),
    "seed too large": (lambda k: k.RandomNormal(seed=2**63)(MATRIX), ValueError, ""),
    "seed too small": (lambda k: k.HeNormal(seed=-(2**63) - 1)(MATRIX), ValueError, ""),
    "mean '0'": (lambda k: k.RandomNormal(mean="0", seed=1)(MATRIX), TypeError, ""),
    "mean 1j": (lambda k: k.RandomNormal(mean=1j, seed=1)(MATRIX), TypeError, ""),
    "minval 'a'": (lambda k: k.RandomUniform(minval="a", seed=1)(MATRIX), TypeError, ""),
    "orthogonal gain 'a'": (lambda k: k.Orthogonal(gain="a", seed=1)(MATRIX), TypeError, ""),
    "identity gain 'a'": (lambda k: k.Identity(gain="a")(MATRIX), TypeError, ""),
    "constant 3.7 of integers": (lambda k: k.Constant(3.7)(MATRIX, "int32"), TypeError, ""),
    "constant 3.0 of integers": (lambda k: k.Constant(3.0)(MATRIX, "int32"), TypeError, ""),
    "constant 0 of bools": (lambda k: k.Constant(0)(MATRIX, "bool"), TypeError, ""),
    "constant 1j of floats": (lambda k: k.Constant(1j)(MATRIX, "float32"), TypeError, ""),
    "constant '3'": (lambda k: k.Constant("3")(MATRIX), TypeError, ""),
    "bare base class": (
        lambda k: k.Initializer()(MATRIX),
        NotImplementedError,
        "Initializer subclasses must implement the `__call__()` method.",
    ),
    "unknown name": (lambda k: k.get("nope"), ValueError, "Unknown initializer: 'nope'. "),
    "name in other case": (lambda k: k.get("HENORMAL"), ValueError, "Unknown initializer: 'HENORMAL'. "),
    "unknown class name": (
        lambda k: k.get({"class_name": "Nope", "config": {}}),
        ValueError,
        "Unknown initializer: 'Nope'. ",
    ),
    "no identifier": (lambda k: k.get(3), ValueError, "Could not interpret initializer identifier: 3"),
    "list as identifier": (lambda k: k.get([]), ValueError, "Could not interpret initializer identifier: []"),
    "empty dict": (lambda k: k.get({}), ValueError, "Improper config format for {}. "),
    "dict without config": (
        lambda k: k.get({"class_name": "Zeros"}),
        ValueError,
        "Improper config format for {'class_name': 'Zeros'}. ",
    ),
    "dict without class": (lambda k: k.get({"config": {}}), ValueError, "Improper config format for {'config': {}}. "),
    "unknown config key": (lambda k: k.get({"class_name": "HeNormal", "config": {"sed": 1}}), TypeError, ""),
    "unknown key for from_config": (lambda k: k.Zeros.from_config({"a": 1}), TypeError, ""),
}
# where tf_keras raises something of TensorFlow's own, or by chance of another type: fanin's type
OTHER_ERRORS: dict[str, tuple[Callable[[Any], Any], type[Exception]]] = {
    "float8": (lambda k: k.RandomNormal(seed=1)(MATRIX, "float8_e5m2"), ValueError),
    "equal integer bounds": (lambda k: k.RandomUniform(5, 5, seed=1)(MATRIX, "int32"), ValueError),
    "reversed integer bounds": (lambda k: k.RandomUniform(5, 0, seed=1)(MATRIX, "int64"), ValueError),
    "bound out of int32": (lambda k: k.RandomUniform(0, 2**31, seed=1)(MATRIX, "int32"), ValueError),
    "seed 1.5": (lambda k: k.RandomNormal(seed=1.5)(MATRIX), TypeError),
    "seed '1'": (lambda k: k.RandomNormal(seed="1")(MATRIX), TypeError),
    "seed True": (lambda k: k.RandomNormal(seed=True)(MATRIX), TypeError),
    "mean None": (lambda k: k.RandomNormal(mean=None, seed=1)(MATRIX), TypeError),
    "gain None": (lambda k: k.Identity(gain=None)(MATRIX), TypeError),
    "distribution None": (lambda k: k.VarianceScaling(distribution=None), ValueError),
    "bare shape": (lambda k: k.RandomNormal(seed=1)(3), TypeError),
    "no shape": (lambda k: k.RandomNormal(seed=1)(None), TypeError),
    "unknown length": (lambda k: k.RandomNormal(seed=1)((2, None)), TypeError),
    "float length": (lambda k: k.RandomNormal(seed=1)((2, 2.0)), TypeError),
    "negative length": (lambda k: k.HeNormal(seed=1)((2, -1)), ValueError),
    "negative length of zeros": (lambda k: k.Zeros()((-2, 3)), ValueError),
    "too many elements": (lambda k: k.RandomNormal(seed=1)((2**62, 2**62)), ValueError),
    "constant None": (lambda k: k.Constant(None)(MATRIX), TypeError),
    "constant of two": (lambda k: k.Constant([1, 2])(MATRIX), TypeError),
}


@pytest.mark.parametrize("case", SAME_ERRORS)
def test_errors_of_the_same_type(case: str) -> None:
    """Both libraries raise the same exception; where tf_keras has words of its own, fanin's begin with them."""
    function, expected, beginning = SAME_ERRORS[case]
    for library in (K, fanin):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the type is checked next
            function(library)
        assert caught.type is expected
        assert str(caught.value).startswith(beginning)


@pytest.mark.parametrize("case", OTHER_ERRORS)
def test_errors_of_another_type(case: str) -> None:
    """What tf_keras refuses, fanin refuses too, with a plain exception."""
    function, expected = OTHER_ERRORS[case]
    with pytest.raises(Exception):  # noqa: B017, PT011 - TensorFlow's own, whatever it is
        function(K)
    with pytest.raises(expected) as caught:
        function(fanin)
    assert caught.type is expected


@pytest.mark.parametrize("call", [Call("RandomNormal", {"mean": math.nan, "seed": 1}, (2,), "float32")])
def test_not_finite_parameters_are_refused(call: Call) -> None:
    """A documented difference: tf_keras returns NaNs where fanin says what is wrong."""
    assert np.isnan(call.run(K).numpy()).all()
    with pytest.raises(ValueError, match="finite"):
        call.run(fanin)


def test_integer_constants_out_of_range_are_refused() -> None:
    """A documented difference: tf_keras wraps integers where fanin says what is wrong."""
    assert (K.Constant(-1)((2,), "uint8").numpy() == 255).all()
    with pytest.raises(ValueError, match="range"):
        fanin.Constant(-1)((2,), "uint8")
