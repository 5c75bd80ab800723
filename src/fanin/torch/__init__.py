"""fanin for PyTorch: functions that fill tensors in place, in PyTorch's axis order.

PyTorch stores a weight as (out, in, …), Keras as (…, in, out). The same logical weight has the same value in both: the
weight that `fill_` writes is the transpose of the Keras kernel, bit for bit.

    Keras kernel                      PyTorch weight, layout="torch"
    Dense            (in, out)              Linear           (out, in)
    Conv2D           (kh, kw, in, out)      Conv2d           (out, in, kh, kw)
    Conv2D, groups   (kh, kw, in/g, out)    Conv2d, groups   (out, in/g, kh, kw)
    Conv2DTranspose  (kh, kw, out, in)      ConvTranspose2d  (in, out, kh, kw)
    LSTM             (in, 4 units)          LSTM weight_ih   (4 units, in)

    the same order in both: layout="keras"
    Embedding        (tokens, features)     Embedding        (tokens, features)

>>> import fanin.torch, torch
>>> linear = torch.nn.Linear(3, 2)
>>> _ = fanin.torch.he_normal_(linear.weight, seed=42)
>>> bool((linear.weight.detach().numpy() == fanin.HeNormal(seed=42)((3, 2)).T).all())
True
"""

from typing import TYPE_CHECKING

from fanin._core.messages import missing
from fanin.models import registry

if TYPE_CHECKING:
    from fanin.torch.dcp import save_plan

try:
    from fanin.torch import init
    from fanin.torch.fill import (
        constant_,
        fill_,
        glorot_normal_,
        glorot_uniform_,
        he_normal_,
        he_uniform_,
        identity_,
        lecun_normal_,
        lecun_uniform_,
        ones_,
        orthogonal_,
        random_normal_,
        random_uniform_,
        truncated_normal_,
        variance_scaling_,
        zeros_,
    )
    from fanin.torch.initialize import initialize
    from fanin.torch.patching import patch, unpatch
    from fanin.torch.probing.lsuv import lsuv_
    from fanin.torch.probing.probe import probe
    from fanin.torch.recording.described import described as _described
    from fanin.torch.recording.described import own_plan as _own_plan
    from fanin.torch.recording.places import RecordingError
    from fanin.torch.recording.reading import Reading
    from fanin.torch.recording.recorded import Recorded, recording
    from fanin.torch.shards import Shard
    from fanin.torch.values import values_of as _values_of
except ModuleNotFoundError as _error:
    raise missing(_error, "torch", "PyTorch", extra="torch") from _error

__all__ = [
    "Reading",
    "Recorded",
    "RecordingError",
    "Shard",
    "constant_",
    "fill_",
    "glorot_normal_",
    "glorot_uniform_",
    "he_normal_",
    "he_uniform_",
    "identity_",
    "init",
    "initialize",
    "lecun_normal_",
    "lecun_uniform_",
    "lsuv_",
    "ones_",
    "orthogonal_",
    "patch",
    "probe",
    "random_normal_",
    "random_uniform_",
    "recording",
    "save_plan",
    "truncated_normal_",
    "unpatch",
    "variance_scaling_",
    "zeros_",
]

registry.register("torch", _described, values=_values_of, own_plan=_own_plan)


def __getattr__(name: str) -> object:
    """`save_plan`, at its first use: torch.distributed.checkpoint takes longer to import than all of fanin."""
    if name == "save_plan":
        from fanin.torch.dcp import save_plan

        return save_plan
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
