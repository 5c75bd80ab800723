"""Verdicts on tensors: with an expectation, alone, beside their siblings and in a trained checkpoint."""

import math
import re
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

import fanin
from fanin.audits.arrays import InMemory
from fanin.audits.judging.candidates import Candidate
from fanin.audits.judging.judgement import allowed_of, judge, reconciled
from fanin.audits.judging.laws import Law, mixed
from fanin.audits.judging.roles import Role, roles_of
from fanin.audits.judging.siblings import among_siblings
from fanin.audits.statistics import Statistics, measure
from fanin.audits.verdicts import Problem, Verdict
from fanin.initializers import Initializer

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
SHAPE = (256, 384)


def _of(array: np.ndarray, name: str = "dense.kernel", law: Law | None = None) -> Verdict:
    return judge(_found(array, name), _role(array, name), law)


def _found(array: np.ndarray, name: str = "dense.kernel") -> Statistics:
    return measure(InMemory(name, np.ascontiguousarray(array)))


def _role(array: np.ndarray, name: str = "dense.kernel") -> Role:
    return roles_of({name: (array.shape, array.dtype)})[name]


def _law(initializer: Initializer, words: str = "", dtype: str = "float32", by_fans: bool = False) -> Law:
    return Law.of(initializer.distribution(SHAPE, dtype), words=words, by_fans=by_fans)


def _codes(verdict: Verdict) -> list[str]:
    return [each.code for each in verdict.problems]


def _normals(stddev: float = 0.02, seed: int = 1, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, stddev, shape).astype(np.float32)


HE = _law(fanin.HeNormal(), "he_normal", by_fans=True)
NORMAL = _law(fanin.RandomNormal(0.0, 0.02), "normal")


# ---------------------------------------------------------------- with an expectation


def test_a_reason_has_the_numbers() -> None:
    """How far mean and standard deviation are from the law's."""
    reason = _of(fanin.HeNormal(seed=1)(SHAPE), law=HE).reason
    assert reason.startswith("It has the distribution of he_normal (stddev 0.0884) (the mean is ")
    assert reason.endswith(" standard errors from it).")


def test_doubled() -> None:
    """The ratio is named."""
    verdict = _of(2 * _normals(), law=NORMAL)
    assert _codes(verdict) == ["stddev"]
    assert verdict.reason == "The standard deviation is 0.0399, twice that of normal (stddev 0.02)."


def test_a_ratio_that_is_near_none() -> None:
    """What a few elements leave uncertain is not called by the next ratio that is known."""
    assert re.search("3.* times that of", _of(3.2 * _normals(shape=(16, 16)), law=NORMAL).reason)


def test_a_ratio_near_one() -> None:
    """The digits show that it is another."""
    array = 1.003 * fanin.RandomUniform(-0.05, 0.05, seed=1)((2000, 1000))
    assert ", 1.003 times that of" in _of(array, law=_law(fanin.RandomUniform(-0.05, 0.05), "uniform")).reason


def test_what_it_looks_like_instead() -> None:
    """Another initializer that it fits."""
    verdict = _of(fanin.GlorotUniform(seed=1)(SHAPE), law=HE)
    assert verdict.kind == "suspicious"
    assert "It fits glorot_uniform" in verdict.reason


def test_a_rare_initializer_is_named_with_care() -> None:
    """A spread of any origin may be that of a model that few have; one that many have is named first."""
    tensor = 1.5 * _normals()
    rare = Candidate(_law(fanin.RandomNormal(0.0, 0.03), "normal"), "Grok", is_rare=True)
    verdict = judge(_found(tensor), _role(tensor), NORMAL, [rare])
    assert "(By chance or not, it fits normal (stddev 0.03), which few models have: Grok.)" in verdict.reason
    usual = Candidate(_law(fanin.RandomNormal(0.0, 0.03), "normal, too"), "GPT-2")
    verdict = judge(_found(tensor), _role(tensor), NORMAL, [rare, usual])
    assert "It fits normal, too (stddev 0.03) (GPT-2)." in verdict.reason


