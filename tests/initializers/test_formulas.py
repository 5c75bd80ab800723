"""What all formulas of the index share: regions, rounding, moments, bounds, copies, recorded values."""

import hashlib
import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fanin
from fanin import distributions
from fanin._core.dtypes import rounded_values
from fanin._core.settings import TIERS
from regions import owner, regions, strided
from strategies import FLOAT_DTYPES, examples

# name → (the initializer, shapes)
CASES: dict[str, tuple[fanin.Initializer, list[tuple[int, ...]]]] = {
    "dirac": (fanin.Dirac(-1.7), [(4, 6), (6, 4), (3, 4, 5), (4, 3, 2, 2), (2, 3, 4, 1, 6)]),
    "dirac, groups": (fanin.Dirac(0.3, 3), [(2, 6), (3, 1, 9), (2, 2, 5, 6)]),
    "bilinear": (fanin.Bilinear(), [(1, 2, 2), (2, 3, 3), (3, 1, 1), (4, 4, 2, 3), (5, 6, 7, 2, 2), (9, 8, 1, 1)]),
    "bilinear, groups": (fanin.Bilinear(-2.5, 2), [(7, 1, 4), (6, 4, 4, 2)]),
    "stft": (fanin.STFT(), [(16, 1, 9), (3, 2, 5), (20, 1, 8), (7, 1, 1), (100, 1, 4)]),
    "stft, sines": (fanin.STFT("imag", "blackman", "spectrum", True), [(16, 1, 9), (21, 3, 5), (9, 1, 2), (5, 1, 1)]),
    "stft, array": (fanin.STFT("imag", [0.1, -2, 0.5, 3, 1, 7, -0.3], None), [(7, 1, 4), (7, 2, 9)]),
    "stft, no window": (fanin.STFT(window=None), [(64, 1, 9), (5, 1, 3)]),
    "sinusoidal": (fanin.Sinusoidal(), [(50, 16), (1, 7), (9, 1), (2, 33, 5), (40000, 3)]),
    "sinusoidal, halves": (fanin.Sinusoidal(50, -20, False), [(50, 16), (1, 7), (9, 1), (3, 2, 8)]),
    "sinusoidal, endpoint": (fanin.Sinusoidal(50, -20, False, True), [(50, 16), (1, 7), (9, 1), (9, 2), (3, 2, 8)]),
    "rotary, cos": (fanin.Rotary("cos", 500000.0, 3, "halves"), [(50, 16), (2, 9, 4)]),
    "rotary, sin": (fanin.Rotary("sin", 1.5, -3, "pairs"), [(50, 16), (1, 2)]),
    "rotary, angles": (fanin.Rotary("angles", start=-9), [(30, 5), (4, 7, 3)]),
    "rotary, later angles": (fanin.Rotary("angles", 100.0, 11, "halves"), [(30, 6)]),
    "rotary, earlier angles": (fanin.Rotary("angles", 100.0, -90, "pairs"), [(30, 6)]),
    "rotary, frequencies": (fanin.Rotary("frequencies"), [(1,), (6,), (3, 40)]),
    "hippo legs": (fanin.Hippo(), [(8, 8), (1, 1), (7, 7), (2, 4, 4)]),
    "hippo legt": (fanin.Hippo("legt"), [(8, 8), (1, 1), (2, 2), (7, 7), (2, 4, 4)]),
    "hippo lagt": (fanin.Hippo("lagt"), [(8, 8), (1, 1), (7, 7), (2, 4, 4)]),
    "hippo legs, B": (fanin.Hippo("legs", "B"), [(8,), (8, 1), (1,), (2, 5), (2, 5, 1)]),
    "hippo lagt, B": (fanin.Hippo("lagt", "B"), [(8,), (8, 1)]),
    "s4d lin": (fanin.S4D("lin", "imag"), [(1,), (32,), (2, 5)]),
    "s4d inv": (fanin.S4D("inv", "imag"), [(1,), (32,), (2, 5)]),
    "s4d legs": (fanin.S4D("legs", "imag"), [(1,), (32,), (2, 5)]),
    "s4d real": (fanin.S4D("real", "real"), [(1,), (32,), (2, 5)]),
    "s4d, decay": (fanin.S4D("inv", "log_real"), [(3,)]),
    "mamba": (fanin.S4D("real", "log_real"), [(16,), (4, 3)]),
}
EACH = [(name, shape) for name, (_, shapes) in CASES.items() for shape in shapes]


