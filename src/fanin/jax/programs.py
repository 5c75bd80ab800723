"""What the arrays of a JAX program are: constants, draws from a distribution, or something else.

JAX turns a function into a program of simple operations without running it, whatever modules and initializers the
function uses. From the random functions of JAX on, whose names are in the program, this follows what becomes of their
values: a normal draw that is multiplied by 0.02 and reshaped is a normal draw with a standard deviation of 0.02.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

import jax
import numpy as np
from jax.extend import core

from fanin import distributions, initializers
from fanin._core.types import Shape
from fanin.initializers import Initializer
from fanin.jax.shards import Callback, Source


@dataclass(frozen=True)
class Same:
    """An array of equal elements."""

    value: Any


@dataclass(frozen=True)
class Computed:
    """An array that the program computes without random values.

    Attributes:
        values: them, if they have been computed.
    """

    values: Any = None


@dataclass(frozen=True)
class Given:
    """An array from outside of the program, whose values may be random ones."""


@dataclass(frozen=True)
class Bits:
    """A random key, or something else that is made of one."""


@dataclass(frozen=True)
class Unread:
    """An array that cannot be followed.

    Attributes:
        reason: why.
    """

    reason: str


class Origin:
    """One call of a random function, which several arrays may come from.

    Attributes:
        size: the number of values that it draws.
    """

    def __init__(self, size: int) -> None:
        self.size = size


@dataclass(frozen=True)
class Draw:
    """An array of independent random values `shift + scale * x`; or of an orthogonal matrix, scaled.

    Attributes:
        kind: what x is: "uniform" within [low, high), "normal", "truncated" (a normal value within [low, high]),
            "orthogonal", "delta_orthogonal" (that matrix at the centre of a kernel of zeros), "exponential",
            "lognormal" (the exponential of a normal value with mean `low` and standard deviation `high`) or
            "bernoulli" (1 with a probability of `low`, else 0).
        origin: the call that draws it.
        low, high: the bounds of x.
        scale, shift: what x is multiplied by, and what is added to it then.
        columns: the axis of an orthogonal matrix's columns; None for others.
    """

    kind: str
    origin: Origin
    low: float = -math.inf
    high: float = math.inf
    scale: float = 1.0
    shift: float = 0.0
    columns: int | None = None

    def times(self, factor: float) -> Draw:
        """The draw with its values multiplied."""
        return replace(self, scale=self.scale * factor, shift=self.shift * factor)

    def plus(self, term: float) -> Draw:
        """The draw with a term added to its values."""
        return replace(self, shift=self.shift + term)

    def same_distribution(self, other: Any) -> bool:
        """Whether another array has the same distribution."""
        return isinstance(other, Draw) and replace(other, origin=self.origin) == self


@dataclass(frozen=True)
class Made:
    """An array that a callback of fanin's makes, of an initializer whose values are no `Draw`.

    Attributes:
        initializer: the initializer.
        shape: the shape of the array.
        axes: its axes in Keras's order.
        origin: the call that draws it; None if nothing is drawn.
    """

    initializer: Initializer
    shape: Shape
    axes: Shape
    origin: Origin | None


Value: TypeAlias = Same | Computed | Given | Bits | Unread | Draw | Made
# The primitives that only move elements, and those that compute each element of its own.
_MOVES = frozenset(
    (
        *("broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "slice", "dynamic_slice", "rev"),
        *("copy", "copy_p", "concatenate", "sharding_constraint", "mesh_cast", "optimization_barrier"),
        *("stop_gradient", "reduce_precision", "convert_element_type"),
    )
)
_ELEMENTWISE = frozenset(
    (
        *("add", "sub", "mul", "div", "rem", "neg", "abs", "sign", "max", "min", "clamp", "nextafter", "select_n"),
        *("sqrt", "rsqrt", "cbrt", "square", "pow", "integer_pow", "exp", "exp2", "expm1", "log", "log1p"),
        *("erf", "erfc", "erf_inv", "tanh", "logistic", "sin", "cos", "tan", "floor", "ceil", "round"),
        *("lt", "gt", "le", "ge", "eq", "ne", "and", "or", "not"),
        *("shift_left", "shift_right_logical", "shift_right_arithmetic"),
        *("stop_gradient", "reduce_precision", "convert_element_type"),
    )
)
# Those that leave every element where it is and as it is.
_COPIES = frozenset(
    (
        "copy",
        "copy_p",
        "sharding_constraint",
        "mesh_cast",
        "optimization_barrier",
        "stop_gradient",
        "convert_element_type",
    )
)
# The code that an operation is not said to be of: fanin's, and that of the libraries.
_OWN, _LIBRARIES = str(Path(__file__).parents[1]), ("jax", "flax", "equinox", "haiku")
_MOST_AXES = 8  # of an index that is followed
_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def values_of(program: Any) -> list[Value]:
    """What each result of a program is.

    Args:
        program: the program, as `jax.make_jaxpr` returns it.
    """
    return _run(program, [Bits()] * len(program.jaxpr.invars))


def _run(program: Any, inputs: Sequence[Value], wanted: Sequence[bool] | None = None) -> list[Value]:
    """What each result of a program is for such inputs; those that are not wanted may be anything."""
    jaxpr = getattr(program, "jaxpr", program)
    known: dict[Any, Value] = dict(zip(jaxpr.invars, inputs, strict=True))
    known |= {
        variable: _of_array(value)
        for variable, value in zip(jaxpr.constvars, getattr(program, "consts", ()), strict=False)
    }

    def read(atom: Any) -> Value:
        return _of_array(atom.val) if isinstance(atom, core.Literal) else known.get(atom, Computed())

    results = (
        jaxpr.outvars if wanted is None else [each for each, want in zip(jaxpr.outvars, wanted, strict=True) if want]
    )
    for equation in _needed(jaxpr, results):
        operands = [read(atom) for atom in equation.invars]
        outcomes = _equation(equation, operands)
        known |= dict(zip(equation.outvars, outcomes, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _needed(jaxpr: Any, results: Sequence[Any]) -> list[Any]:
    """The equations that results depend on, in order: not those of a module's own run, after its initialization."""
    needed, equations = {each for each in results if not isinstance(each, core.Literal)}, []
    for equation in reversed(jaxpr.eqns):
        if not needed.isdisjoint(equation.outvars):
            needed.update(each for each in equation.invars if not isinstance(each, core.Literal))
            equations.append(equation)
    return equations[::-1]