def test_transposed() -> None:
    """The spread of swapped fans, of an initializer that has fans."""
    array = fanin.HeNormal(seed=1)(SHAPE[::-1]).T
    verdict = _of(array, law=HE)
    assert _codes(verdict) == ["transposed"]
    assert "fan_in and fan_out were swapped" in verdict.reason
    assert "It fits he_normal, fan_out" in verdict.reason


def test_the_same_ratio_without_fans() -> None:
    """A fixed spread knows nothing of fans."""
    assert _codes(_of(_normals(0.02 * math.sqrt(256 / 384)), law=NORMAL)) == ["stddev"]


@pytest.mark.parametrize("value", [5.0, 2.0])
@pytest.mark.parametrize("known", [True, False])
def test_one_element_far_beyond_the_others(value: float, known: bool) -> None:
    """PyTorch's trunc_normal_ makes some that are exactly its bound, 2; no other is explained."""
    array = _normals()
    array[3, 3] = value
    verdict = _of(array, law=NORMAL if known else None)
    assert _codes(verdict) == (["distribution"] if value == 5 else [])


def test_another_mean() -> None:
    """The mean, in standard errors."""
    verdict = _of(_normals() + np.float32(0.002), law=NORMAL)
    assert _codes(verdict) == ["mean"]


def test_truncated_where_it_should_not_be() -> None:
    """PyTorch's normal_ replaced by JAX's truncated one."""
    verdict = _of(fanin.TruncatedNormal(0.0, 0.02, seed=1)(SHAPE), law=NORMAL)
    assert _codes(verdict) == ["truncation"]
    assert "It is truncated at 0.04" in verdict.reason


@pytest.mark.parametrize("known", [True, False])
def test_strays_of_keras_with_pytorch(known: bool) -> None:
    """A few elements in a million are beyond the bounds, by what its sampler does."""
    array = fanin.HeNormal(seed=1)(SHAPE)
    array[3, 5] = 1.2 * 2 / fanin.distributions.TRUNCATED_STDDEV * math.sqrt(2 / 256)
    verdict = _of(array, law=HE if known else None)
    assert verdict.kind == "consistent"
    assert "Keras with PyTorch draws about 4 such in a million" in verdict.reason


@pytest.mark.parametrize("count", [1, 50])
def test_elements_far_beyond_the_bounds(count: int) -> None:
    """No sampler makes one element that far, nor many."""
    array = fanin.HeNormal(seed=1)(SHAPE)
    array[3, :count] = (5 if count == 1 else 1.2) * 2 / fanin.distributions.TRUNCATED_STDDEV * math.sqrt(2 / 256)
    assert _of(array, law=HE).kind == "suspicious"


def test_truncated_at_two_and_rescaled() -> None:
    """The largest of 30,000 normals is farther out."""
    array = fanin.TruncatedNormal(0.0, 0.02, seed=1)((256, 128)) / np.float32(fanin.distributions.TRUNCATED_STDDEV)
    assert _codes(_of(array, law=NORMAL)) == ["truncation"]


def test_not_truncated_where_it_should_be() -> None:
    """The other way around."""
    verdict = _of(_normals(math.sqrt(2 / 256)), law=HE)
    assert _codes(verdict) == ["truncation"]
    assert verdict.reason.startswith("It is not truncated")


def test_clipped() -> None:
    """Many elements at the bounds."""
    assert _codes(_of(np.clip(_normals(), -0.03, 0.03), law=NORMAL)) == ["clipped"]


def test_in_bfloat16_before() -> None:
    """All elements are bfloat16 numbers."""
    verdict = _of(_normals().astype(BFLOAT16).astype(np.float32), law=NORMAL)
    assert _codes(verdict) == ["grid"]
    assert "Every element is a bfloat16 number, although its dtype is float32." in verdict.reason


