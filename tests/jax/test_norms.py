"""Norms of one's own, which are run: those that scale by one more than their weights have no scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("jax")
pytest.importorskip("flax")
pytest.importorskip("equinox")

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx

import fanin
from fanin.jax import initialize, layers_of
from fanin.recipes import PlanError
from jax_kit import FLAX

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the frameworks
WIDTH, SHAPE = 8, (2, 5, 8)


def normalized(x: Any) -> Any:
    """An input over the root of its mean square."""
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + 1e-6)


class NnxNorm(nnx.Module):
    """A norm of nnx, that scales by a weight and something more."""

    scale: Any

    def __init__(self, more: float, name: str = "scale", *, rngs: Any = None) -> None:
        self.more, self.name = more, name
        setattr(self, name, nnx.Param(jnp.zeros(WIDTH)))

    def __call__(self, x: Any) -> Any:
        return normalized(x) * (self.more + getattr(self, self.name)[...])


class NnxGemmaNorm(nnx.RMSNorm):
    """A norm that derives from flax's and has a call of its own."""

    def __call__(self, x: Any, mask: Any = None) -> Any:
        assert self.scale is not None
        return normalized(x) * (1 + self.scale[...])


class NnxDerivedNorm(nnx.LayerNorm):
    """A norm that derives from flax's and has its call."""


class NnxScaledNorm(nnx.Module):
    """A norm whose weight goes through something else."""

    def __init__(self) -> None:
        self.scale = nnx.Param(jnp.zeros(WIDTH))

    def __call__(self, x: Any) -> Any:
        return normalized(x) * jax.nn.softplus(self.scale[...])


class NnxNormOfTwo(nnx.Module):
    """A norm that needs more than an input."""

    def __init__(self) -> None:
        self.scale = nnx.Param(jnp.zeros(WIDTH))

    def __call__(self, x: Any, y: Any) -> Any:
        return normalized(x) * self.scale[...] * y


class LinenNorm(nn.Module):
    """A norm of linen."""

    more: float
    name_of_weight: str = "scale"

    @nn.compact
    def __call__(self, x: Any, *, cast: bool = True) -> Any:
        scale = self.param(self.name_of_weight, nn.initializers.zeros, (x.shape[-1],))
        return normalized(x) * (self.more + scale) + self.param("bias", nn.initializers.zeros, (x.shape[-1],))


class LinenBlock(nn.Module):
    """A layer and a norm."""

    norm: Any

    @nn.compact
    def __call__(self, x: Any, _: Any = None) -> Any:
        return nn.Dense(WIDTH, name="fc")(self.norm(x, cast=True)), None


class EquinoxNorm(eqx.Module):
    """A norm of equinox."""

    weight: Any
    more: float

    def __call__(self, x: Any) -> Any:
        return normalized(x) * (self.more + self.weight)


def of_nnx(module: Callable[[], Any]) -> str:
    """The role of a norm's weight in a module of nnx."""
    plan = FLAX.plan(nnx.eval_shape(lambda: nnx.Dict(norm=module())))
    return next(e.parameter.role for e in plan.entries if e.path.rpartition(".")[2] in ("scale", "weight", "gamma"))


def of_linen(module: Any) -> str:
    """The role of a norm's weight in a module of linen."""
    variables, layers = layers_of(module, jax.ShapeDtypeStruct(SHAPE, jnp.float32))
    plan = FLAX.plan(variables, layers=layers)
    return next(e.parameter.role for e in plan.entries if e.path.rpartition(".")[2] in ("scale", "weight", "gamma"))


def of_equinox(make: Callable[[], Any]) -> str:
    """The role of a norm's weight in a module of equinox."""
    return FLAX.plan(eqx.filter_eval_shape(make)).entries[0].parameter.role


SCAN: Any = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}, "length": 4}


def stacked_in_equinox(more: float) -> Any:
    """Three norms of equinox in a stack."""
    return eqx.filter_vmap(lambda each: EquinoxNorm(each * jnp.zeros(WIDTH), more))(jnp.arange(3.0))


