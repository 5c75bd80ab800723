"""`lsuv_`: weights scaled layer by layer, until each layer's outputs have a standard deviation of 1 for a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from fanin._core.messages import visible
from fanin._core.types import Globs
from fanin.models.names import chosen_layers
from fanin.models.patterns import escaped
from fanin.recipes.recipe import Recipe
from fanin.theory.lsuv import Lsuv, ScaledLayer
from fanin.theory.signals import measure
from fanin.torch.describe import Visit, joined
from fanin.torch.initialize import initialize
from fanin.torch.probing.layers import every_module, first_tensor, has_kernel, type_of, values_of
from fanin.torch.probing.state import arguments, checked_module, untouched, write

_MOST = 1e4  # times what an orthogonal matrix gives: a weight that needs more does not set the size of its outputs
_NEAR = 2.0  # from 1, or its inverse: a layer that does not come so near keeps the weight that it had


def lsuv_(
    model: nn.Module,
    batch: Any,
    *,
    tolerance: float = 0.1,
    iterations: int = 10,
    orthogonal: bool = True,
    seed: int = 0,
    layers: Globs | None = None,
) -> Lsuv:
    """Initializes a module so that the outputs of its layers have a standard deviation of 1 for a batch.

    Layer-sequential unit variance: the weight of each dense layer and convolution becomes orthogonal; then, in the
    order in which the layers run, each weight is divided by the standard deviation of its layer's outputs until that is
    1 ± `tolerance`. Biases stay as they are, and so does all else. A module that is called several times counts at its
    first call. A layer that does not even come within a factor of 2 of that keeps the weight that it had: its outputs
    are not finite or all the same, come from its bias, or would need a weight 10,000 times an orthogonal one.

    Orthogonal values are those that `fanin.torch.initialize` gives for the rule `{"initializer": "orthogonal"}`: a
    function of the seed and of the weight's name.

    Args:
        model: the module, whose weights are changed in place, on any device. It runs in the mode that it is in.
        batch: what it is called with: a tensor, a tuple of arguments, or a mapping of keyword arguments. A batch of
            real data, of some hundred samples.
        tolerance: how far from 1 the standard deviations may be.
        iterations: how often a weight is scaled at most.
        orthogonal: whether weights start as orthogonal matrices; if not, from what they are.
        seed: the seed of these, and of what the module draws, such as dropout.
        layers: globs of the paths of the layers to scale. Without it, all are, but frozen ones.

    Returns:
        A report of each layer's standard deviation before and after, of those that did not reach 1, and of those that
        were skipped: because they are frozen, do not run, share their weight with another module, or compute it from
        other tensors.

    Raises:
        ValueError: no layer can be scaled, with this batch or at all, or one that `layers` names by its path cannot;
            parameters have no values or are sharded; an argument is out of range. The weights have their old values
            then, and so they have if the module's code raises.
        TypeError: an argument is of the wrong type.

    References: Mishkin and Matas, "All you need is a good init", ICLR 2016.

    >>> import fanin, fanin.torch, torch
    >>> stack = [torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU()) for _ in range(20)]
    >>> model = torch.nn.Sequential(*stack)
    >>> batch = torch.from_numpy(fanin.RandomNormal(stddev=1.0, seed=2)((256, 64)))
    >>> report = fanin.torch.lsuv_(model, batch, seed=1)
    >>> len(report.layers), len(report.missed), 0.9 < min(each.after for each in report.layers)
    (20, 0, True)
    """
    _check(tolerance, iterations)
    model = checked_module(model)
    targets, skipped = _targets(model, layers)
    before = _stds(model, batch, seed, targets)
    skipped |= {path: "the batch does not reach it" for path in targets if path not in before}
    targets = _first_of_each_weight({path: targets[path] for path in before}, skipped)  # in the order in which they run
    _refuse_named(layers, skipped)
    if not targets:
        raise ValueError(
            "A layer must be a dense layer or a convolution whose weight may be scaled. Received: a model without one. "
            + "".join(f"{visible(path)}: {reason}. " for path, reason in skipped.items())
        )
    weights = {path: _weight(visit.module) for path, visit in targets.items()}
    saved = {path: weight.detach().clone() for path, weight in weights.items()}
    try:
        if orthogonal:
            _make_orthogonal(model, weights, seed)
        scalings = {}
        for path, visit in targets.items():
            scalings[path] = _Scaling(weights[path], visit.module)
            scalings[path].run(
                lambda path=path: _stds(model, batch, seed, {path: targets[path]}), tolerance, iterations
            )
            if scalings[path].is_lost:
                scalings[path].scale = 1.0
                write(weights[path], saved[path])
        _check_some_scaled(scalings)
        after = _stds(model, batch, seed, targets)
    except BaseException:
        for path, weight in weights.items():
            write(weight, saved[path])
        raise
    scaled = [
        ScaledLayer(path, type_of(visit.module), before[path], after[path], each.scale, each.count, each.problem)
        for (path, visit), each in zip(targets.items(), scalings.values(), strict=True)
    ]
    return Lsuv(tuple(_judged(each, tolerance) for each in scaled), tolerance, skipped)


def _check_some_scaled(scalings: Mapping[str, _Scaling]) -> None:
    """Raises if every layer keeps its weight."""
    if all(each.is_lost for each in scalings.values()):
        path, first = next(iter(scalings.items()))
        raise ValueError(
            "`batch` must give layers outputs whose size their weights set. Received: a batch for which none of "
            f"{len(scalings)} layers has such, first {visible(path)}: {first.problem}."
        )


def _check(tolerance: float, iterations: int) -> None:
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 < tolerance < 1:
        raise ValueError(f"`tolerance` must be between 0 and 1. Received: tolerance={tolerance!r}.")
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
        raise ValueError(f"`iterations` must be a positive integer. Received: iterations={iterations!r}.")


# ---------------------------------------------------------------- which layers


def _targets(model: nn.Module, layers: Globs | None) -> tuple[dict[str, Visit], dict[str, str]]:
    """The layers whose weights may be scaled, and the others, with the reasons."""
    found = {visit.path: visit for visit in reversed(list(every_module(model))) if has_kernel(visit.module)}
    found = dict(reversed(found.items()))
    paths = found.keys() if layers is None else chosen_layers(layers, found)
    others = {
        id(tensor): joined(visit.path, leaf)
        for visit in every_module(model)
        for leaf, tensor in visit.module._parameters.items()
        if tensor is not None and not (leaf == "weight" and has_kernel(visit.module))
    }
    targets, skipped, taken = {}, {}, {}
    for path in (each for each in found if each in paths):
        module = found[path].module
        problem = _problem(module, others, frozen_too=layers is not None)
        if id(module) in taken:
            problem = f"it is the same module as {taken[id(module)]}"
        taken.setdefault(id(module), path)
        if problem:
            skipped[path] = problem
        else:
            targets[path] = found[path]
    return targets, skipped


def _problem(module: nn.Module, others: Mapping[int, str], *, frozen_too: bool) -> str:
    """Why a layer's weight may not be scaled; "" if it may."""
    weight = module._parameters.get("weight")
    if weight is None:
        return "its weight is computed from other tensors"
    if not weight.is_floating_point():
        return f"its weight is of {weight.dtype}"
    if id(weight) in others:
        return f"it shares its weight with {others[id(weight)]}"
    if not (weight.requires_grad or frozen_too):
        return "it is frozen"
    return ""