def test_in_bfloat16_before_within_the_range_of_float16() -> None:
    """Numbers of both are those of the dtype with the fewest bits."""
    array = np.random.default_rng(1).uniform(-0.05, 0.05, 512).astype(BFLOAT16).astype(np.float32)
    law = Law.of(fanin.RandomUniform(-0.05, 0.05).distribution((512,)))
    assert "Every element is a bfloat16 number" in _of(array, law=law).reason


def test_many_rows_in_float8_before() -> None:
    """Nothing fails if rounding explains any spread."""
    array = np.random.default_rng(1).normal(0, 0.3, (100_000, 8)).astype(ml_dtypes.float8_e4m3fn)
    assert _of(array.astype(np.float32), "layers.0.dense.weight").kind in ("suspicious", "consistent")


def test_in_float8_before() -> None:
    """Laws whose every draw is rounded to zero do not fit, and nothing fails."""
    array = _normals().astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
    verdict = _of(array)
    assert _codes(verdict) == ["grid"]
    assert "is a float8_e4m3fn number" in verdict.reason


def test_tails_of_few_bits() -> None:
    """The normals of seven random bits, as JAX draws them in bfloat16."""
    special = pytest.importorskip("scipy.special")
    bits = np.random.default_rng(1).integers(0, 128, SHAPE)
    verdict = _of((0.02 * special.ndtri((bits + 0.5) / 128)).astype(np.float32), law=NORMAL)
    assert "coarse" in _codes(verdict)


def test_uniforms_of_few_values_in_bfloat16() -> None:
    """tf_keras's 16-bit uniforms have 128 values, which is no fault of theirs."""
    initializer = fanin.GlorotUniform(seed=1)
    assert _of(initializer(SHAPE, "bfloat16"), law=_law(initializer, "", "bfloat16")).kind == "consistent"


def test_uniforms_of_another_library_in_bfloat16() -> None:
    """PyTorch's have 256 values, with another mean."""
    torch = pytest.importorskip("torch")
    drawn = torch.empty(SHAPE, dtype=torch.bfloat16).uniform_(-0.05, 0.05, generator=torch.Generator().manual_seed(1))
    array = drawn.float().numpy().astype(BFLOAT16)
    law = _law(fanin.RandomUniform(-0.05, 0.05), "", "bfloat16")
    assert _of(array, law=law).kind == "consistent"


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_float8(dtype: str) -> None:
    """Normals that were rounded to 8 bits."""
    stored = np.dtype(getattr(ml_dtypes, dtype))
    law = Law.of(fanin.RandomNormal(0.0, 0.02).distribution(SHAPE), stored)
    assert _of(_normals().astype(stored), law=law).kind == "consistent"


