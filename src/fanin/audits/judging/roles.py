"""The role of a tensor in its layer, its fans and its place in a model, from names and shapes alone.

A checkpoint does not say which layers its tensors belong to. Their names follow the conventions of PyTorch,
transformers, timm, diffusers, Keras, flax and haiku; where these leave several readings, such as the two layouts of a
square kernel, a `Role` has all of them.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fanin._core import dtypes
from fanin._core.layouts import keras_axes, permuted
from fanin._core.shapes import fans as fans_of_shape
from fanin._core.types import DType, Shape
from fanin.models.names import block_of, depths, stripped
from fanin.models.parameters import Parameter
from fanin.models.traits import KERNELS, norm, role_of_name

Fans = tuple[float, float]

_NORM = re.compile(r"norm|^(ln|bn|gn|grn)(\d|_|$)|_(ln|bn|gn|grn)(\d|_|$)", re.IGNORECASE)
_EMBEDDING = re.compile(r"embed|^wte$|^wpe$|^lut$|^shared$|codebook|_emb$|^emb_|_bias$", re.IGNORECASE)
_POSITION = re.compile(r"pos_?(ition|itional)?_?(emb|enc)|^wpe$|posenc|embed_?pos", re.IGNORECASE)
_TOKEN = re.compile(r"(cls|class|dist|mask|reg|register|query|storage)_?(tokens?|embed(ding)?)$", re.IGNORECASE)
_LAYER_SCALE = re.compile(r"layer_?scale|^ls_?\d*$|^gamma_\d$|^lambda_?\d$|^ls\d", re.IGNORECASE)
_OPTIMIZER = re.compile(r"^(optimizers?|opt_state|exp_avg(_sq)?|momentum_buffer|adam|ema_state)\b", re.IGNORECASE)
_RESIDUAL = re.compile(
    r"^(c_proj|o_proj|out_proj|down_proj|wo|o|w2|fc2|dense_4h_to_h|proj_out|attention_output|out|output|to_out"
    r"|feedforward_output_dense|ffw_linear|linear2|lin2)$"
)
_HEAD = re.compile(r"^(lm_?head|decoder|embed_out|output_projection|proj_out|generator)$", re.IGNORECASE)
# The last component's layers in timm, flax's and Google's vision transformers, and global context blocks among them.
_PARTNERS = {"weight": "bias", "bias": "weight"}
_GATE = re.compile(
    r"adaln|ada_?ln|zero|gate|modulation|proj_out|conv_out|time_?embed|^head$|^logits$|mlp_add", re.IGNORECASE
)
_INPUT_FIRST = re.compile(r"^(c_attn|c_fc|c_proj|q_attn)$")  # transformers' Conv1D, which stores (in, out)
_RECURRENT = re.compile(r"_(l\d+)(_reverse)?$")
# What is before its last component in the names of kernels without a component of their own, such as `in_proj_weight`.
_LEAVES = {
    "weight_ih": "kernel",
    "weight_hh": "recurrent_kernel",
    "weight_hr": "kernel",
    "bias_ih": "bias",
    "bias_hh": "recurrent_bias",
    "in_proj_weight": "kernel",
    "in_proj_bias": "bias",
    "q_proj_weight": "kernel",
    "k_proj_weight": "kernel",
    "v_proj_weight": "kernel",
    "depthwise_kernel": "depthwise_kernel",
    "pointwise_kernel": "kernel",
    "w": "kernel",
    "b": "bias",
    "weight_v": "kernel",
    "weight_g": "scale",
    "original0": "scale",
    "original1": "kernel",
    "bias_k": "other",
    "bias_v": "other",
    "offset": "offset",
    "variance": "variance",
    "mean": "mean",
}
# The kernels that torch.nn.utils.weight_norm divides by their norms, from the layer's own name.
_UNNORMED = ("weight_v", "parametrizations.weight.original1", "weight_orig", "parametrizations.weight.original")
# The roles of a Keras layer's variables by their numbers, by what its name begins with.
_KERAS_NORMS = (("batch_normalization", ("scale", "offset", "mean", "variance")), ("", ("scale", "offset")))
_HINTS = {
    "A_log": "state_space",
    "D": "skip",
    "dt_bias": "time_step",
    "inv_freq": "rotary",
    "position_ids": "range",
    "logit_scale": "temperature",
}


@dataclass(frozen=True)
class Role:
    """What a tensor is in its model.

    Attributes:
        name: its name, with dots between the components.
        role: one of `fanin.models.traits.ROLES`.
        shape: its shape, as stored.
        dtype: its dtype; None if NumPy has none like it.
        fans: the fan-in and fan-out that it may have, the likeliest first; none if nothing is known of them.
        hint: what its name says beside the role: "position", "token", "layer_scale", "gate", "slope", "time_step",
            "state_space", "skip", "rotary", "range", "temperature", "optimizer", "tied" (an output layer that may have
            the values of an embedding, which has no name of its own here), "norms" (those of a kernel's units, which
            they are multiplied by), "average" (of data that a model has seen), or "".
        residual: whether it ends a residual branch, by its name.
        template: the name with the numbers of blocks left out; "" if it is in no repeated block.
        depth: the number of its block; None if it is in none.
        n_layers: how many blocks there are; None if it is in none.
        drawn: the dtype in which its model has it; None if that is not known.
    """

    name: str
    role: str
    shape: Shape
    dtype: DType | None
    fans: tuple[Fans, ...] = ()
    hint: str = ""
    residual: bool = False
    template: str = ""
    depth: int | None = None
    n_layers: int | None = None
    drawn: DType | None = None

    @property
    def is_kernel(self) -> bool:
        """Whether inputs are multiplied by it."""
        return self.role in (*KERNELS, "lora_a")

    @property
    def is_padded(self) -> bool:
        """Whether one of its rows may be that of a padding token, which is zero."""
        return self.role == "embedding" or self.hint == "tied"

    @property
    def is_table(self) -> bool:
        """Whether it is a kernel, or another tensor of two axes or more that is usually drawn."""
        return self.is_kernel or self.role == "embedding"

    @property
    def place(self) -> tuple[object, ...]:
        """What tensors of the same part of repeated blocks have in common; empty if it is in no repeated block.

        >>> import numpy as np
        >>> roles = roles_of({f"h.{n}.fc.weight": ((4, 4), np.dtype("float32")) for n in range(2)})
        >>> len({role.place for role in roles.values()})
        1
        """
        return (self.template, self.shape, self.dtype, self.fans) if self.template else ()

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @classmethod
    def of(cls, parameter: Parameter, beside: Role) -> Role:
        """The role of a model's parameter, whose layer is known.

        Args:
            parameter: the parameter.
            beside: what its name and shape say, for its dtype as stored, and for its place among repeated blocks.
        """
        traits, path = parameter.traits, parameter.path
        named = _role(path, parameter.shape, beside.dtype)
        fans = () if traits.fans is None else (traits.fans,)
        role = named.role if traits.role == "other" else traits.role
        template = _template(path) if beside.n_layers else ""
        return replace(
            named,
            role=role,
            fans=fans or named.fans,
            template=template,
            depth=beside.depth,
            n_layers=beside.n_layers,
            drawn=parameter.dtype,
        )


def roles_of(tensors: Mapping[str, tuple[Shape, DType | None]]) -> dict[str, Role]:
    """The role of each tensor of a checkpoint.

    Args:
        tensors: the shape and the dtype of each tensor, by its name as the file has it.

    >>> import numpy as np
    >>> float32 = np.dtype("float32")
    >>> roles = roles_of({"h.0.fc.weight": ((64, 16), float32), "h.0.fc.bias": ((64,), float32)})
    >>> roles["h.0.fc.weight"].role, roles["h.0.fc.weight"].fans, roles["h.0.fc.bias"].fans
    ('kernel', ((16, 64),), ((16, 64),))
    """
    names = {name: stripped(name) for name in tensors}
    shapes = {names[name]: shape for name, (shape, _) in tensors.items()}
    by_shape: dict[Shape, list[str]] = defaultdict(list)
    for path, shape in shapes.items():
        by_shape[shape].append(path)
    depth_of = depths(shapes)
    roles = {}
    for name, (shape, dtype) in tensors.items():
        path = names[name]
        depth, n_layers = depth_of.get(path, (None, None))
        role = _beside(_role(path, shape, dtype), shapes)
        if _may_be_tied(role) and not any(_is_embedding(other, shapes[other]) for other in by_shape[shape]):
            role = replace(role, hint="tied")
        template = _template(path) if n_layers and n_layers > 1 else ""
        roles[name] = replace(role, template=template, depth=depth, n_layers=n_layers)
    return roles


def _may_be_tied(role: Role) -> bool:
    """Whether a tensor may be an embedding's, (tokens, features), by the name of the output layer that shares it.

    The name of a layer's own tensor, without a model around it, says nothing of the layer.
    """
    *_, parent, leaf = ("", "", *role.name.split("."))
    is_matrix = role.role == "kernel" and len(role.shape) == 2 and role.shape[0] > role.shape[1]
    return is_matrix and leaf == "weight" and (not parent or _HEAD.match(parent) is not None)


def _is_embedding(path: str, shape: Shape) -> bool:
    """Whether a tensor is a table of vectors, by its name."""
    return _role(path, shape, None).role == "embedding"


def _template(path: str) -> str:
    """The name with stars for the numbers of blocks; "" without any. A number of the layer itself stays."""
    *parts, layer, leaf = ("", *path.split("."))[-max(2, path.count(".") + 1) :]
    starred = []
    for part in parts:
        stem, number = block_of(part)
        starred.append(part if number is None else f"{stem}_*" if stem else "*")
    return ".".join((*starred, layer, leaf)) if starred != parts else ""


def _role(path: str, shape: Shape, dtype: DType | None) -> Role:
    """The role that a name and a shape imply, with the fans of the shape alone."""
    parts = path.split(".")
    leaf, parent = parts[-1], parts[-2] if len(parts) > 1 else ""
    role, hint = _role_and_hint(parts, leaf, parent, shape)
    owner = leaf if leaf not in ("weight", "kernel", "bias", "w") else parent
    residual = any(_RESIDUAL.match(part) for part in parts[-3:-1]) and role in KERNELS
    fans = _fans(leaf, owner, role, shape) if len(shape) > 1 else ()
    if dtype is not None and dtypes.kind(dtype) not in ("float", "complex") and role not in ("count", "other"):
        role, hint = "other", hint
    return Role(path, role, shape, dtype, fans, hint, residual)


def _role_and_hint(parts: list[str], leaf: str, parent: str, shape: Shape) -> tuple[str, str]:
    if any(map(_OPTIMIZER.match, parts)):
        return "other", "optimizer"
    if leaf in ("weight_g", "original0"):
        return "scale", "norms"
    if parent.endswith("_ema"):  # haiku's averages of means and variances
        return "other", "average"
    if leaf in _HINTS:
        return "other", _HINTS[leaf]
    if leaf.isdecimal() and parent == "vars":
        return _keras_variable(parts, int(leaf), shape), ""
    if _LAYER_SCALE.search(leaf) or (leaf in ("gamma", "weight", "scale") and _LAYER_SCALE.search(parent)):
        return "scale", "layer_scale"
    if leaf in ("weight", "kernel", "bias", "scale", "gamma", "beta", "offset") and _is_vector(shape):
        traits = norm(leaf) if _NORM.search(parent) else None
        if traits is not None:
            return traits.role, ""
    if leaf == "alpha" or (leaf == "weight" and re.search(r"prelu|^act(ivation)?\d*$", parent, re.IGNORECASE)):
        return "other", "slope"
    if _TOKEN.search(leaf):
        return "other", "token"
    if _POSITION.search(leaf):
        return "other", "position"
    adapter = next((part for part in parts[-3:] if re.fullmatch("lora_[abAB]", part)), None)
    if adapter is not None:
        return adapter.lower(), ""
    return _common_role(leaf, parent, shape), _hint(parent, parts)


def _hint(parent: str, parts: list[str]) -> str:
    if _POSITION.search(parent):
        return "position"
    if "dt_proj" in parent:
        return "time_step"
    return "gate" if any(map(_GATE.search, parts[-4:-1])) else ""


def _common_role(leaf: str, parent: str, shape: Shape) -> str:
    """The role of a tensor of a usual layer."""
    known = _LEAVES.get(_RECURRENT.sub("", leaf)) if leaf != "b" or _is_vector(shape) else "other"
    if known is None:
        known = role_of_name(leaf, shape)
    if leaf == "weight" and len(shape) == 2 and _EMBEDDING.search(parent):
        return "embedding"
    if leaf == "weight" and len(shape) > 1:
        return "other" if len(shape) > 2 and _is_vector(shape) else "kernel"
    return "kernel" if known == "other" and re.search(r"_proj$|^w\d$|^kernel", leaf) and len(shape) > 1 else known


def _is_vector(shape: Shape) -> bool:
    """Whether all axes but the last have one element, as those of a factor of the last axis.

    A matrix of one row is a kernel that makes one number of all inputs.
    """
    return len(shape) != 2 and math.prod(shape[:-1]) == 1


def _keras_variable(parts: list[str], number: int, shape: Shape) -> str:
    """The role of a variable of a `.weights.h5` file, which has numbers for names."""
    layer = next((part for part in reversed(parts[:-2]) if part not in ("cell", "vars", "layers")), "")
    if "normalization" in layer:
        names = next(names for start, names in _KERAS_NORMS if layer.startswith(start))
        return names[number] if number < len(names) else "other"
    if "embedding" in layer:
        return "embedding" if len(shape) == 2 else "other"
    if len(shape) < 2:
        return "bias" if number else "other"
    if "depthwise" in layer:
        return "depthwise_kernel"
    return "recurrent_kernel" if number == 1 and parts[-3] == "cell" else "kernel"


def _fans(leaf: str, owner: str, role: str, shape: Shape) -> tuple[Fans, ...]:
    """The fans that a tensor of two axes or more may have."""
    in_keras = fans_of_shape(shape)
    if role in ("embedding", "lora_a", "lora_b") and len(shape) == 2 and leaf in ("embeddings", "embedding"):
        return (in_keras,)
    in_torch = fans_of_shape(permuted(shape, keras_axes("torch", len(shape))))
    if leaf in ("weight", "weight_v", "weight_orig", "original", "original1") or leaf.startswith(
        ("weight_", "in_proj_", "q_proj_", "k_proj_", "v_proj_")
    ):
        if _INPUT_FIRST.match(owner) and len(shape) == 2:
            return _unique(in_keras, in_torch)
        grouped = (in_torch[0], in_torch[1] / shape[0]) if len(shape) > 2 and shape[1] == 1 else in_torch
        return _unique(in_torch, grouped, in_torch if len(shape) != 3 else fans_of_shape(shape[1:]))
    if leaf in ("kernel", "recurrent_kernel", "depthwise_kernel", "pointwise_kernel", "w") or leaf.isdecimal():
        return _unique(in_keras, *_of_heads(owner, shape))
    return _unique(in_torch, in_keras, *((shape[-2], shape[-1]), (shape[-1], shape[-2])))


def _of_heads(owner: str, shape: Shape) -> tuple[Fans, ...]:
    """The fans of flax's projections to and from heads, (in, heads, size) and (heads, size, out)."""
    if len(shape) != 3:
        return ()
    first, second, last = shape
    if re.match(r"out|.*output", owner):
        return ((first * second, last),)
    return ((first, second * last), (first * second, last))


