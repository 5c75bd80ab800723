"""What an operator's schema says of it, worked out once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

# Operators that copy elements with another dtype or in another memory.
COPIES = {
    "_to_copy", "clone", "lift_fresh_copy", "detach_copy", "alias_copy", "contiguous",
}  # fmt: skip
# Pointwise operators that PyTorch does not tag as such.
_POINTWISE = {"masked_fill", "_to_copy", "clone", "_conj_physical", "erfinv", "where"}
# Arguments that operators write to although their schemas do not say so.
_UNDECLARED = {
    "native_batch_norm": ("running_mean", "running_var"),
    "cudnn_batch_norm": ("running_mean", "running_var"),
    "miopen_batch_norm": ("running_mean", "running_var"),
}
_VALUE_TAGS = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}


@dataclass(frozen=True)
class Written:
    """An argument that an operator writes to.

    Attributes:
        name: its name.
        position: its number in the schema.
        is_output: whether what it holds before does not count.
    """

    name: str
    position: int
    is_output: bool

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The argument, among those of a call; None if it has none."""
        return args[self.position] if self.position < len(args) else kwargs.get(self.name)


@dataclass(frozen=True)
class Operator:
    """An operator of PyTorch.

    Attributes:
        function: the overload.
        name: its name without a trailing underscore.
        names: the names of its arguments.
        written: the arguments that it writes to.
        returned: for each of its results, the written argument that it is, or None if it is new.
        is_view: whether its results are views of its arguments.
        is_random: whether it draws random numbers.
        is_pointwise: whether each element of the result depends only on those at the same place.
        is_shaped_by_values: whether the shapes of its results depend on the values of its arguments.
        takes_tensors: whether it has arguments that are tensors.
        takes_device: whether it has an argument `device`.
        returns_tensors: whether all of its results are tensors.
    """

    function: Any
    name: str
    names: tuple[str, ...]
    written: tuple[Written, ...]
    returned: tuple[Written | None, ...]
    is_view: bool
    is_random: bool
    is_pointwise: bool
    is_shaped_by_values: bool
    takes_tensors: bool
    takes_device: bool
    returns_tensors: bool


def _is_written(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


@cache
def operator_of(function: Any) -> Operator:
    """What is known of an overload."""
    schema = function._schema
    base = schema.name.split("::")[1]
    name = base[:-1] if base.endswith("_") and not base.endswith("__") else base
    names = tuple(argument.name for argument in schema.arguments)
    written = {
        argument.name: Written(argument.name, position, argument.is_out)
        for position, argument in enumerate(schema.arguments)
        if _is_written(argument) or argument.name in _UNDECLARED.get(name, ())
    }
    aliases = {
        alias: written[argument.name]
        for argument in schema.arguments
        if _is_written(argument)
        for alias in argument.alias_info.before_set
    }
    returns = schema.returns
    kinds = [str(argument.type) for argument in schema.arguments]
    return Operator(
        function=function,
        name=name,
        names=names,
        written=tuple(written.values()),
        returned=tuple(
            next((aliases[alias] for alias in each.alias_info.before_set if alias in aliases), None)
            if each.alias_info is not None
            else None
            for each in returns
        ),
        is_view=not written and bool(returns) and all(each.alias_info is not None for each in returns),
        is_random=torch.Tag.nondeterministic_seeded in function.tags,
        is_pointwise=torch.Tag.pointwise in function.tags or name in _POINTWISE,
        is_shaped_by_values=bool(_VALUE_TAGS.intersection(function.tags)),
        takes_tensors=any("Tensor" in kind for kind in kinds),
        takes_device="device" in names,
        returns_tensors=all("Tensor" in str(each.type) for each in returns),
    )