def _of_array(array: Any) -> Value:
    """What a constant of the program is: an array that was there before may hold random values of any kind."""
    if jax.numpy.issubdtype(getattr(array, "dtype", np.float32), jax.dtypes.prng_key):
        return Bits()
    values = np.asarray(array)
    if values.size and (values == values.flat[0]).all():
        return Same(values.reshape(-1)[0])
    return Given()


def _is_key(variable: Any) -> bool:
    return jax.numpy.issubdtype(getattr(variable.aval, "dtype", np.float32), jax.dtypes.prng_key)


def _equation(equation: Any, operands: list[Value]) -> list[Value]:
    name, count = equation.primitive.name, len(equation.outvars)
    if any(map(_is_key, equation.outvars)):
        return [Bits()] * count
    drawn = _called(equation) or _named_draw(equation, operands)
    if drawn is not None:
        return [drawn]
    if name == "scan":
        return _scan(equation, operands)
    if _inner(equation) is not None:
        return _run(next(equation.params[key] for key in _CALLS if key in equation.params), operands)
    unread = next((each for each in operands if isinstance(each, Unread)), None)
    if unread is not None:
        return [unread] * count
    if any(isinstance(each, Draw) for each in operands):
        return [_of_draws(equation, operands)] * count
    made = next((each for each in operands if isinstance(each, Made)), None)
    if made is not None:
        return [made if name in _COPIES else Unread(f"{name} of made values makes it{_place(equation)}")] * count
    if any(isinstance(each, Bits) for each in operands):
        return [Bits()] * count
    if any(isinstance(each, Given) for each in operands):
        return [Given()] * count
    if all(isinstance(each, Same) for each in operands) and operands and count == 1:
        return [_of_same(equation, [each.value for each in operands if isinstance(each, Same)])]
    return [Computed()] * count