def _unique(*fans: Fans) -> tuple[Fans, ...]:
    return tuple(dict.fromkeys(fans))


def _beside(role: Role, shapes: Mapping[str, Shape]) -> Role:
    """The role with what the tensors beside it say: the layout of a kernel, and the fans of a bias."""
    start, _, leaf = role.name.rpartition(".")

    def sibling(*leaves: str) -> Shape | None:
        return next(
            (shapes[each] for each in (f"{start}.{name}".lstrip(".") for name in leaves) if each in shapes), None
        )

    if leaf in _PARTNERS and len(role.shape) > 1 and sibling(_PARTNERS[leaf]) == role.shape:
        return replace(role, role="offset" if leaf == "bias" else "scale", fans=())  # a norm's, of several axes
    if leaf == "weight" and len(role.shape) == 2 and len(set(role.shape)) == 2 and role.role in KERNELS:
        bias = sibling("bias")
        if bias == (role.shape[1],):
            return replace(role, fans=(fans_of_shape(role.shape),))
        if bias == (role.shape[0],):
            return replace(role, fans=(fans_of_shape(role.shape[::-1]),))
    if role.role in ("bias", "recurrent_bias") and len(role.shape) == 1:
        weight = sibling(leaf.replace("bias", "weight"), "kernel", "weight", "w", *_UNNORMED, "0")
        if weight is not None and len(weight) > 1:
            return replace(role, fans=_fans_of_bias(leaf, weight, role.shape[0]))
    return role


def _fans_of_bias(leaf: str, weight: Shape, length: int) -> tuple[Fans, ...]:
    """The fans of the kernel beside a bias, in the layouts whose outputs are as many as the bias is long."""
    in_torch = fans_of_shape(permuted(weight, keras_axes("torch", len(weight))))
    fans = []
    if weight[0] == length:
        fans.append(in_torch)
    if weight[-1] == length:
        fans.append(fans_of_shape(weight))
    return _unique(*(fans or [in_torch, fans_of_shape(weight)]))
