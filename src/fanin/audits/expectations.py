"""What the tensors of a model or checkpoint should be: as a plan says, or a model's own code, or its layers alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fanin._core.messages import visible
from fanin._core.types import Array, DType, Shape
from fanin.audits.judging.laws import Law, mixed
from fanin.checkpoints.manifest import NAME, Manifest
from fanin.checkpoints.stored import Stored
from fanin.initializers import VarianceScaling
from fanin.models import registry
from fanin.models.names import stripped
from fanin.models.parameters import Model, Parameter
from fanin.recipes.entry import Box, Entry
from fanin.recipes.plan import Plan
from fanin.recipes.recipe import Recipe

_REGION = 2**22  # bytes that are made and compared at once; most tensors that differ do so in the first of them
_AS_WRITTEN = Recipe([{"path": "*", "initializer": "as_written"}])


@dataclass(frozen=True)
class Expectation:
    """What one tensor should be.

    Attributes:
        parameter: its description; None if only its name and shape are known.
        entry: what it gets; None if that is not known.
        copy_of: the name of the tensor whose values it should have; "" if it should have its own.
        names: all names of the same parameter, of which a checkpoint may have one or several.
    """

    parameter: Parameter | None = None
    entry: Entry | None = None
    copy_of: str = ""
    names: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether it is known what each element is drawn from."""
        return self.entry is not None and self.entry.covers

    @property
    def is_drawn(self) -> bool:
        """Whether the seed makes its values."""
        return self.entry is not None and any(each.weight.distribution.random for each in self.entry.placements)

    @property
    def dtype_name(self) -> str:
        """The name of the dtype that its model has it in; "" if that is not known."""
        return "" if self.parameter is None else self.parameter.dtype.name

    def laws(self, dtype: DType) -> list[tuple[Box, Law]]:
        """The law of each box of the tensor, in its own axis order; none if that is not known of every element.

        Args:
            dtype: the dtype that the values are stored in.
        """
        if self.entry is None or not self.entry.covers:
            return []
        axes = self.entry.parameter.kernel_axes
        boxes = []
        for each in self.entry.placements:
            by_axis = dict(zip(axes, each.target, strict=True))
            box = tuple(by_axis[axis] for axis in range(len(axes)))
            by_fans = isinstance(each.initializer, VarianceScaling)
            boxes.append((box, Law.of(each.weight.distribution, dtype, by_fans=by_fans)))
        return boxes

    def law(self, dtype: DType) -> Law | None:
        """The law of the elements of all boxes together; None if it is not known."""
        laws = self.laws(dtype)
        return mixed([(law, size_of(box)) for box, law in laws]) if laws else None

    @property
    def kernel_axes(self) -> Shape | None:
        """The axes in Keras's order; None if they are not known."""
        return None if self.parameter is None else self.parameter.kernel_axes

    def failures(self, stored: Stored, laws: Sequence[tuple[Box, Law]], rounded_to: DType) -> Iterator[tuple[Box, str]]:
        """What checks of every element find, beside the statistics: the boxes that fail, and why.

        Args:
            stored: the tensor.
            laws: its laws, as `laws` gives them. Only those of boxes that memory can hold have a check.
            rounded_to: the narrowest dtype that holds its elements, which they were rounded to.
        """
        if not laws or self.entry is None:
            return
        axes = self.entry.parameter.kernel_axes
        for (box, law), each in zip(laws, self.entry.placements, strict=True):
            weight = each.weight
            if law.check is None or each.size != math.prod(weight.shape):
                continue
            kernel = _whole(stored, box).astype(rounded_to).transpose(axes)
            kernel = kernel.reshape(weight.shape)  # without the axes that stack layers
            wrong = law.check(kernel if weight.axes is None else kernel.transpose(weight.axes))
            if wrong:
                yield box, wrong

    def misfit(self, stored: Stored) -> str:
        """Why a tensor cannot be the one that is expected, by its shape; "" if it can."""
        wanted = None if self.parameter is None else self.parameter.shape
        return "" if wanted in (None, stored.shape) else f"Its shape is {stored.shape}, and should be {wanted}."


def _whole(stored: Stored, box: Box) -> Array:
    """All elements of a box of a tensor."""
    out = np.empty(tuple(stop - start for start, stop in box), stored.dtype)
    for region, part in stored.parts([tuple(slice(*each) for each in box)]):
        within = (slice(each.start - start, each.stop - start) for each, (start, _) in zip(region, box, strict=True))
        out[(*within, ...)] = part
    return out


def size_of(box: Box) -> int:
    """The number of elements of a box."""
    return math.prod(stop - start for start, stop in box)


