"""Tables of positions against those of transformers, formulas of the papers in many digits, and rotations."""

from typing import Any

import numpy as np
import pytest

import fanin


def exact(position: int, pair: int, width: int, base: float, turn: int) -> float:
    """The sine, or the cosine, of an angle of a table, rounded to float64 from 60 digits."""
    mpmath: Any = pytest.importorskip("mpmath")
    with mpmath.workdps(60):
        angle = position / mpmath.mpf(base) ** (mpmath.mpf(2 * pair) / width)
        return float((mpmath.cos if turn else mpmath.sin)(angle))


def nearly(ours: np.ndarray, theirs: Any, few: float) -> bool:
    """Whether two tables agree to a difference."""
    return ours.shape == theirs.shape and np.abs(ours - np.asarray(theirs)).max() <= few


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("features", [1, 2, 7, 16])
@pytest.mark.parametrize("start", [0, -3, 1_000_000, 2**31 - 3, -(2**31)])
def test_sinusoidal_values(start: int, features: int, interleaved: bool) -> None:
    """Those of the paper to a unit in the last place, sines and cosines in turn or in halves, at any position."""
    table = fanin.Sinusoidal(start=start, interleaved=interleaved)((3, features), "float64")
    sines = (features + 1) // 2
    for row, position in enumerate(range(start, start + 3)):
        for column in range(features):
            pair, turn = divmod(column, 2) if interleaved else (column % sines, int(column >= sines))
            expected = exact(position, pair, features, 10000, turn)
            assert abs(table[row, column] - expected) <= abs(np.spacing(expected)), (row, column)


def test_sinusoidal_tables_of_transformers() -> None:
    """Marian's (in halves, of an odd number of features too) and DistilBERT's (in turn), but for rare last bits."""
    torch = pytest.importorskip("torch")
    marian = pytest.importorskip("transformers.models.marian.modeling_marian")
    distilbert = pytest.importorskip("transformers.models.distilbert.modeling_distilbert")
    for features in (64, 33):
        theirs = marian.MarianSinusoidalPositionalEmbedding(512, features).create_weight().numpy()
        ours = fanin.Sinusoidal(interleaved=False)((512, features))
        assert (ours == theirs).mean() > 0.999
        assert nearly(ours, theirs, 6e-8)
    theirs = torch.empty(512, 64)
    distilbert.create_sinusoidal_embeddings(512, 64, theirs)
    ours = fanin.Sinusoidal()((512, 64))
    assert (ours == theirs.numpy()).mean() > 0.999
    assert nearly(ours, theirs, 6e-8)


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("features", [1, 2, 3, 4, 7, 16])
def test_sinusoids_with_an_endpoint(features: int, interleaved: bool) -> None:
    """Those of frequencies from 1 to 1 / base, to a unit in the last place; a single frequency is 1."""
    table = fanin.Sinusoidal(500, 1_000_000, interleaved, endpoint=True)((3, features), "float64")
    sines = (features + 1) // 2
    for row, position in enumerate(range(1_000_000, 1_000_003)):
        for column in range(features):
            pair, turn = divmod(column, 2) if interleaved else (column % sines, int(column >= sines))
            expected = exact(position, pair, 2 * max(1, sines - 1), 500, turn)
            assert abs(table[row, column] - expected) <= abs(np.spacing(expected)), (row, column)


def test_the_tables_of_whisper_and_m2m100() -> None:
    """They have the endpoint; computed in float32, they are off by some 1e-4 at their last positions."""
    whisper = pytest.importorskip("transformers.models.whisper.modeling_whisper")
    m2m100 = pytest.importorskip("transformers.models.m2m_100.modeling_m2m_100")
    ours = fanin.Sinusoidal(interleaved=False, endpoint=True)((1500, 384))
    config = whisper.WhisperConfig(d_model=384, encoder_layers=0, encoder_attention_heads=6, vocab_size=8)
    encoder = whisper.WhisperEncoder(config)
    theirs = m2m100.M2M100SinusoidalPositionalEmbedding.get_embedding(1500, 384)
    for table in (encoder.embed_positions.weight.detach(), whisper.sinusoids(1500, 384), theirs):
        assert nearly(ours[:16], table.numpy()[:16], 2e-6)
        assert nearly(ours, table.numpy(), 2e-4)
    assert np.abs(fanin.Sinusoidal(interleaved=False)((1500, 384)) - theirs.numpy()).max() > 1.9


def test_the_table_of_gpt_j() -> None:
    """It is in halves, and multiplied in float32, so it is off by some 1e-4 at position 2047."""
    pytest.importorskip("torch")
    gptj = pytest.importorskip("transformers.models.gptj.modeling_gptj")
    theirs = gptj.create_sinusoidal_positions(2048, 64).numpy()
    ours = fanin.Sinusoidal(interleaved=False)((2048, 64))
    assert nearly(ours, theirs, 2e-4)
    assert nearly(ours[:9], theirs[:9], 1e-6)