def _first_of_each_weight(targets: Mapping[str, Visit], skipped: dict[str, str]) -> dict[str, Visit]:
    """The layers without those whose weight an earlier one has, which are skipped."""
    first: dict[int, str] = {}
    for path, visit in targets.items():
        earlier = first.setdefault(id(_weight(visit.module)), path)
        if earlier != path:
            skipped[path] = f"it shares its weight with {joined(earlier, 'weight')}"
    return {path: visit for path, visit in targets.items() if path not in skipped}


def _refuse_named(layers: Globs | None, skipped: Mapping[str, str]) -> None:
    """Raises for layers that were asked for by their very path, and cannot be scaled."""
    names: Collection[str] = () if layers is None else [layers] if isinstance(layers, str) else layers
    for path in names:
        if path in skipped:
            raise ValueError(
                f"The layers to scale must be ones that can be. Received: {visible(path)}: {skipped[path]}."
            )


def _weight(module: nn.Module) -> torch.Tensor:
    weight = module._parameters["weight"]
    assert weight is not None
    return weight


def _make_orthogonal(model: nn.Module, paths: Iterable[str], seed: int) -> None:
    """Gives the weights of layers their orthogonal start, by the names that they have in the model."""
    recipe = Recipe([{"path": "*", "initializer": "orthogonal"}], seed=seed)
    initialize(model, recipe, only=[escaped(joined(path, "weight")) for path in paths], progress=False)