@dataclass(frozen=True)
class Expectations:
    """What the tensors of a model or checkpoint should be.

    Attributes:
        source: what says so, in words: "the recipe", "the model's own code", "the model's layers", a manifest,
            or "names and shapes".
        by_name: the expectation of each tensor, by its name.
        reason: why a better source says nothing; "" if it does.
        seed: the seed of the values, if they should be those of a seed bit for bit.
        model: the model in words; "" if there is none.
        left: the tensors of the model that are no parameters, with the reason.
        unfit: the parameters that a recipe should say something of and does not, with the reason.
    """

    source: str
    by_name: Mapping[str, Expectation] = field(default_factory=dict)
    reason: str = ""
    seed: int | None = None
    model: str = ""
    left: Mapping[str, str] = field(default_factory=dict)
    unfit: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_plan(cls, plan: Plan, source: str, *, under: str = "", is_seeded: bool = False) -> Expectations:
        """What a plan gives each parameter.

        Args:
            plan: the plan.
            source: what it comes from, in words.
            under: what all names of the checkpoint begin with, before a dot.
            is_seeded: whether the values should be those of the plan's seed.
        """
        by_name = {}
        for entry in plan.entries:
            names = tuple(_placed(name, under) for name in (entry.path, *entry.parameter.tied))
            known = None if entry.problem or entry.kept or not entry.placements else entry
            copy_of = _placed(entry.copy_of, under) if entry.copy_of else ""
            expected = Expectation(entry.parameter, known, copy_of, names)
            by_name |= dict.fromkeys(names, expected)
        left = {_placed(name, under): reason for name, reason in plan.model.left.items()}
        made = cls(source, by_name, model=plan.model.name, left=left)
        return replace(made, seed=plan.seed, unfit=_unfit(plan)) if is_seeded else made

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> Expectations:
        """What a manifest says of the tensors of a checkpoint."""
        by_name = {}
        for each in manifest.tensors:
            entry = None if each.record is None else each.entry()
            names = (each.name, *each.tied)
            by_name |= dict.fromkeys(names, Expectation(None if entry is None else entry.parameter, entry, "", names))
        return cls(f"the manifest {NAME}", by_name, seed=manifest.seed, model=manifest.model)

    @classmethod
    def of_model(cls, model: Any, *, under: str = "") -> Expectations:
        """What the code of a model gives its parameters; if that cannot be read, what its layers are.

        Args:
            model: a model of any framework, or the description of one.
            under: what all names of the checkpoint begin with, before a dot.

        Raises:
            TypeError: it is no model.
        """
        described = registry.describe(model)
        try:
            plan = own_plan(model, described)
        except (TypeError, ValueError) as error:
            return cls._of_layers(described, under, visible(str(error)))
        if plan is None:
            return cls._of_layers(described, under, "")
        return cls.of_plan(plan, "the model's own code", under=under)

    @classmethod
    def _of_layers(cls, model: Model, under: str, reason: str) -> Expectations:
        by_name = {}
        for parameter in model.parameters:
            names = tuple(_placed(name, under) for name in (parameter.path, *parameter.tied))
            by_name |= dict.fromkeys(names, Expectation(parameter, names=names))
        left = {_placed(name, under): why for name, why in model.left.items()}
        return cls("the model's layers", by_name, reason, model=model.name, left=left)

    def of(self, name: str) -> Expectation:
        """The expectation of the tensor with this name, with or without what wrappers insert."""
        found = self.by_name.get(name) or self.by_name.get(stripped(name))
        return Expectation(names=(name,)) if found is None else found

    def knows(self, name: str) -> bool:
        """Whether the model has a tensor of this name."""
        return not {name, stripped(name)}.isdisjoint(self.by_name) or name in self.left

    def ties(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """Which of these tensors should have the values of others: the name of each, with that of the other one.

        Either the model's code copies them, or both are names of one parameter.
        """
        pairs: list[tuple[str, str]] = []
        there: dict[tuple[str, ...], list[str]] = {}
        for name in names:
            expected = self.of(name)
            there.setdefault(expected.names, []).append(name)
            pairs += [(name, expected.copy_of)] if expected.copy_of else []
        for every, several in there.items():
            places = {name: place for place, name in enumerate(every)}
            first, *others = sorted(several, key=lambda name: places.get(name, places.get(stripped(name), 0)))
            pairs += [(name, first) for name in others]
        return pairs

    def missing(self, names: Iterable[str]) -> list[str]:
        """The parameters of which a checkpoint with these names has nothing."""
        there = {stripped(name) for name in names} | set(names)
        wanted = {each.names: each.names[0] for each in self.by_name.values()}
        return [first for every, first in wanted.items() if there.isdisjoint(every)]


def _unfit(plan: Plan) -> dict[str, str]:
    """The parameters that no rule of a plan's recipe fits, with the reason."""
    unmatched = {entry.path: f"No rule matches {visible(entry.path)}." for entry in plan.unmatched}
    return unmatched | {entry.path: entry.problem for entry in plan.entries if entry.problem}


def own_plan(model: Any, described: Model) -> Plan | None:
    """The plan of what a model's own code gives each parameter; None if models of its kind do not say that.

    Raises:
        ValueError: its code cannot be read.
    """
    home = registry.home_of(model)
    if home is not None and (planned := registry.registered(home).own_plan) is not None:
        return planned(model)
    return None if described.written is None and described.stored is None else _AS_WRITTEN.plan(model)


def is_exact(entry: Entry, stored: Stored) -> bool:
    """Whether a tensor has every bit that an entry of a plan gives it.

    Raises:
        CheckpointError: the file is damaged.
    """
    if stored.shape != entry.shape or stored.dtype != entry.parameter.dtype:
        return False
    parts = stored.parts(entry.regions(_REGION))
    return all(np.array_equal(_bytes(part), _bytes(entry.make(region))) for region, part in parts)


def _bytes(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _placed(name: str, under: str) -> str:
    return f"{under}.{name}" if under else name
