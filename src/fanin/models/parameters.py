"""Models as plain data: their parameters, and what recipes need to know about each, in any framework."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from fanin._core.layouts import permuted
from fanin._core.types import DType, Shape
from fanin.models.traits import STATISTICS, UNKNOWN, Traits


@dataclass(frozen=True)
class Parameter:
    """One parameter of a model.

    Attributes:
        path: its dotted path in the model, without the components that wrappers insert.
        shape: its shape in the framework.
        dtype: its dtype.
        layer: the type of the layer that it belongs to; "" if unknown.
        bases: the base classes of that type, which rules may also name in their conditions.
        within: the types of the enclosing layers, the outermost first.
        traits: its traits, which follow from its layer.
        tied: further paths of the same parameter.
        name: the name that it is drawn under, if that is not its path.
        trainable: whether it is trained; False if it is frozen.
        problem: why it cannot be drawn, if so.
    """

    path: str
    shape: Shape
    dtype: DType
    layer: str = ""
    bases: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    traits: Traits = UNKNOWN
    tied: tuple[str, ...] = ()
    name: str = ""
    trainable: bool = True
    problem: str = ""

    @property
    def role(self) -> str:
        """Its role in its layer: "kernel", "bias", …"""
        return self.traits.role

    @property
    def has_usual_start(self) -> bool:
        """Whether it starts as usual unless a rule names its role: statistics, counters and adapters."""
        return self.role in STATISTICS or self.traits.start is not None

    @property
    def kernel_axes(self) -> Shape:
        """The axes in Keras's order; the order as it is if the layout is unknown."""
        return tuple(range(len(self.shape))) if self.traits.axes is None else self.traits.axes

    @property
    def kernel_shape(self) -> Shape:
        """The shape in Keras's axis order."""
        return permuted(self.shape, self.kernel_axes)

    @property
    def layout(self) -> str:
        """ "keras", "torch", or the axes as text; "" if it is unknown or there is only one order."""
        rank, axes = len(self.shape), self.traits.axes
        if axes is None or rank < 2:
            return ""
        if axes == tuple(range(rank)):
            return "keras"
        return "torch" if axes == (*range(2, rank), 1, 0) else str(axes)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The size in memory, in bytes."""
        return self.size * self.dtype.itemsize


# What a model's own code makes of a parameter: from the parameter, the name that it is drawn under and the recipe's
# seed, its placements (`fanin.recipes.Placement`). A ValueError says why there are none.
Written: TypeAlias = Callable[[Parameter, str, int], tuple[Any, ...]]


@dataclass(frozen=True)
class Model:
    """A model, as a framework's module describes it.

    Attributes:
        parameters: each parameter once, with ties resolved.
        name: the model in words, such as its class.
        configs: the numbers in the configurations of the model, whose path is "", and of its parts: by path, by name.
        left: the tensors that recipes leave alone, by path, with the reason.
        notes: what a reader of a plan should know.
        layers: further paths that show which blocks there are, besides those of the parameters.
        complete: whether it has all of its parameters, so that each glob must match one; False if layers are not built.
        written: what the model's own code makes of a parameter, for rules that say `as_written`; None if that is not
            known.
        stored: makes a description of the same model with each tensor as it is stored, which `written` can be asked
            about; None if there is no other.
    """

    parameters: tuple[Parameter, ...]
    name: str
    configs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    complete: bool = True
    written: Written | None = field(default=None, compare=False)
    stored: Callable[[], Model] | None = field(default=None, compare=False)

    def parts_of(self, path: str) -> tuple[str, ...]:
        """The paths of the parts with a configuration that a parameter is in, the outermost first."""
        ends = [0, *(end for end, character in enumerate(path) if character == ".")] if self.configs else []
        return tuple(path[:end] for end in ends if path[:end] in self.configs)

    def placed(self, prefix: str) -> Model:
        """The same model as a part of a larger one.

        Its own code is still asked about the parameters of the model itself; their names tell that they are elsewhere.

        Args:
            prefix: its path there; "" for the model itself.
        """
        if not prefix:
            return self

        def longer(path: str) -> str:
            return f"{prefix}.{path}" if path else path

        def moved(each: Parameter) -> Parameter:
            part = each.traits.part
            traits = each.traits if part is None else replace(each.traits, part=part._replace(path=longer(part.path)))
            tied = tuple(map(longer, each.tied))
            return replace(each, path=longer(each.path), name=longer(each.name), tied=tied, traits=traits)

        return replace(
            self,
            parameters=tuple(map(moved, self.parameters)),
            left={longer(path): reason for path, reason in self.left.items()},
            layers=tuple(map(longer, self.layers)),
            configs={longer(path) if path else prefix: config for path, config in self.configs.items()},
            written=self._written_within(prefix),
            stored=None if (stored := self.stored) is None else lambda: stored().placed(prefix),
        )

    def _written_within(self, prefix: str) -> Written | None:
        """`written` for the parameters of the larger model."""
        written = self.written
        if written is None:
            return None
        own = {f"{prefix}.{each.path}": each for each in self.parameters}
        return lambda parameter, name, seed: written(own[parameter.path], name, seed)