@pytest.mark.parametrize(("name", "shape"), EACH)
def test_moments_are_those_of_the_table(name: str, shape: tuple[int, ...]) -> None:
    """The mean and the standard deviation of the elements, which are known without the table."""
    initializer = CASES[name][0]
    moments = initializer.distribution(shape, "float64").moments
    values = initializer(shape, "float64")
    size = np.abs(values).max()
    assert moments.mean == pytest.approx(values.mean(), rel=1e-12, abs=1e-14 * size)
    assert moments.stddev == pytest.approx(values.std(), rel=1e-10, abs=1e-7 * size)
    assert moments.kurtosis is None


@pytest.mark.parametrize(("name", "shape"), EACH)
def test_bounds_are_the_least_and_the_largest_value(name: str, shape: tuple[int, ...]) -> None:
    """What comes up, but for sines and cosines, which stay within limits; 0 is always a bound of kernels."""
    initializer = CASES[name][0]
    drawn = initializer.distribution(shape, "float64")
    low, high = drawn.bounds
    values = initializer(shape, "float64")
    few = 1e-15 * max(abs(low), abs(high))
    assert low - few <= values.min() <= values.max() <= high + few
    if isinstance(drawn, distributions.ChannelKernel):
        values = np.append(values, 0.0)
    elif isinstance(drawn, (distributions.STFT, distributions.Sinusoidal)) or "cos" in name or "sin" in name:
        return
    assert values.min() == pytest.approx(low, rel=1e-14)
    assert values.max() == pytest.approx(high, rel=1e-14)


@pytest.mark.parametrize("name", CASES)
@given(st.data())
@examples(12)
def test_regions(name: str, data: st.DataObject) -> None:
    """Any region, in memory of any strides, has the bytes of the whole tensor's, and nothing else is written."""
    initializer, shapes = CASES[name]
    shape = data.draw(st.sampled_from(shapes))
    dtype = data.draw(st.sampled_from(FLOAT_DTYPES))
    whole, region = initializer(shape, dtype), data.draw(regions(shape))
    part = whole[region]
    assert initializer(shape, dtype, region=region).tobytes() == part.tobytes()
    out = strided(data.draw, part.shape, part.dtype)
    initializer(shape, dtype, region=region, out=out)
    assert out.tobytes() == part.tobytes()
    raw = out.view(f"V{out.dtype.itemsize}")
    raw[...] = np.zeros((), raw.dtype)
    assert not any(owner(out).tobytes())


LARGE = {
    "dirac": (9, 70, 80),
    "bilinear, groups": (31, 30, 6, 10),
    "stft": (700, 1, 90),
    "sinusoidal, halves": (300, 151),
    "rotary, angles": (3, 130, 121),
    "hippo legt": (230, 230),
    "hippo legs, B": (40000, 1),
    "s4d inv": (3, 33000),
}


@pytest.mark.parametrize("name", LARGE)
def test_tensors_of_several_parts(name: str) -> None:
    """What is computed a part at a time has no seams: single rows are the whole's."""
    initializer, shape = CASES[name][0], LARGE[name]
    whole = initializer(shape)
    for row in (0, 1, shape[0] // 2, shape[0] - 1):
        assert initializer(shape, region=row).tobytes() == whole[row].tobytes()
    assert initializer(shape, region=(..., slice(-1, None))).tobytes() == whole[..., -1:].tobytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_values_are_rounded_once(name: str, dtype: str) -> None:
    """A tensor in a narrower dtype is the float64 one, rounded to nearest even."""
    initializer, shapes = CASES[name]
    for shape in shapes:
        made = initializer(shape, dtype)
        assert made.tobytes() == rounded_values(initializer(shape, "float64"), made.dtype).tobytes()


def test_overflow_is_infinity() -> None:
    """Angles that float16 has not, without a warning, whatever NumPy does with floating-point errors."""
    with np.errstate(all="raise"):
        angles = fanin.Rotary("angles", 1.0, 65519)((2, 1), "float16")
        assert fanin.Dirac(1e39)((1, 1)).tolist() == [[math.inf]]
    assert angles.tolist() == [[65504], [math.inf]]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 0, 4), (0, 2, 2), (2, 3, 0)])
def test_empty_tensors(shape: tuple[int, ...]) -> None:
    """They have no elements, moments of 0, and bounds of 0 or those of any table."""
    for name, (initializer, shapes) in CASES.items():
        if name.startswith("hippo") and "B" not in name and shape[-2] != shape[-1]:
            continue
        if len(shape) in map(len, shapes) and "array" not in name and shape[-1] % 6 == 0:
            drawn = initializer.distribution(shape)
            assert initializer(shape).shape == shape
            assert drawn.moments[:2] == (0, 0)
            assert drawn.bounds in ((0, 0), (-1, 1))