def _called(equation: Any) -> Value | None:
    """What one of fanin's own callbacks makes; None for any other equation."""
    callback = getattr(equation.params.get("callback"), "callback_func", None)
    return _of_source(callback.source) if isinstance(callback, Callback) and callback.source is not None else None


def _of_source(source: Source) -> Value:
    """What an initializer makes: a draw, if it is one of those that JAX has, too."""
    initializer, weight = source.initializer, source.weight
    law, shape = weight.distribution, weight.shape
    axes = tuple(range(len(shape))) if weight.axes is None else weight.axes
    origin = Origin(math.prod(shape))

    def number(value: float) -> float:
        return shortest(law.dtype.type(value))

    if isinstance(law, distributions.Constant):
        return Same(law.value)
    if isinstance(law, distributions.Table):
        return Computed()
    if isinstance(law, distributions.Uniform):
        return Draw("uniform", origin, number(law.minval), number(law.maxval))
    if isinstance(law, distributions.TruncatedNormal):
        return Draw("truncated", origin, -2.0, 2.0, number(law.stddev), number(law.mean))
    if isinstance(law, distributions.Normal):
        return Draw("normal", origin, scale=number(law.stddev), shift=number(law.mean))
    if isinstance(law, distributions.BoundedNormal) and law.stddev:
        low, high = (number((bound - law.mean) / law.stddev) for bound in (law.minval, law.maxval))
        return Draw("truncated", origin, low, high, number(law.stddev), number(law.mean))
    if isinstance(law, distributions.Exponential):
        return Draw("exponential", origin, scale=1 / number(law.rate))
    if isinstance(law, distributions.LogNormal):
        return Draw("lognormal", origin, number(law.mean), number(law.stddev))
    if isinstance(law, distributions.Bernoulli):
        return Draw("bernoulli", origin, law.p)
    if _is_one_matrix(initializer):
        return Draw("orthogonal", origin, scale=initializer.gain, columns=axes[-1])
    if isinstance(law, distributions.ComplexNormal):  # which scalings make, too, by fans that rules may not have
        initializer = initializers.ComplexNormal(shortest(law.dtype.type(law.stddev).real))
    if isinstance(law, (distributions.ComplexTruncatedNormal, distributions.ComplexUniform)):
        return Unread(f"it is {law.kind.replace('_', ' ')}, scaled by fans, which no rule can say")
    return Made(initializer, shape, axes, origin if law.random else None)


def _is_one_matrix(initializer: Initializer) -> TypeGuard[initializers.Orthogonal]:
    """Whether an initializer makes one orthogonal matrix, with the last axis as columns."""
    if type(initializer) is not initializers.Orthogonal:
        return False
    return initializer.get_config().keys() == initializers.Orthogonal().get_config().keys()


# The functions of `jax.random` by their names in a program; each takes a key and the bounds, if there are any.
_NAMED = {
    "_uniform": "uniform",
    "_normal_real": "normal",
    "_truncated_normal": "truncated",
    "_orthogonal": "orthogonal",
    "_exponential": "exponential",
    "_bernoulli": "bernoulli",
}


def _named_draw(equation: Any, operands: list[Value]) -> Value | None:
    """The draw of a random function of JAX; None for any other equation."""
    kind = _NAMED.get(equation.params.get("name", "")) if equation.primitive.name in ("jit", "pjit") else None
    if kind is None or not equation.invars or len(equation.outvars) != 1:
        return None
    if not _is_key(equation.invars[0]):
        return None
    shape = equation.outvars[0].aval.shape
    bounds = [each.value for each in operands[1:] if isinstance(each, Same)]
    if len(bounds) != len(operands) - 1:
        return Unread(f"the bounds of a {kind} draw differ by element, or are random{_place(equation)}")
    draw = Draw(kind, Origin(math.prod(shape)), columns=len(shape) - 1 if kind == "orthogonal" else None)
    return replace(draw, **{name: shortest(bound) for name, bound in zip(("low", "high"), bounds, strict=False)})


