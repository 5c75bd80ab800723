"""Advice on parameters that no rule matches, or whose fans a rule lacks, in the same words for every framework."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from fanin._core.messages import visible
from fanin.models.parameters import Parameter
from fanin.models.traits import norm

# What a rule can say of a kernel whose layer is not known.
_OF_LAYOUT = '`layout = "torch"` or `layout = "keras"`, with `stacked = 1` if its first axis is a stack of kernels'


def advice_on(parameters: Iterable[Parameter]) -> Iterator[str]:
    """What to write for parameters of no known role: once for each type of norm, and once for kernels."""
    unknown = [each for each in parameters if each.role == "other"]
    for layer in dict.fromkeys(visible(each.layer) for each in unknown if _is_of_norm(each)):
        yield (
            f"{layer} is a norm that scales by one more than its weight, or that could not be run to find out. Write "
            f'`layer = "{layer}"` and `initializer = "zeros"` if it adds one, `initializer = "ones"` if it does not.'
        )
    path = next((each.path for each in unknown if len(each.shape) > 2 and each.traits.axes is None), None)
    if path is not None:
        yield f"{visible(path)} has axes of no known order. If it is a kernel, its rule can say {_OF_LAYOUT}."


def lacking_fans(initializer: str, rule: str, layer: str, lacking: Sequence[str]) -> str:
    """Why an initializer cannot draw a parameter without fans, and what to write.

    Args:
        initializer: the initializer's class.
        rule: the rule, in words.
        layer: the type of the parameter's layer; "" if unknown.
        lacking: which of `fan_in` and `fan_out` are not known.
    """
    owner = f"a layer of type {layer}" if layer else "no known layer"
    return (
        f"{initializer} needs the fans of a parameter of {owner}, and they are not known. Write "
        f"{' and '.join(f'`{key} = …`' for key in lacking)} into {rule}, or, if it is a kernel, {_OF_LAYOUT}"
    )


def _is_of_norm(parameter: Parameter) -> bool:
    """Whether this would be the scale of a norm, by its name and that of its layer."""
    traits = norm(parameter.path.rpartition(".")[2])
    return traits is not None and traits.role == "scale" and re.search("norm", parameter.layer, re.I) is not None
