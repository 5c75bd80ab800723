"""`torch.nn.init` with fanin's values: every name, signature, error and warning of it, and a `seed=`.

    from fanin.torch import init

    init.xavier_uniform_(weight, seed=1)  # the values of fanin.GlorotUniform(seed=1), whatever was drawn before
    init.xavier_uniform_(weight)          # a seed that is drawn from PyTorch's generator: torch.manual_seed repeats it

Functions that draw take `seed`, by keyword: an integer in [-2**63, 2**63 - 1]. Values are then those of fanin's
initializer of the law, bit for bit. Without a seed, each call that draws something takes one, of 63 bits, from the
generator that is given, or else from PyTorch's default generator of the CPU; calls that raise leave it as it was. A
call with both a seed and a generator is an error.

A seed gives the same values on every device, with any strides, and in every sharding: of a DTensor, each process fills
what it holds. Without a seed, the processes of a DTensor's mesh take that of its first process, which they tell each
other, so all of them must make the call. Tensors without memory, on the meta device or fake, are refused, unless
`fanin.torch.patch` is in force. Some calls can do more than PyTorch's: `orthogonal_` fills 16-bit floats, and
`trunc_normal_` has bounds of infinity. Some cannot: complex numbers in `sparse_`, bounds of `trunc_normal_` of which
none lies within 36 standard deviations of the mean, a sparsity outside of [0, 1].

Within `fanin.torch.recording`, calls are recorded as the laws that they are, and seeds have no effect.

>>> import fanin, torch
>>> from fanin.torch import init
>>> weight = init.xavier_uniform_(torch.empty(2, 3), seed=1)
>>> bool((weight.numpy() == fanin.GlorotUniform(seed=1)((3, 2)).T).all())
True
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import init as _theirs

from fanin.torch.init.constants import constant_, dirac_, eye_, ones_, zeros_
from fanin.torch.init.random import (
    calculate_gain,
    kaiming_normal_,
    kaiming_uniform_,
    normal_,
    orthogonal_,
    sparse_,
    trunc_normal_,
    uniform_,
    xavier_normal_,
    xavier_uniform_,
)
from fanin.torch.init.routing import deprecated as _deprecated

__all__ = [
    "calculate_gain",
    "constant",
    "constant_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "sparse",
    "sparse_",
    "trunc_normal_",
    "uniform",
    "uniform_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]

# What copies of PyTorch's layers call on the module in whose place this one is.
_calculate_correct_fan = _theirs._calculate_correct_fan
_calculate_fan_in_and_fan_out = _theirs._calculate_fan_in_and_fan_out

constant: Callable[..., Tensor] = _deprecated(constant_)
dirac: Callable[..., Tensor] = _deprecated(dirac_)
eye: Callable[..., Tensor] = _deprecated(eye_)
kaiming_normal: Callable[..., Tensor] = _deprecated(kaiming_normal_)
kaiming_uniform: Callable[..., Tensor] = _deprecated(kaiming_uniform_)
normal: Callable[..., Tensor] = _deprecated(normal_)
orthogonal: Callable[..., Tensor] = _deprecated(orthogonal_)
sparse: Callable[..., Tensor] = _deprecated(sparse_)
uniform: Callable[..., Tensor] = _deprecated(uniform_)
xavier_normal: Callable[..., Tensor] = _deprecated(xavier_normal_)
xavier_uniform: Callable[..., Tensor] = _deprecated(xavier_uniform_)
