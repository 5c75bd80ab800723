"""Every model of diffusers that is made without arguments: UNets, transformers, autoencoders; and made small."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import nn

from recorded_cases import Case, Make, first_small
from recorded_transformers import FACTORS, number
from timm_models import without_operators

with without_operators():
    import diffusers  # pyright: ignore[reportMissingImports]

    _NAMES = [name for name in dir(diffusers) if inspect.isclass(getattr(diffusers, name, None))]

logging.getLogger("diffusers").setLevel(logging.ERROR)


# Models whose arguments all have defaults, but that are not made of these alone, with diffusers 0.42.
INCOMPLETE = {
    "ControlNetUnionModel",
    "DreamLiteTransformer2DModel",
    "EasyAnimateTransformer3DModel",
    "HiDreamImageTransformer2DModel",
    "HunyuanDiT2DControlNetModel",
    "HunyuanDiT2DModel",
    "LatteTransformer3DModel",
    "LuminaNextDiT2DModel",
    "ModelMixin",
    "OmniGenTransformer2DModel",
    "Transformer2DModel",
    "TransformerTemporalModel",
    "UniDiffuserModel",
    "ZImageControlNetModel",
}


def classes() -> dict[str, Any]:
    """The classes of models that are made without arguments."""
    found = {name: getattr(diffusers, name) for name in _NAMES if name not in INCOMPLETE}
    return {name: cls for name, cls in found.items() if issubclass(cls, nn.Module) and _needs_none(cls)}


def _needs_none(cls: Any) -> bool:
    """Whether all arguments of a class have defaults."""
    _, *arguments = inspect.signature(cls.__init__).parameters.values()
    named = [each for each in arguments if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    return all(each.default is not each.empty for each in named)


def full() -> Iterable[Case]:
    """All models as they are by default."""
    for name, cls in classes().items():
        yield Case.of("diffusers", name, cls)


def small() -> Iterable[Case]:
    """All models made small, by dividing numbers among the arguments."""
    for name, cls in classes().items():
        yield Case("diffusers, small", name, partial(_prepared_small, cls))


def _prepared_small(cls: Any) -> Make:
    reductions = (partial(cls, **_reduced(cls, factor)) for factor in FACTORS)
    return first_small(reductions, cls.__name__)


def _reduced(cls: Any, factor: int) -> dict[str, Any]:
    """Smaller numbers for the arguments of a class, in place of their defaults."""
    smaller: dict[str, Any] = {}
    for name, argument in inspect.signature(cls.__init__).parameters.items():
        default = argument.default
        if type(default) is int:
            smaller[name] = number(name, default, factor)
        elif isinstance(default, (list, tuple)) and default and all(type(each) is int for each in default):
            smaller[name] = type(default)(number(name, each, factor) for each in default)
    return smaller
