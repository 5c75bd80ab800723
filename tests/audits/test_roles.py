"""Roles, fans and places of tensors, from their names and shapes."""

import numpy as np
import pytest

from fanin.audits.judging.candidates import candidates_of
from fanin.audits.judging.roles import Role, roles_of

FLOAT32, INT64 = np.dtype("float32"), np.dtype("int64")

ROLES = (
    ("fc.weight", (64, 32), "kernel"),
    ("conv.weight", (64, 32, 3, 3), "kernel"),
    ("fc.bias", (64,), "bias"),
    ("dense/kernel:0", (32, 64), "kernel"),
    ("lstm/lstm_cell/recurrent_kernel", (32, 128), "recurrent_kernel"),
    ("depthwise_conv2d/depthwise_kernel", (3, 3, 32, 1), "depthwise_kernel"),
    ("rnn.weight_hh_l0_reverse", (128, 32), "recurrent_kernel"),
    ("rnn.bias_ih_l1", (128,), "bias"),
    ("mlp/~/linear_0.w", (32, 64), "kernel"),
    ("mlp/~/linear_0.b", (64,), "bias"),
    ("a.b", (64, 32), "other"),
    ("wte.weight", (1000, 64), "embedding"),
    ("model.embed_tokens.weight", (1000, 64), "embedding"),
    ("embedding/embeddings", (1000, 64), "embedding"),
    ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", (32, 8), "embedding"),
    ("h.0.ln_1.weight", (64,), "scale"),
    ("h.0.ln_1.bias", (64,), "offset"),
    ("stages.0.layers.0.grn.weight", (1, 1, 1, 64), "scale"),
    ("stages.0.layers.0.grn.bias", (1, 1, 1, 64), "offset"),
    ("stages.0.factor.weight", (1, 1, 64), "other"),
    ("score.weight", (1, 64), "kernel"),
    ("conv.weight_g", (64, 1, 1), "scale"),
    ("conv.parametrizations.weight.original0", (64, 1, 1), "scale"),
    ("conv.parametrizations.weight.original1", (64, 32, 3), "kernel"),
    ("score.weight", (1, 64, 3), "kernel"),
    ("batch_normalization/gamma", (64,), "scale"),
    ("batch_normalization/beta", (64,), "offset"),
    ("batch_normalization/moving_variance", (64,), "variance"),
    ("bn1.running_mean", (64,), "mean"),
    ("bn1.num_batches_tracked", (), "count"),
    ("blocks.0.ls1.gamma", (64,), "scale"),
    ("layers.0.q_proj.lora_A.default.weight", (8, 64), "lora_a"),
    ("layers.0.q_proj.lora_A.weight", (8, 64), "lora_a"),
    ("layers.0.q_proj.lora_B.weight", (64, 8), "lora_b"),
    ("layers/dense/vars/0", (32, 64), "kernel"),
    ("layers/dense/vars/1", (64,), "bias"),
    ("layers/batch_normalization/vars/2", (64,), "mean"),
    ("layers/lstm/cell/vars/1", (32, 128), "recurrent_kernel"),
    ("pos_embed", (1, 197, 64), "other"),
    ("encoder.position_ids", (1, 512), "other"),
)
HINTS = (
    ("pos_embed", (1, 197, 64), "position"),
    ("wpe.weight", (1024, 64), "position"),
    ("cls_token", (1, 1, 64), "token"),
    ("blocks.0.ls1.gamma", (64,), "layer_scale"),
    ("layers.0.mixer.A_log", (64, 16), "state_space"),
    ("layers.0.mixer.dt_proj.bias", (64,), "time_step"),
    ("rotary.inv_freq", (32,), "rotary"),
    ("act1.weight", (64,), "slope"),
    ("optimizer.exp_avg.fc.weight", (64, 32), "optimizer"),
    ("logit_scale", (), "temperature"),
    ("lm_head.weight", (1000, 64), "tied"),
    ("cls.predictions.decoder.weight", (1000, 64), "tied"),
    ("decoder.weight", (64, 1000), ""),
    ("weight", (1000, 64), "tied"),
    ("head.weight", (1000, 64), "gate"),
    ("res_net18.logits.w", (64, 1000), "gate"),
    ("batch_norm/~/mean_ema.average", (1, 1, 1, 64), "average"),
    ("conv.weight_g", (64, 1, 1), "norms"),
)
FANS = (
    ("fc.weight", (64, 32), (32, 64)),
    ("conv.weight", (64, 32, 3, 3), (288, 576)),
    ("dense/kernel", (32, 64), (32, 64)),
    ("conv2d/kernel", (3, 3, 32, 64), (288, 576)),
    ("h.0.attn.c_attn.weight", (64, 192), (64, 192)),
    ("rnn.weight_ih_l0", (128, 32), (32, 128)),
    ("attention.query.kernel", (64, 8, 16), (512, 1024)),
)


def _role(name: str, shape: tuple[int, ...], dtype: np.dtype = FLOAT32) -> Role:
    return roles_of({name: (shape, dtype)})[name]


@pytest.mark.parametrize(("name", "shape", "role"), ROLES)
def test_roles(name: str, shape: tuple[int, ...], role: str) -> None:
    """By the conventions of each library."""
    assert _role(name, shape, INT64 if name.endswith(("ids", "tracked")) else FLOAT32).role == role