def test_two_spreads() -> None:
    """Blocks with fans of their own, where one law is expected."""
    array = _normals()
    array[:, : SHAPE[1] // 3] *= 2
    verdict = _of(array, law=NORMAL)
    assert _codes(verdict) == ["uneven"]
    assert "3 blocks" in verdict.reason


def test_two_spreads_that_are_expected() -> None:
    """The same blocks, if the law has them."""
    array = _normals()
    array[:, : SHAPE[1] // 3] *= 2
    law = mixed([(_law(fanin.RandomNormal(0.0, 0.04)), 1), (NORMAL, 2)])
    assert _of(array, law=law).kind == "consistent"


def test_laplace() -> None:
    """The right moments and another shape."""
    array = np.random.default_rng(1).laplace(0, 0.02 / math.sqrt(2), SHAPE).astype(np.float32)
    assert _codes(_of(array, law=NORMAL)) == ["distribution"]


def test_a_constant_that_is_another() -> None:
    """Ones where zeros are expected."""
    law = Law.of(fanin.Zeros().distribution((64,)))
    assert _codes(_of(np.ones(64, np.float32), "fc.bias", law)) == ["mean"]


def test_a_bias_that_was_drawn() -> None:
    """PyTorch's default where zeros are expected."""
    law = Law.of(fanin.Zeros().distribution((64,)))
    array = np.random.default_rng(1).uniform(-0.125, 0.125, 64).astype(np.float32)
    role = roles_of({"fc.bias": ((64,), array.dtype), "fc.weight": ((64, 64), array.dtype)})["fc.bias"]
    verdict = judge(_found(array, "fc.bias"), role, law)
    assert _codes(verdict) == ["distribution"]
    assert "It fits uniform, 1/sqrt(fan_in)" in verdict.reason


def test_trained_in_spite_of_an_expectation() -> None:
    """Rows of smoothly different spreads are no fault of an initializer."""
    array = _normals() * np.exp(np.random.default_rng(2).normal(0, 0.3, (SHAPE[0], 1))).astype(np.float32)
    verdict = _of(array, law=NORMAL)
    assert verdict.kind == "trained"
    assert "its rows differ in their spread" in verdict.reason.lower()


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_tiny_tensors(size: int) -> None:
    """Nothing can be said, and nothing is."""
    law = Law.of(fanin.RandomNormal(0.0, 0.02).distribution((size,)))
    verdict = _of(_normals(shape=(size,)), "fc.weight", law)
    assert verdict.kind == ("consistent" if size else "unjudged")


def test_only_nan() -> None:
    """Damage is another's to find."""
    assert _of(np.full(SHAPE, np.nan, np.float32), law=NORMAL).kind == "unjudged"


def test_nan_among_others() -> None:
    """The finite elements are judged."""
    array = _normals()
    array[0, 0] = np.nan
    assert _of(array, law=NORMAL).kind == "consistent"


# ---------------------------------------------------------------- alone


def test_one_that_fits() -> None:
    """With its source."""
    verdict = _of(fanin.GlorotUniform(seed=1)(SHAPE))
    assert verdict.fits == ("glorot_uniform (stddev 0.0559)",)
    assert "Keras's default" in verdict.reason


def test_two_that_cannot_be_told_apart() -> None:
    """Glorot's and LeCun's uniforms are one on a square matrix."""
    verdict = _of(fanin.GlorotUniform(seed=1)((256, 256)))
    assert verdict.kind == "consistent"
    assert {"glorot_uniform (stddev 0.0625)", "lecun_uniform (stddev 0.0625)"} <= set(verdict.fits)
    assert "cannot be told apart" in verdict.reason


def test_a_spread_that_nobody_has() -> None:
    """It is a normal, which is all that a file alone says."""
    verdict = _of(_normals(0.0123))
    assert (verdict.kind, verdict.fits) == ("consistent", ("normal (stddev 0.0123)",))


@pytest.mark.parametrize("count", [100, 128, 1024])
def test_a_ramp_is_computed(count: int) -> None:
    """It has the moments of uniforms, and may be on the grid of a narrower dtype; it was neither drawn nor rounded."""
    verdict = _of((np.arange(count) / count).astype(np.float32)[None, None], "attention.time_mix_key")
    assert verdict.kind == "unjudged"
    assert "computed, not drawn" in verdict.reason


def test_draws_of_few_bits_are_not_rounded() -> None:
    """Multiples of 1/128 are numbers of float16 by arithmetic."""
    array = (np.random.default_rng(1).integers(0, 128, 64) / 128).astype(np.float32)
    assert _of(array, "factor").kind == "consistent"


def test_a_constant_that_nobody_has() -> None:
    """It may be meant."""
    assert _of(np.full(64, 0.3, np.float32), "fc.bias").kind == "unjudged"


def test_blocks_of_their_own_spread() -> None:
    """Fused kernels may have them."""
    array = _normals()
    array[: SHAPE[0] // 2] *= 2
    assert _of(array).kind == "unjudged"


@pytest.mark.parametrize("name", ["norm.weight", "norm.bias", "bn.running_mean", "bn.running_var", "fc.bias"])
def test_what_starts_as_a_constant_and_is_none(name: str) -> None:
    """Trained."""
    assert _of(1 + _normals(0.3, shape=(64,)), name).kind == "trained"


def test_padding_of_embeddings() -> None:
    """A row of zeros is PyTorch's padding_idx, and does not count."""
    array = np.random.default_rng(1).normal(0, 1, (12, 4096)).astype(np.float32)
    array[0] = 0
    verdict = _of(array, "embedding.weight")
    assert "normal (stddev 1)" in verdict.fits


@pytest.mark.parametrize("name", ["conv.weight_g", "conv.parametrizations.weight.original0"])
def test_norms_of_units_are_not_trained(name: str) -> None:
    """They are those of drawn kernels."""
    norms = np.linalg.norm(np.random.default_rng(1).uniform(-1, 1, (128, 300)), axis=1).astype(np.float32)
    assert _of(norms.reshape(128, 1, 1), name).kind != "trained"


def test_a_bias_of_an_unknown_kernel_is_not_trained() -> None:
    """Only one whose kernel is known has a bound that it may break."""
    assert _of(_normals(0.03, shape=(64,)), "layer.bias").kind != "trained"


def test_a_norm_that_is_drawn_around_zero() -> None:
    """As those of some models of transformers."""
    assert "normal (stddev 0.02)" in _of(_normals(shape=(256,)), "bn.weight").fits


def test_batches_that_were_counted() -> None:
    """They say that a model was trained."""
    verdict = _of(np.full((), 3, np.int64), "bn.num_batches_tracked")
    assert (verdict.kind, verdict.reason) == ("trained", "3 batches were counted.")


def test_a_head_that_is_tied_to_an_embedding() -> None:
    """A file that only has the head's name has the embedding's spread, and its row of padding."""
    array = np.random.default_rng(1).normal(0, 1, (300, 128)).astype(np.float32)
    array[1] = 0
    assert "normal (stddev 1)" in _of(array, "lm_head.weight").fits


def test_positions() -> None:
    """0, 1, 2, …"""
    assert _of(np.arange(512)[None], "embeddings.position_ids").fits == ("0, 1, …, 511",)


def test_a_dtype_that_numpy_does_not_have() -> None:
    """Such as a quantized one."""
    role = roles_of({"w": ((2, 2), None)})["w"]
    assert judge(_found(np.ones((2, 2))), role).kind == "unjudged"


# ---------------------------------------------------------------- what is no damage


@pytest.mark.parametrize(
    ("name", "shape", "constant", "padding"),
    [
        ("fc.weight", (64, 32), False, 0),
        ("fc.bias", (64,), True, 0),
        ("norm.weight", (64,), True, 0),
        ("embedding.weight", (64, 32), False, 1),
        ("lm_head.weight", (64, 32), False, 1),
        ("grn.weight", (1, 1, 1, 32), True, 0),
        ("q.lora_B.weight", (64, 8), True, 0),
        ("pos_embed", (1, 8, 32), True, 0),
        ("wpe.weight", (64, 32), False, 1),
        ("blocks.0.adaLN_modulation.1.weight", (64, 32), True, 0),
    ],
)
def test_what_may_be_constant(name: str, shape: tuple[int, ...], constant: bool, padding: int) -> None:
    """By the role."""
    allowed = allowed_of(_role(np.zeros(shape, np.float32), name))
    assert (allowed.constant, allowed.padding) == (constant, padding)


def test_which_spreads_are_allowed() -> None:
    """Kernels have none that no initializer has, unless it is expected."""
    kernel, bias = _role(np.zeros((64, 32), np.float32)), _role(np.zeros(64, np.float32), "fc.bias")
    small = Law.of(fanin.RandomNormal(0.0, 1e-12).distribution((64, 32)))
    assert [allowed_of(kernel).any_spread, allowed_of(bias).any_spread] == [False, True]
    assert [allowed_of(kernel, NORMAL).any_spread, allowed_of(kernel, small).any_spread] == [False, True]


@pytest.mark.parametrize(
    ("initializer", "constant", "dead"),
    [(fanin.Zeros(), True, True), (fanin.HeNormal(), False, False), (fanin.Identity(), True, True)],
)
def test_what_an_expectation_allows(initializer: Initializer, constant: bool, dead: bool) -> None:
    """By the law."""
    law = Law.of(initializer.distribution((64, 32)))
    allowed = allowed_of(_role(np.zeros((64, 32), np.float32)), law)
    assert (allowed.constant, allowed.dead) == (constant, dead)


# ---------------------------------------------------------------- siblings


def _blocks(change: Callable[[int, np.ndarray], np.ndarray], count: int = 6) -> dict[str, Problem]:
    names = {f"h.{n}.mlp.fc.kernel": change(n, _normals(seed=n)) for n in range(count)}
    roles = roles_of({name: (array.shape, array.dtype) for name, array in names.items()})
    return among_siblings({name: (roles[name], _found(array, name)) for name, array in names.items()})


def test_equal_blocks() -> None:
    """Nothing is odd about them."""
    assert _blocks(lambda n, array: array) == {}


def test_one_block_of_another_spread() -> None:
    """It is named, with the ratio."""
    odd = _blocks(lambda n, array: array * np.float32(2 if n == 3 else 1))
    assert list(odd) == ["h.3.mlp.fc.kernel"]
    assert odd["h.3.mlp.fc.kernel"].message.startswith("The standard deviation is 2")


def test_one_block_of_another_mean() -> None:
    """It is named."""
    odd = _blocks(lambda n, array: array + np.float32(0.01 if n == 0 else 0))
    assert [each.code for each in odd.values()] == ["mean"]


def test_one_block_that_was_left_at_zero() -> None:
    """Among drawn ones it is damage, which is found elsewhere."""
    assert _blocks(lambda n, array: array * np.float32(0 if n == 2 else 1)) == {}


def test_one_block_among_constants() -> None:
    """A bias of ones among zeros."""
    odd = _blocks(lambda n, array: np.full(8, float(n == 4), np.float32))
    assert list(odd) == ["h.4.mlp.fc.kernel"]


def test_blocks_of_computed_elements() -> None:
    """Ramps may depend on the depth."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)
    assert _blocks(lambda n, array: ramp + np.float32(n == 3)) == {}


def test_norms_of_zeros_among_norms_of_ones() -> None:
    """Those that end residual branches are zeros, where there is a shortcut."""
    found = {f"h.{n}.norm.weight": _found(np.full(8, float(n > 0), np.float32)) for n in range(4)}
    roles = roles_of({name: ((8,), np.dtype("float32")) for name in found})
    assert among_siblings({name: (roles[name], each) for name, each in found.items()}) == {}


def test_means_are_told_apart() -> None:
    """With as many digits as they differ in."""
    odd = _blocks(lambda n, array: 1 + array + np.float32(0.002 if n == 0 else 0))
    assert "The mean is 1.002, and 1" in next(iter(odd.values())).message


def test_two_blocks() -> None:
    """Which of two is odd, nobody knows."""
    assert _blocks(lambda n, array: array * np.float32(1 + n), count=2) == {}


def test_a_spread_that_grows_with_depth() -> None:
    """A scheme of its own is no fault."""
    assert _blocks(lambda n, array: array / np.float32(math.sqrt(2 * (n + 1)))) == {}


# ---------------------------------------------------------------- trained checkpoints


def _checkpoint(kinds: dict[str, Verdict], shape: tuple[int, ...] = (128, 128)) -> dict[str, Verdict]:
    return reconciled({name: (_role(np.zeros(shape, np.float32), name), each) for name, each in kinds.items()})


TRAINED = Verdict("trained", "Its rows differ.")


def test_training_explains_another_spread() -> None:
    """Beside trained kernels."""
    odd = Verdict("unjudged", "").with_problems((Problem("stddev", "suspicious", "Off."),))
    assert _checkpoint({"a.kernel": TRAINED, "b.kernel": TRAINED, "c.kernel": odd})["c.kernel"].kind == "trained"


def test_training_does_not_explain_nan() -> None:
    """Damage stays."""
    odd = Verdict("unjudged", "").with_problems((Problem("nan", "broken", "NaN."),))
    assert _checkpoint({"a.kernel": TRAINED, "b.kernel": TRAINED, "c.kernel": odd})["c.kernel"].kind == "broken"


def test_empty_tensors_are_not_trained() -> None:
    """Nothing is known of them, whatever is beside them."""
    nothing = Verdict("unjudged", "It has no finite elements.")
    judged = {name: (_role(np.zeros((64, 64), np.float32), name), TRAINED) for name in ("a.kernel", "b.kernel")}
    judged["c.kernel"] = (_role(np.zeros((0, 4), np.float32), "c.kernel"), nothing)
    assert reconciled(judged)["c.kernel"] == nothing


def test_trained_norms_explain_kernels() -> None:
    """After a few steps only they show it."""
    odd = Verdict("unjudged", "").with_problems((Problem("stddev", "suspicious", "Off."),))
    assert (
        _checkpoint({"a.norm.weight": TRAINED, "b.norm.weight": TRAINED, "c.kernel": odd}, (128,))["c.kernel"].kind
        == "trained"
    )


NOT_WHAT = Verdict("trained", "Its rows differ: it is trained. It is not what normal gives.")
FINE = Verdict("consistent", "Fine.", ("he_normal",))


def test_one_trained_tensor_among_many_fresh_ones() -> None:
    """Nobody trained it alone: it has not the law that is expected of it."""
    fresh = {f"{n}.kernel": FINE for n in range(20)}
    verdict = _checkpoint({**fresh, "odd.kernel": NOT_WHAT})["odd.kernel"]
    assert (verdict.kind, _codes(verdict)) == ("suspicious", ["distribution"])
    assert "trained. It is" not in verdict.reason


def test_statistics_of_data_among_fresh_tensors() -> None:
    """A model may have seen data before it is trained."""
    fresh = {f"{n}.kernel": FINE for n in range(20)}
    verdicts = _checkpoint({**fresh, "bn.running_mean": NOT_WHAT}, (128,))
    assert verdicts["bn.running_mean"].kind == "trained"


def test_biases_that_should_be_zero_show_training() -> None:
    """They are the first to move."""
    odd = Verdict("unjudged", "").with_problems((Problem("stddev", "suspicious", "Off."),))
    verdicts = _checkpoint({"a.bias": NOT_WHAT, "b.bias": NOT_WHAT, "c.kernel": odd}, (128,))
    assert verdicts["c.kernel"].kind == "trained"


def test_one_trained_kernel_explains_nothing() -> None:
    """Most of a checkpoint must be trained."""
    odd = Verdict("unjudged", "").with_problems((Problem("stddev", "suspicious", "Off."),))
    fine = Verdict("consistent", "Fine.", ("he_normal",))
    verdicts = _checkpoint({"a.kernel": TRAINED, "b.kernel": fine, "c.kernel": fine, "d.kernel": odd})
    assert verdicts["d.kernel"].kind == "suspicious"


def test_a_layer_that_training_did_not_reach() -> None:
    """A large tensor that has its initial law is still called consistent, and the reason says what that means."""
    fine = Verdict("consistent", "Fine.", ("he_normal",))
    verdict = _checkpoint({"a.kernel": TRAINED, "b.kernel": TRAINED, "c.kernel": fine})["c.kernel"]
    assert verdict.kind == "consistent"
    assert "was left as it was" in verdict.reason