def _scan(equation: Any, operands: list[Value]) -> list[Value]:
    """The results of a loop, such as one over the layers of a stack, which may draw anew in each turn."""
    consts, carries = equation.params["num_consts"], equation.params["num_carry"]
    inner, turns = equation.params["jaxpr"], equation.params["length"]
    carried = operands[consts : consts + carries]
    after = _run(inner, operands)[:carries]
    changed: list[Value] = [
        before if before == now else Bits() if isinstance(now, Bits) else Unread(f"a loop changes it{_place(equation)}")
        for before, now in zip(carried, after, strict=True)
    ]
    results = _run(inner, [*operands[:consts], *changed, *operands[consts + carries :]])
    jaxpr = inner.jaxpr
    kept = [before is now for before, now in zip(jaxpr.invars[consts:], jaxpr.outvars[:carries], strict=False)]
    other = [*(False,) * consts, *(not each for each in kept), *(True,) * (len(operands) - consts - carries)]
    differs = _depends(jaxpr, other)
    stacked = [_in_turns(each, turns, new) for each, new in zip(results[carries:], differs[carries:], strict=True)]
    return [*results[:carries], *stacked]


def _in_turns(value: Value, turns: int, differs: bool) -> Value:
    """The stack of what a loop makes in each turn."""
    if not isinstance(value, Draw):
        return value
    if not differs and turns > 1:
        return Unread("a loop makes the same draw in each turn")
    return replace(value, origin=Origin(value.origin.size * turns))


def _depends(jaxpr: Any, inputs: Sequence[bool]) -> list[bool]:
    """Whether each result of a program depends on one of the inputs that are true."""
    found = {variable for variable, each in zip(jaxpr.invars, inputs, strict=True) if each}

    def is_found(atom: Any) -> bool:
        return not isinstance(atom, core.Literal) and atom in found

    for equation in jaxpr.eqns:
        operands = [is_found(atom) for atom in equation.invars]
        inner = _inner(equation)
        reached = [any(operands)] * len(equation.outvars) if inner is None else _depends(inner, operands)
        found.update(variable for variable, each in zip(equation.outvars, reached, strict=True) if each)
    return [is_found(atom) for atom in jaxpr.outvars]


def _inner(equation: Any) -> Any:
    """The program that an operation calls with its own operands, once; None for any other operation."""
    programs = [equation.params[key] for key in _CALLS if key in equation.params and equation.primitive.name != "scan"]
    jaxprs = [getattr(each, "jaxpr", each) for each in programs]
    return next((each for each in jaxprs if len(each.invars) == len(equation.invars)), None)


def _of_same(equation: Any, values: list[Any]) -> Value:
    name, aval = equation.primitive.name, equation.outvars[0].aval
    if name in _ELEMENTWISE or (name not in _MOVES and not aval.shape and all(not np.shape(each) for each in values)):
        with jax.ensure_compile_time_eval():
            return Same(np.asarray(equation.primitive.bind(*values, **equation.params))[()])
    if name in _MOVES and all(each == values[0] for each in values[: None if name == "concatenate" else 1]):
        return Same(values[0])
    if name == "concatenate" and len(aval.shape) == 1 and aval.size <= _MOST_AXES:
        lengths = [each.aval.size for each in equation.invars]
        return Computed(tuple(np.repeat(values, lengths).tolist()))
    return Computed()


def _of_draws(equation: Any, operands: list[Value]) -> Unread | Draw:
    """What an operation makes of drawn values."""
    name = equation.primitive.name
    refused = Unread(f"{name} of drawn values makes it{_place(equation)}")
    first = operands[0]
    if name in _MOVES:
        return _moved(equation, operands) or refused
    if name == "scatter":
        return _at_the_centre(equation, *operands) or refused
    if name == "neg" and isinstance(first, Draw):
        return first.times(-1.0)
    if name == "exp" and isinstance(first, Draw) and first.kind == "normal":
        return replace(first, kind="lognormal", low=first.shift, high=abs(first.scale), shift=0.0, scale=1.0)
    draw = _shifted_or_scaled(name, *operands) if len(operands) == 2 else None
    return refused if draw is None or (draw.columns is not None and draw.shift) else draw


