"""Weights that PyTorch computes from other tensors: by hooks, by parametrizations, and by pruning.

What the weight is computed from is drawn so that the weight is that of the plain layer; norms and singular vectors are
then computed from it, as if it had been registered on the initialized layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from fanin.initializers import RandomNormal

Place = tuple[nn.Module, str]  # a module and the name of one of its tensors

_POWER_ITERATIONS = 15  # as many as torch.nn.utils.parametrizations.spectral_norm begins with
# The dtypes that PyTorch computes norms in on the CPU.
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
UNKNOWN_PARAMETRIZATION = (
    "It belongs to a parametrization. Remove the parametrization, initialize, and register it again."
)


@dataclass(frozen=True)
class Reparametrized:
    """A weight that is computed from other tensors.

    Attributes:
        name: the name of the weight in its layer.
        raw: the path of the drawn tensor from the layer.
        drawn: the place of the tensor that is drawn as the weight would be.
        derived: the places of the tensors that are computed from it, by their paths from the layer.
        compute: the values of these from the drawn tensor, given a function of a name that returns a normal vector.
        description: what they are, in words.
        refresh: computes the weight again where the layer keeps it as a plain attribute.
    """

    name: str
    raw: str
    drawn: Place
    derived: Mapping[str, Place] = field(default_factory=dict)
    compute: Callable[[torch.Tensor, Callable[[int], torch.Tensor]], tuple[torch.Tensor, ...]] = lambda *_: ()
    description: str = ""
    refresh: Callable[[], object] = lambda: None

    @property
    def tensor(self) -> torch.Tensor:
        """The tensor that is drawn."""
        module, leaf = self.drawn
        return getattr(module, leaf)

    @property
    def problem(self) -> str:
        """Why the other tensors cannot be computed, whatever is drawn; "" if they can."""
        if not self.derived or self.tensor.dtype in _DTYPES:
            return ""
        return f"{self.description} cannot be computed in {self.tensor.dtype}. Initialize the model in float32 first."

    def values(self, drawn: torch.Tensor, seed: int, name: str) -> dict[str, torch.Tensor]:
        """The values of the derived tensors on the CPU, by their paths from the layer.

        Args:
            drawn: the values of the drawn tensor.
            seed: the recipe's seed.
            name: the name that the weight is drawn under.

        Raises:
            ValueError: the values have no direction: the layer would divide zero by zero.
        """
        start = RandomNormal(stddev=1.0, seed=seed).spawn(f"{name}[v]")
        with torch.no_grad(), torch.device("cpu"):
            found = self.compute(drawn.detach().cpu(), lambda length: torch.tensor(start((length,))))
        norms = found if len(found) == 1 else [each.norm() for each in found]
        if not all(bool(each.all()) for each in norms):
            raise ValueError(
                f"{self.description} would be zero, and the layer would divide by it. Give the weight another "
                "initializer, or remove its normalization first."
            )
        return dict(zip(self.derived, found, strict=True))


def reparametrized(module: nn.Module) -> Iterator[Reparametrized]:
    """The weights of a module that are computed from other tensors in a way that is known."""
    for hook in module._forward_pre_hooks.values():
        found = _of_hook(module, hook)
        if found is not None and found.drawn[1] in module._parameters:
            yield found
    parametrizations: Any = dict(module._modules.items()).get("parametrizations")  # a scripted module's are no dict
    for name, each in parametrizations.items() if isinstance(parametrizations, nn.ModuleDict) else ():
        if isinstance(each, ParametrizationList) and len(each) == 1:
            found = _of_parametrization(name, each)
            if found is not None:
                yield found


def refresh(root: nn.Module) -> None:
    """Computes the weights again that layers keep as plain attributes, from the tensors that they are computed from."""
    for module in root.modules():
        for weight in reparametrized(module):
            weight.refresh()


def _of_hook(module: nn.Module, hook: Any) -> Reparametrized | None:
    if isinstance(hook, WeightNorm):
        name, dim = hook.name, hook.dim
        return Reparametrized(
            name,
            f"{name}_v",
            (module, f"{name}_v"),
            {f"{name}_g": (module, f"{name}_g")},
            lambda drawn, _: (torch.norm_except_dim(drawn, 2, dim),),
            "The norm of the weight",
            lambda: setattr(module, name, hook.compute_weight(module)),
        )
    if isinstance(hook, SpectralNorm):
        name = hook.name
        return Reparametrized(
            name,
            f"{name}_orig",
            (module, f"{name}_orig"),
            {f"{name}_{vector}": (module, f"{name}_{vector}") for vector in "uv"},
            lambda drawn, start: _singular_vectors(hook.reshape_weight_to_matrix(drawn), start, hook.eps),
            "The first singular vector of the weight",
            lambda: setattr(module, name, hook.compute_weight(module, do_power_iteration=False).data),
        )
    if isinstance(hook, prune.BasePruningMethod):
        name: Any = hook._tensor_name

        def refresh() -> None:
            setattr(module, name, hook.apply_mask(module))

        return Reparametrized(name, f"{name}_orig", (module, f"{name}_orig"), refresh=refresh)
    return None


def _of_parametrization(name: str, found: ParametrizationList) -> Reparametrized | None:
    inside, step = f"parametrizations.{name}", _step(found)
    if not type(step).__module__.startswith("torch.nn.utils."):
        return None
    if type(step).__name__ == "_WeightNorm":
        return Reparametrized(
            name,
            f"{inside}.original1",
            (found, "original1"),
            {f"{inside}.original0": (found, "original0")},
            lambda drawn, _: (torch.norm_except_dim(drawn, 2, step.dim),),
            "The norm of the weight",
        )
    if type(step).__name__ == "_SpectralNorm":
        vectors = [leaf for leaf in ("_u", "_v") if leaf in step._buffers]  # a vector of weights has none
        return Reparametrized(
            name,
            f"{inside}.original",
            (found, "original"),
            {f"{inside}.0.{leaf}": (step, leaf) for leaf in vectors},
            lambda drawn, start: (
                _singular_vectors(drawn.movedim(step.dim, 0).flatten(1), start, step.eps) if vectors else ()
            ),
            "The first singular vector of the weight",
        )
    return None


def _step(found: ParametrizationList) -> Any:
    """The only parametrization, whose attributes PyTorch does not declare."""
    return found[0]


def _singular_vectors(
    matrix: torch.Tensor, start: Callable[[int], torch.Tensor], eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The first left and right singular vectors, by power iteration in at least float32."""
    wide = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
    right = nn.functional.normalize(start(wide.shape[1]).to(wide.dtype), dim=0, eps=eps)
    left = right.new_empty(wide.shape[0])
    for _ in range(_POWER_ITERATIONS):
        left = nn.functional.normalize(torch.mv(wide, right), dim=0, eps=eps)
        right = nn.functional.normalize(torch.mv(wide.T, left), dim=0, eps=eps)
    return left.to(matrix.dtype), right.to(matrix.dtype)