@pytest.mark.parametrize(("name", "shape", "hint"), HINTS)
def test_hints(name: str, shape: tuple[int, ...], hint: str) -> None:
    """What a name says beside the role."""
    assert _role(name, shape).hint == hint


@pytest.mark.parametrize(("name", "shape", "fans"), FANS)
def test_fans(name: str, shape: tuple[int, ...], fans: tuple[int, int]) -> None:
    """The likeliest fans come first."""
    assert _role(name, shape).fans[0] == fans


def test_fans_of_heads() -> None:
    """flax flattens the heads: both readings are known."""
    assert (64, 128) in _role("attention.query.kernel", (64, 8, 16)).fans


def test_the_bias_tells_the_layout() -> None:
    """A kernel whose second axis is as long as the bias is stored as (in, out)."""
    roles = roles_of({"proj.weight": ((64, 192), FLOAT32), "proj.bias": ((192,), FLOAT32)})
    assert roles["proj.weight"].fans == ((64, 192),)


def test_the_kernel_tells_the_fans_of_a_bias() -> None:
    """PyTorch's biases are bounded by their kernel's fan-in."""
    roles = roles_of({"fc.weight": ((64, 32), FLOAT32), "fc.bias": ((64,), FLOAT32)})
    assert roles["fc.bias"].fans == ((32, 64),)


def test_a_head_beside_its_embedding_is_not_tied() -> None:
    """Its embedding has a name of its own."""
    tensors = {"lm_head.weight": ((1000, 64), FLOAT32), "model.embed_tokens.weight": ((1000, 64), FLOAT32)}
    assert roles_of(tensors)["lm_head.weight"].hint == ""


@pytest.mark.parametrize(
    "kernel", ["weight_v", "parametrizations.weight.original1", "parametrizations.weight.original"]
)
def test_the_fans_of_a_bias_beside_a_normed_kernel(kernel: str) -> None:
    """PyTorch's norms of weights give the kernel another name."""
    roles = roles_of({f"conv.{kernel}": ((64, 32, 3), FLOAT32), "conv.bias": ((64,), FLOAT32)})
    assert roles["conv.bias"].fans[0][0] == 96


def test_norms_of_several_axes() -> None:
    """A bias of the same shape tells that a weight is a norm's."""
    roles = roles_of({"weight": ((4, 64), FLOAT32), "bias": ((4, 64), FLOAT32)})
    assert (roles["weight"].role, roles["bias"].role) == ("scale", "offset")


def test_biases_of_kernels_of_other_sizes_are_not_siblings() -> None:
    """Their spread follows from the fan-in."""
    tensors = {f"blocks.{n}.conv.weight": ((64, 64, 3 + 4 * n), FLOAT32) for n in range(3)}
    biases = {f"blocks.{n}.conv.bias": ((64,), FLOAT32) for n in range(3)}
    roles = roles_of({**tensors, **biases})
    assert len({roles[name].place for name in biases}) == 3


def test_blocks_are_counted() -> None:
    """The number of blocks is what residual scaling takes."""
    role = roles_of({f"h.{n}.mlp.c_proj.weight": ((64, 16), FLOAT32) for n in range(6)})["h.4.mlp.c_proj.weight"]
    assert (role.depth, role.n_layers, role.residual) == (4, 6, True)


def test_norms_of_one_block_are_not_siblings() -> None:
    """The first and the second norm of a block are two places."""
    roles = roles_of({f"h.{n}.ln_{m}.weight": ((64,), FLOAT32) for n in range(3) for m in (1, 2)})
    assert len({role.place for role in roles.values()}) == 2


def test_layers_of_a_sequence_are_not_siblings() -> None:
    """The last layer of a stack may have another initializer than the others."""
    roles = roles_of({f"mlp.{n}.weight": ((64, 64), FLOAT32) for n in range(3)})
    assert {role.place for role in roles.values()} == {()}


def test_wrappers_are_left_out() -> None:
    """torch.compile and DDP put components into names."""
    assert _role("_orig_mod.fc.weight", (64, 32)).name == "fc.weight"


@pytest.mark.parametrize(
    "words", ["glorot_uniform", "kaiming_uniform(a=sqrt(5))", "he_normal", "lecun_normal", "orthogonal"]
)
def test_candidates_of_kernels(words: str) -> None:
    """What papers and frameworks have is among them."""
    assert any(each.words.startswith(words) for each in candidates_of(_role("fc.weight", (64, 32))))


def test_residual_scaling_is_a_candidate() -> None:
    """GPT-2's, by the number of blocks."""
    names = {f"h.{n}.mlp.c_proj.weight": ((64, 16), FLOAT32) for n in range(6)}
    words = [each.words for each in candidates_of(roles_of(names)["h.0.mlp.c_proj.weight"])]
    assert "normal, 0.02/sqrt(2 n_layers) (stddev 0.00577)" in words


def test_norms_start_as_ones_or_zeros() -> None:
    """The first candidate is what most norms have."""
    assert [each.words for each in candidates_of(_role("norm.weight", (64,)))][:2] == ["ones", "zeros"]


def test_nothing_is_known_of_optimizers() -> None:
    """Their states have no initializer."""
    assert candidates_of(_role("optimizer.exp_avg.fc.weight", (64, 32))) == ()
