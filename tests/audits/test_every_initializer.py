"""Tensors of every initializer, in the smallest shapes and in every dtype: none looks wrong, and no chart says so."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fanin
from fanin.audits.audited import AuditedTensor
from fanin.audits.charts import charts_of

FLOATS, COMPLEX = ("float32", "bfloat16", "float16", "float64"), ("complex64", "complex128")
SHAPES = (
    *((3,), (257,), (1, 1), (1, 2), (2, 2), (3, 3), (6, 6), (4, 7), (7, 4), (1, 700), (5, 64), (64, 64)),
    *((2, 3, 5), (3, 3, 2, 4), (16, 1, 9)),
)
GIVEN: dict[str, dict[str, Any]] = {"Constant": {"value": 0.5}, "Sparse": {"sparsity": 0.3}}
CLASSES = [
    each
    for name, each in [(name, getattr(fanin, name)) for name in fanin.__all__]
    if inspect.isclass(each) and issubclass(each, fanin.Initializer) and name == each.__name__
    if each not in (fanin.Initializer, fanin.SeededInitializer, fanin.Table)
]


def audited(initializer: Any, array: np.ndarray, seed: int | None = None) -> AuditedTensor:
    """What an audit finds of an array that an initializer should have made."""
    recipe = fanin.Recipe([{"path": "*", "initializer": initializer, "layout": "keras"}])
    return fanin.audit({"fc.kernel": array}, recipe, seed=seed)["fc.kernel"]


def made(cls: type[fanin.Initializer]) -> Iterator[tuple[str, fanin.Initializer, np.ndarray]]:
    """Tensors of an initializer, of those shapes and dtypes that it has, each with a label."""
    for dtype in (*FLOATS, *COMPLEX):
        for seed, shape in enumerate(SHAPES):
            initializer = cls(**GIVEN.get(cls.__name__, {})).with_seed(seed)
            try:
                array = initializer(shape, dtype)
            except ValueError:
                continue
            yield f"{initializer}, {shape}, {dtype}", initializer.with_seed(None), array


@pytest.mark.parametrize("cls", CLASSES, ids=lambda each: each.__name__)
def test_none_looks_wrong(cls: type[fanin.Initializer]) -> None:
    """Neither the verdict nor the band of quantiles says that something is wrong."""
    count, wrong = 0, {}
    for label, initializer, array in made(cls):
        count += 1
        found = audited(initializer, array)
        if not found.verdict.is_clean:
            wrong[label] = found.verdict.reason
        charts = charts_of(found)
        if "quantiles" not in charts.missing:
            chart = charts["quantiles"]
            if "beyond chance" in [each.name for each in chart.marks]:
                wrong[f"quantiles of {label}"] = chart.description
    assert wrong == {}
    assert count > 1


@pytest.mark.parametrize(
    ("initializer", "shape", "dtype"),
    [
        (fanin.Orthogonal(seed=0), (2, 2), "float32"),
        (fanin.Orthogonal(gain=1.4, seed=0), (3, 6), "bfloat16"),
        (fanin.Unitary(seed=0), (3, 2), "complex64"),
        (fanin.LogNormal(seed=1), (64, 64), "bfloat16"),
        (fanin.Bernoulli(seed=1), (2, 2), "float32"),
        (fanin.Rotary(), (64, 64), "float16"),
    ],
    ids=str,
)
def test_what_chance_and_rounding_may_make(initializer: fanin.Initializer, shape: tuple[int, ...], dtype: str) -> None:
    """Few elements, far tails and values that are rounded twice are no findings."""
    found = audited(initializer.with_seed(None), initializer(shape, dtype))
    assert found.verdict.is_clean, found.verdict.reason


def test_no_small_matrix_that_is_not_orthogonal_passes() -> None:
    """A small matrix of the right spread is none, and neither is one of another gain."""
    array = fanin.Orthogonal(seed=0)((3, 3))
    assert audited(fanin.Orthogonal(), array).verdict.kind == "consistent"
    assert not audited(fanin.Orthogonal(), 1.1 * array).verdict.is_clean
    sixteen = fanin.Orthogonal(seed=0)((6, 6), "bfloat16")
    sixteen[0] *= 1.2**0.5
    sixteen[1] *= 0.8**0.5  # the spread stays as it was
    assert "orthonormal rows" in audited(fanin.Orthogonal(), sixteen).verdict.reason
    sheared = array.copy()
    sheared[0] = sheared[1]
    assert not audited(fanin.Orthogonal(), sheared).verdict.is_clean


def test_computed_elements_have_no_quantiles_of_chance() -> None:
    """A table of positions is not compared with what chance makes; its density is shown."""
    charts = charts_of(audited(fanin.Rotary(), fanin.Rotary()((64, 64))))
    assert charts.missing["quantiles"] == "Its elements are computed, not drawn: chance has no part in them."
    assert "density" not in charts.missing


def test_a_table_of_other_numbers_is_found_in_sixteen_bits() -> None:
    """One step of rounding is allowed; two are another value."""
    table = fanin.Rotary()((64, 64)).astype(np.float16)
    nudged = table.copy()
    nudged[5, 3] = np.nextafter(nudged[5, 3], np.float16(9))
    assert audited(fanin.Rotary(), nudged).verdict.is_clean
    nudged[5, 3] += np.float16(4 * 2.0**-10) * nudged[5, 3]
    assert not audited(fanin.Rotary(), nudged).verdict.is_clean


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_value_that_needs_no_rounding_is_that_value(dtype: str) -> None:
    """The ones of an identity are exact in every dtype: the next value of 8 bits is another one."""
    identity = fanin.Identity()((64, 64), dtype)
    assert audited(fanin.Identity(), identity).verdict.is_clean
    identity[5, 5] = 1.125
    assert audited(fanin.Identity(), identity).verdict.reason == "1 of 4,096 elements differ from identity."


def test_far_elements_beside_others_are_not_clamped() -> None:
    """An element is clamped to a bound if it is far from all others, which a law of heavy tails says nothing of."""
    array = fanin.LogNormal(seed=1)((64, 64), "bfloat16")
    assert array.max() == 44
    assert "far beyond" not in fanin.audit({"fc.kernel": array})["fc.kernel"].verdict.reason
    array[array == 44] = 110  # which a log-normal of so many elements reaches once in 200
    assert "far beyond" in fanin.audit({"fc.kernel": array})["fc.kernel"].verdict.reason
    assert audited(fanin.LogNormal(), array).verdict.is_clean
    clamped = fanin.RandomNormal(stddev=0.02, seed=1)((64, 64))
    clamped[0, 0] = 44
    assert "far beyond" in fanin.audit({"fc.kernel": clamped})["fc.kernel"].verdict.reason


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.eye(100), "Its elements are only 0 and 1 (100 of 10,000 are not 0, as in an identity): they were set."),
        (fanin.Dirac()((3, 16, 40)), "only 0 and 1 (16 of 1,920 are not 0"),
        (fanin.Dirac()((3, 3, 5)), "only 0 and 1 (3 of 45 are not 0"),
        (np.sign(np.random.default_rng(0).standard_normal((64, 64))), "only -1 and 1: they were set"),
        (np.tril(np.ones((64, 64))), "only 0 and 1: they were set"),
        (np.eye(64) - np.eye(64)[::-1], "only -1, 0 and 1 (128 of 4,096 are not 0"),
    ],
    ids=["identity", "dirac", "small", "signs", "triangle", "three"],
)
def test_kernels_of_two_or_three_values_were_set(array: np.ndarray, words: str) -> None:
    """They are neither drawn nor trained, whatever their tails are."""
    verdict = fanin.audit({"fc.weight": array.astype(np.float32)})["fc.weight"].verdict
    assert verdict.kind == "unjudged"
    assert words in verdict.reason