# ---------------------------------------------------------------- measuring and scaling


class _Reached(BaseException):
    """Ends a run of the model once the last layer has run that is asked about."""


def _stds(model: nn.Module, batch: Any, seed: int, targets: Mapping[str, Visit]) -> dict[str, float]:
    """The standard deviations of the outputs of layers at their first calls, in the order of these.

    The run ends with the last of them. NaN stands for outputs that are not all finite.
    """
    paths = {id(visit.module): path for path, visit in targets.items()}
    found: dict[str, float] = {}

    def note(module: nn.Module, args: Any, output: Any) -> None:
        path, tensor = paths[id(module)], first_tensor(output)
        if path in found or tensor is None:
            return
        signal = measure(values_of(tensor), rank=False)
        found[path] = math.nan if signal.nonfinite else signal.std
        if len(found) == len(paths):
            raise _Reached

    with untouched(model, seed, gradients=False), ExitStack() as stack:
        for visit in targets.values():
            stack.callback(visit.module.register_forward_hook(note).remove)
        args, kwargs = arguments(batch, gradients=False)
        with suppress(_Reached):
            model(*args, **kwargs)
    return found


@dataclass
class _Scaling:
    """A weight while it is scaled, always from its start, so that 16-bit weights are rounded once."""

    weight: torch.Tensor
    module: nn.Module
    scale: float = 1.0
    count: int = 0
    problem: str = ""
    last: float = math.nan  # the standard deviation that was measured last
    start: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.weight.detach().to(torch.promote_types(self.weight.dtype, torch.float32), copy=True)

    def run(self, measured: Callable[[], dict[str, float]], tolerance: float, iterations: int) -> None:
        """Scales until the measured standard deviation is 1 within the tolerance, or cannot become so."""
        while not self.problem:
            std = self.last = next(iter(measured().values()), math.nan)
            if abs(std - 1) <= tolerance:
                return
            if not std or not math.isfinite(std):
                self.problem = "its outputs are not all finite" if std else "its outputs are all the same"
            elif self.count == iterations:
                self.problem = f"its standard deviation was {std:.3g} after {iterations} iterations{self._bias()}"
            else:
                self._multiply(1 / std)

    @property
    def is_lost(self) -> bool:
        """Whether its outputs did not come near a standard deviation of 1."""
        return bool(self.problem) and not 1 / _NEAR <= self.last <= _NEAR

    def _multiply(self, by: float) -> None:
        size = math.sqrt(measure(values_of(self.start), rank=False).second_moment * self.start[0].numel())
        if size * self.scale * by > max(_MOST, size):
            self.problem = f"its weight would be {size * self.scale * by:.2g} times an orthogonal one"
            return
        values = (self.start * (self.scale * by)).to(self.weight.dtype)
        if not values.isfinite().all() or (not values.any() and self.start.any()):
            self.problem = (
                f"its weight is out of the range of {self.weight.dtype} if it is scaled by {self.scale * by:.3g}"
            )
            return
        self.scale *= by
        self.count += 1
        write(self.weight, values)

    def _bias(self) -> str:
        bias = self.module._parameters.get("bias")
        alone = 0.0 if bias is None else measure(values_of(bias), rank=False).std
        return f", and its bias alone has one of {alone:.3g}" if alone > 0.5 else ""


def _judged(layer: ScaledLayer, tolerance: float) -> ScaledLayer:
    """A layer with the problem that its outputs are not what they were when it was scaled, if that is so."""
    if layer.problem or abs(layer.after - 1) <= tolerance:
        return layer
    return replace(layer, problem="its outputs were others in the end: the model does not repeat itself")