@pytest.mark.parametrize("name", CASES)
def test_round_trips(name: str) -> None:
    """Pickles of an initializer and of its distribution, and configurations by way of JSON, make the same values."""
    initializer, shapes = CASES[name]
    made = initializer(shapes[0])
    for other in (
        pickle.loads(pickle.dumps(initializer)),
        type(initializer).from_config(json.loads(json.dumps(initializer.get_config()))),
        fanin.deserialize(json.loads(json.dumps(fanin.serialize(initializer)))),
        eval(repr(initializer), vars(fanin) | {type(initializer).__name__: type(initializer)}),
    ):
        assert other == initializer
        assert other(shapes[0]).tobytes() == made.tobytes()
    drawn = initializer.distribution(shapes[0])
    again = pickle.loads(pickle.dumps(drawn))
    assert again == drawn
    assert hash(again) == hash(drawn)
    assert set(drawn.parameters()) == set(initializer.get_config())


def test_partitions_are_refused() -> None:
    """Keras's partitions are of random values: a part of a formula is a region."""
    for initializer, shapes in CASES.values():
        with pytest.raises(ValueError, match="initializer doesn't support partition-related arguments"):
            initializer(shapes[0], partition_shape=shapes[0])


RECORDED = {
    "sinusoidal, endpoint": "1938962f79dc01ec5de7",
    "dirac": "d1a4e0ddb60abd609916",
    "dirac, groups": "b0134ae12d3f2393e0f1",
    "bilinear": "747d40371ab84b03ea66",
    "bilinear, groups": "5ea03049206b3511d3e3",
    "stft": "dd0812fb5094d6bfd485",
    "stft, sines": "90756bec42cb8bc08e8b",
    "stft, array": "7728176595635a9a6c54",
    "stft, no window": "c077ded95860634fccea",
    "sinusoidal": "d30880ca59a67434f6e5",
    "sinusoidal, halves": "2c8cc6fac20f56f02d0c",
    "rotary, cos": "5220df49578966d40edc",
    "rotary, sin": "d864316699a822e52893",
    "rotary, angles": "55dc8ee7fe78e3c28caa",
    "rotary, later angles": "d5b76ff92d72e49d4a44",
    "rotary, earlier angles": "ff78c0396d248fe66263",
    "rotary, frequencies": "2fa2af60b8589870bfed",
    "hippo legs": "816e4eb8460c7c4445ae",
    "hippo legt": "d1637b704be9bcfc94d0",
    "hippo lagt": "b32d07e9d6d613dc3627",
    "hippo legs, B": "f7826a129c977cde09be",
    "hippo lagt, B": "ce18580911a1113a2d91",
    "s4d lin": "e22b9cb2dc3dae74c50c",
    "s4d inv": "426e04a94128756ec604",
    "s4d legs": "b347c14d4345dd942b9b",
    "s4d real": "38bf70a48738964083dc",
    "s4d, decay": "691a2e822ebcd45a6c0c",
    "mamba": "e4a533e601cac8c0bc14",
}
RECORDED_COMPLEX = {
    "lin": "cc1d6defe928ebd57c62",
    "inv": "a8e2abbbd90e28c9bb47",
    "legs": "5b51090bd2aaaab8245c",
    "real": "36b1fc0f4a289476c2f0",
}


@pytest.mark.parametrize("name", CASES)
def test_recorded_values(name: str) -> None:
    """The bytes of every shape and dtype, on every tier: changed ones would be a breaking change."""
    initializer, shapes = CASES[name]
    for tier in TIERS:
        with fanin.config.using(tier=tier):
            digest = hashlib.sha256()
            for made in (initializer(shape, dtype) for dtype in FLOAT_DTYPES for shape in shapes):
                digest.update(made.astype(made.dtype.newbyteorder("<")).tobytes())
        assert digest.hexdigest()[:20] == RECORDED[name], tier


def test_recorded_complex_values() -> None:
    """Those of the complex diagonals."""
    digests = {}
    for variant in ("lin", "inv", "legs", "real"):
        made = [
            fanin.S4D(variant)((24,), dtype).astype(f"<c{size}")
            for dtype, size in (("complex64", 8), ("complex128", 16))
        ]
        digests[variant] = hashlib.sha256(made[0].tobytes() + made[1].tobytes()).hexdigest()[:20]
    assert digests == RECORDED_COMPLEX