def _at_the_centre(equation: Any, zeros: Value, index: Value, matrix: Value) -> Draw | None:
    """An orthogonal matrix that is written to the centre of a kernel of zeros, as JAX does; None for anything else."""
    shape, numbers = equation.outvars[0].aval.shape, equation.params["dimension_numbers"]
    spatial = tuple(range(len(shape) - 2))
    at = (int(index.value),) * len(spatial) if isinstance(index, Same) else getattr(index, "values", None)
    if (
        zeros == Same(0)
        and isinstance(matrix, Draw)
        and matrix.kind == "orthogonal"
        and matrix.columns is not None
        and equation.invars[2].aval.shape == shape[-2:]
        and numbers.inserted_window_dims == numbers.scatter_dims_to_operand_dims == spatial
        and at == tuple((shape[axis] - 1) // 2 for axis in spatial)
    ):
        return replace(matrix, kind="delta_orthogonal", columns=len(spatial) + matrix.columns)
    return None


def _shifted_or_scaled(name: str, first: Value, second: Value) -> Draw | None:
    """A draw to which a number is added, or that one multiplies; None for anything else."""
    if any(isinstance(each, Same) and np.iscomplexobj(each.value) for each in (first, second)):
        return None
    if isinstance(first, Draw) and isinstance(second, Same):
        number = shortest(second.value)
        if name in ("mul", "div"):
            return first.times(number if name == "mul" else 1 / number) if number else None
        return first.plus(number if name == "add" else -number) if name in ("add", "sub") else None
    if isinstance(first, Same) and isinstance(second, Draw) and name in ("mul", "add", "sub"):
        number = shortest(first.value)
        if name == "mul":
            return second.times(number) if number else None
        return (second if name == "add" else second.times(-1.0)).plus(number)
    return None


def _moved(equation: Any, operands: list[Value]) -> Draw | None:
    """A draw whose elements are moved, without any of them being repeated; None if they are."""
    draw, name = operands[0], equation.primitive.name
    before, after = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    if not isinstance(draw, Draw):
        return None
    if draw.kind == "delta_orthogonal":
        return draw if name in _COPIES else None
    if draw.columns is not None:
        columns = _columns_after(name, equation.params, draw.columns, before, after)
        return None if columns is None else replace(draw, columns=columns)
    if name == "concatenate":
        alike = all(draw.same_distribution(each) for each in operands)
        apart = len({id(each.origin) for each in operands if isinstance(each, Draw)}) == len(operands)
        return replace(draw, origin=Origin(math.prod(after))) if alike and apart else None
    return draw if math.prod(after) <= math.prod(before) else None


def _columns_after(name: str, params: Any, columns: int, before: Shape, after: Shape) -> int | None:
    """The axis of a matrix's columns after a move; None if the matrix is no longer one."""
    if name in ("stop_gradient", "sharding_constraint", "copy", "copy_p", "convert_element_type"):
        return columns
    if name == "transpose":
        return tuple(params["permutation"]).index(columns)
    if name == "reshape" and columns == len(before) - 1 and after and after[-1] == before[-1]:
        return len(after) - 1
    return None


def shortest(value: Any) -> float:
    """The shortest number that is this one in its dtype: 0.02 for the float32 that is nearest to 0.02."""
    array = np.asarray(value)
    exact = float(array)
    texts = (float(f"{exact:.{digits}g}") for digits in range(1, 17))
    return next((text for text in texts if array.dtype.type(text) == array), exact)


def _place(equation: Any) -> str:
    """Where an operation stands in the code, as a message says it; "" if that is not known."""
    try:
        frames = equation.source_info.traceback.frames
    except AttributeError:
        return ""
    own = next((each for each in frames if not _is_of_library(each.file_name)), None)
    return "" if own is None else f", in line {own.line_num} of {own.file_name.rpartition('/')[2]}"


def _is_of_library(file: str) -> bool:
    return file.startswith(_OWN) or any(f"-packages/{package}/" in file for package in _LIBRARIES)