ROLES: dict[str, tuple[Callable[[], str], str]] = {
    "nnx": (lambda: of_nnx(lambda: NnxNorm(0)), "scale"),
    "nnx, a weight": (lambda: of_nnx(lambda: NnxNorm(0, "weight")), "scale"),
    "nnx, one more": (lambda: of_nnx(lambda: NnxNorm(1)), "other"),
    "nnx, one more than a weight": (lambda: of_nnx(lambda: NnxNorm(1, "gamma")), "other"),
    "nnx, derived": (lambda: of_nnx(lambda: NnxDerivedNorm(WIDTH, rngs=nnx.Rngs(0))), "scale"),
    "nnx, derived, one more": (lambda: of_nnx(lambda: NnxGemmaNorm(WIDTH, rngs=nnx.Rngs(0))), "other"),
    "nnx, something else": (lambda: of_nnx(NnxScaledNorm), "other"),
    "nnx, with more than an input": (lambda: of_nnx(NnxNormOfTwo), "other"),
    "nnx, stacked": (lambda: of_nnx(lambda: _stack_of_nnx(0)), "scale"),
    "nnx, stacked, one more": (lambda: of_nnx(lambda: _stack_of_nnx(1)), "other"),
    "linen": (lambda: of_linen(LinenNorm(0)), "scale"),
    "linen, one more": (lambda: of_linen(LinenNorm(1)), "other"),
    "linen, one more than a weight": (lambda: of_linen(LinenNorm(1, "weight")), "other"),
    "linen, in a block": (lambda: of_linen(LinenBlock(LinenNorm(0))), "scale"),
    "linen, in a block, one more": (lambda: of_linen(LinenBlock(LinenNorm(1))), "other"),
    "linen, scanned, one more": (lambda: of_linen(_Scanned(1)), "other"),
    "linen, scanned": (lambda: of_linen(_Scanned(0)), "scale"),
    "equinox": (lambda: of_equinox(lambda: EquinoxNorm(jnp.zeros(WIDTH), 0)), "scale"),
    "equinox, one more": (lambda: of_equinox(lambda: EquinoxNorm(jnp.zeros(WIDTH), 1)), "other"),
    "equinox, stacked": (lambda: of_equinox(lambda: stacked_in_equinox(0)), "scale"),
    "equinox, stacked, one more": (lambda: of_equinox(lambda: stacked_in_equinox(1)), "other"),
}


def _stack_of_nnx(more: float) -> Any:
    return nnx.vmap(lambda rngs: NnxNorm(more, rngs=rngs))(nnx.Rngs(0).fork(split=4))


class _Scanned(nn.Module):
    more: float

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.scan(LinenBlock, **SCAN)(LinenNorm(self.more))(x, None)[0]


@pytest.mark.parametrize("case", ROLES)
def test_weights_of_norms(case: str) -> None:
    """A weight is a scale if the norm's output vanishes with it, whatever the norm's code looks like."""
    make, role = ROLES[case]
    assert make() == role


def test_norms_that_scale_by_one_more_are_not_doubled() -> None:
    """A preset has no rule for such a weight, and says so; zeros leave the norm as it is."""
    module = nnx.eval_shape(lambda: nnx.Dict(norm=NnxNorm(1)))
    with pytest.raises(PlanError, match="No rule matches 1 of 1 parameter"):
        initialize(module, FLAX)
    made, _ = initialize(module, FLAX.extend([{"path": "*norm.scale", "initializer": "zeros"}]))
    x = jnp.arange(1.0, 9.0)
    assert jnp.array_equal(made["norm"](x), normalized(x))


def test_norms_in_programs() -> None:
    """They are run while a program is made, too."""
    module = nnx.eval_shape(lambda: nnx.Dict(norm=NnxNorm(0)))
    made = nnx.jit(lambda: initialize(module, FLAX)[0])()
    assert made["norm"].scale[...].tolist() == [1] * WIDTH


def test_norms_of_models_with_values() -> None:
    """Running a norm changes nothing in it."""
    module = nnx.Dict(norm=NnxNorm(0))
    plan = fanin.Recipe([{"role": "scale", "initializer": "ones"}]).plan(module)
    assert plan.entry("norm.scale").mean == 1
    assert module["norm"].scale[...].tolist() == [0] * WIDTH


@pytest.mark.parametrize(("shift", "role"), [(0.0, "scale"), (1.0, "other")])
def test_norms_of_other_names(shift: float, role: str) -> None:
    """What a class of flax.nnx is called makes no difference."""

    class Rescaled(nnx.Module):
        """Divides by the size."""

        def __init__(self) -> None:
            self.scale = nnx.Param(jnp.zeros(4))

        def __call__(self, inputs: Any) -> Any:
            return inputs / jnp.linalg.norm(inputs, axis=-1, keepdims=True) * (self.scale[...] + shift)

    (entry,) = fanin.Recipe.preset("flax").plan(nnx.eval_shape(Rescaled)).entries
    assert entry.parameter.role == role