@pytest.mark.parametrize("base", [10000.0, 500000.0, 1e6])
def test_rotary_tables_of_llama(base: float) -> None:
    """Cosines and sines in halves, and the buffer `inv_freq`, as transformers' float32 has them."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    rope = {"rope_type": "default", "rope_theta": base}
    config = transformers.LlamaConfig(hidden_size=256, num_attention_heads=4, rope_parameters=rope)
    module = llama.LlamaRotaryEmbedding(config)
    frequencies = fanin.Rotary("frequencies", base)((32,))
    assert np.allclose(frequencies, module.inv_freq.numpy(), rtol=3e-7, atol=0)
    cosines, sines = (each[0].numpy() for each in module(torch.zeros(1), torch.arange(100, 130)[None]))
    for part, theirs in (("cos", cosines), ("sin", sines)):
        ours = fanin.Rotary(part, base, 100, "halves")((30, 64))  # pyright: ignore[reportArgumentType]
        assert nearly(ours, theirs, 2e-5)


def test_rotary_tables_in_float64() -> None:
    """With float64 arithmetic of one's own, angles, cosines and sines agree to 1e-12, in each way of repeating."""
    torch = pytest.importorskip("torch")
    frequencies = 10000.0 ** (-torch.arange(0, 16, 2, dtype=torch.float64) / 16)
    angles = torch.outer(torch.arange(5, 1005, dtype=torch.float64), frequencies)
    repeated = {"no": angles, "halves": torch.cat((angles, angles), -1), "pairs": angles.repeat_interleave(2, -1)}
    for way, table in repeated.items():
        for part, theirs in (("angles", table), ("cos", table.cos()), ("sin", table.sin())):
            ours = fanin.Rotary(part, start=5, repeated=way)(tuple(table.shape), "float64")  # pyright: ignore
            assert nearly(ours, theirs, 1e-12), (way, part)
        row = torch.cat((frequencies, frequencies)) if way == "halves" else frequencies
        row = frequencies.repeat_interleave(2) if way == "pairs" else row
        ours = fanin.Rotary("frequencies", repeated=way)((len(row),), "float64")  # pyright: ignore
        assert np.allclose(ours, row, rtol=1e-15, atol=0)


def test_pairs_as_torchtune_has_them() -> None:
    """Its cache is (positions, n, 2): cosine and sine of each angle."""
    torch = pytest.importorskip("torch")
    theta = 1.0 / 10000 ** (torch.arange(0, 32, 2)[:16].float() / 32)
    angles = torch.einsum("i, j -> ij", torch.arange(64, dtype=theta.dtype), theta)
    cache = torch.stack([angles.cos(), angles.sin()], dim=-1)
    ours = np.stack([fanin.Rotary(part)((64, 16)) for part in ("cos", "sin")], axis=-1)
    assert nearly(ours, cache, 5e-6)


def test_rotations_depend_on_the_distance() -> None:
    """Two vectors that are rotated by their positions have a product that depends on the distance alone."""
    numbers = np.random.default_rng(3)
    first, second = numbers.normal(size=(2, 8))
    products = []
    for start in (0, 17, 1_000_000_000):
        cosines, sines = (fanin.Rotary(part, 10000, start)((6, 4), "float64") for part in ("cos", "sin"))

        def rotated(vector: np.ndarray, row: int, cosines: Any = cosines, sines: Any = sines) -> np.ndarray:
            x, y = vector[:4], vector[4:]
            return np.concatenate([x * cosines[row] - y * sines[row], x * sines[row] + y * cosines[row]])

        products.append(rotated(first, 5) @ rotated(second, 1))
    assert np.ptp(products) < 1e-14


def test_angles_are_rounded_once() -> None:
    """Products of positions and frequencies are the float64 numbers nearest to the exact ones."""
    mpmath: Any = pytest.importorskip("mpmath")
    table = fanin.Rotary("angles", 10000, 2**31 - 50)((50, 6), "float64")
    with mpmath.workdps(60):
        for row in range(50):
            for column in range(6):
                angle = (2**31 - 50 + row) / mpmath.mpf(10000) ** (mpmath.mpf(column) / 6)
                assert table[row, column] == float(angle)


def test_one_frequency_and_wide_bases() -> None:
    """A base of 1 gives every feature the same angle; a huge one leaves the last features of a table near 0 and 1."""
    table = fanin.Rotary("cos", 1)((4, 3), "float64")
    assert (table == table[:, :1]).all()
    assert table[3, 0] == exact(3, 0, 2, 1, 1)
    assert fanin.Sinusoidal(1e300)((2, 4), "float64")[1, 2:].tolist() == [1e-150, 1.0]


def test_leading_axes_repeat_the_table() -> None:
    """A table (1, positions, features), as vision transformers have it, is the table."""
    for initializer in (fanin.Sinusoidal(), fanin.Rotary("sin", repeated="pairs")):
        table = initializer((6, 4), "float64")
        assert np.array_equal(initializer((2, 1, 6, 4), "float64"), np.broadcast_to(table, (2, 1, 6, 4)))


def test_the_last_position() -> None:
    """2**31 is the last one, in a region of a table of 2**32 rows, too."""
    table = fanin.Sinusoidal(start=-(2**31))
    assert table((2**32 + 1, 2), "float64", region=-1).tolist() == [exact(2**31, 0, 2, 1e4, turn) for turn in (0, 1)]
    with pytest.raises(ValueError, match=r"^Positions must lie in \[-2\*\*31, 2\*\*31\]\. Received: shape=\(42949672"):
        table((2**32 + 2, 2))
