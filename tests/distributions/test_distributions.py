"""Distributions: what they say of themselves, the moments that values have, and matrices as tensors of more axes."""

import copy
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fanin
from catalogue import CATALOGUE, SEEDED, shape_for
from fanin import distributions
from fanin._core.settings import TIERS
from fanin._core.shapes import parse_region
from fanin._core.streams import Stream
from regions import regions, strided
from strategies import examples, seeds


def test_distributions_describe_the_draw() -> None:
    """Kinds, parameters as the dtype rounds them, bounds, moments and fans."""
    drawn = fanin.HeNormal().distribution((3, 3, 64, 128))
    assert (drawn.kind, drawn.fan_in, drawn.fan_out, drawn.size) == ("truncated_normal", 576, 1152, 73728)
    assert math.isclose(drawn.moments.stddev, math.sqrt(2 / 576), rel_tol=1e-7)
    assert drawn.bounds == (-2 * drawn.parameters()["stddev"], 2 * drawn.parameters()["stddev"])
    assert fanin.RandomNormal(0.1, 0.3).distribution((), "float16").parameters() == {
        "mean": float(np.float16(0.1)), "stddev": float(np.float16(0.3))
    }  # fmt: skip
    assert list(fanin.RandomUniform(-1, 3).distribution((2,)).parameters()) == ["minval", "maxval"]
    assert list(fanin.RandomUniform(-1, 3).distribution((2,), "int32").parameters()) == ["minval", "maxval"]
    assert fanin.Constant(7).distribution((2,)).parameters() == {"value": 7}
    assert fanin.RandomUniform(-1, 3).distribution((2,)).bounds == (-1, 3)
    assert fanin.RandomUniform(-1, 3).distribution((2,), "int32").bounds == (-1, 2)
    assert fanin.RandomUniform(None, None).distribution((2,), "uint64").bounds == (0, 2**64 - 1)
    assert fanin.RandomUniform(None, None).distribution((2,), "int64").bounds == (-(2**63), 2**63 - 1)
    assert fanin.Constant(7).distribution((2,)).moments.mean == 7
    assert fanin.Identity(2).distribution((2, 4)).moments.mean == 0.5
    assert fanin.Orthogonal(2).distribution((4, 4)).moments.stddev == 1.0
    assert fanin.Zeros().distribution((0, 3)).size == 0
    with pytest.raises(AttributeError):
        drawn.shape = (1,)  # pyright: ignore[reportAttributeAccessIssue]


# No element of a large orthogonal matrix comes near its bounds, and few of a heavy tail do.
MATRICES_OF_SEEDS = ("DeltaOrthogonal", "Orthogonal", "Orthogonal, batches", "Unitary")
FAR_BOUNDS = (*MATRICES_OF_SEEDS, "TruncatedNormal, tail", "Exponential", "LogNormal", "ComplexNormal")


@pytest.mark.parametrize("name", SEEDED)
def test_moments(name: str) -> None:
    """Means and standard deviations of a million elements lie within 5 standard errors, on every tier."""
    initializer, dtypes, _ = CATALOGUE[name]
    rank = min(CATALOGUE[name][2], key=lambda each: abs(each - 2))
    shape = (1, 500, 500)[-rank:] if name in MATRICES_OF_SEEDS else (1000, 1000)
    for dtype in dtypes:
        drawn = initializer.distribution(shape, dtype)
        mean, stddev, kurtosis = drawn.moments
        for tier in TIERS[1:]:
            with fanin.config.using(tier=tier):
                values = np.real(fanin.Weight(drawn, Stream(31)).make()).astype(np.float64)
            standard_error = stddev / math.sqrt(drawn.size)
            assert abs(values.mean() - mean) < 5 * standard_error, (dtype, tier)
            spread = math.sqrt(((kurtosis or 3) - 1) / 4) * standard_error
            assert abs(values.std() - stddev) < 5 * spread, (dtype, tier)
            low, high = drawn.bounds
            step = 2.0**-8 * max(abs(low), abs(high)) if dtype.endswith("float16") else 0
            step = max(step, 1e-6 * max(abs(low), abs(high)))
            near = 1 if name in FAR_BOUNDS else 0.1
            assert low - step <= values.min() <= low + near * (high - low)
            assert high - near * (high - low) <= values.max() <= high + step


def test_moments_of_values_that_overflow() -> None:
    """Infinite values have infinite moments, or none; large ones that cannot be reached do no harm."""
    assert fanin.RandomNormal(0.0, 11000.0).distribution((2,), "float16").moments.mean == 0.0
    moments = fanin.RandomNormal(0.0, 11000.0).distribution((2,), "float16").moments
    assert math.isclose(moments.stddev, 11000, rel_tol=1e-3)
    assert not math.isfinite(fanin.RandomNormal(0.0, 40000.0).distribution((2,), "float16").moments.stddev)


def test_fans_of_its_own() -> None:
    """A distribution can be given other fans; all else stays, and so does the first one."""
    drawn = fanin.RandomNormal().distribution((3, 4))
    other = drawn.with_fans(7, 0.5)
    assert (other.fan_in, other.fan_out) == (7, 0.5)
    assert (drawn.fan_in, drawn.fan_out) == (3, 4)
    assert other != drawn
    assert hash(other) != hash(drawn)
    assert other == fanin.RandomNormal().distribution((3, 4)).with_fans(7, 0.5)
    assert drawn.with_fans(3, 4) == drawn
    assert hash(drawn.with_fans(3, 4)) == hash(drawn)
    assert other.parameters() == drawn.parameters()
    assert fanin.HeNormal().distribution((3, 4)) == fanin.HeNormal(seed=1).distribution([3, 4])


@pytest.mark.parametrize("name", CATALOGUE)
def test_replace_keeps_fans(name: str) -> None:
    """`dataclasses.replace`, copies and pickles of a distribution with fans of its own have them, too."""
    initializer, dtypes, _ = CATALOGUE[name]
    shape = shape_for(name, 3, 4, 5)
    drawn = initializer.distribution(shape, dtypes[0]).with_fans(7, 0.5)
    for other in (
        replace(drawn),
        replace(drawn, shape=shape[::-1]),
        copy.deepcopy(drawn),
        pickle.loads(pickle.dumps(drawn)),
    ):
        assert (other.fan_in, other.fan_out) == (7, 0.5)


def test_reshaped_matrices_keep_fans() -> None:
    """A matrix with fans of its own has them as a tensor of more axes."""
    matrix = fanin.Orthogonal().distribution((6, 4)).with_fans(7, 0.5)
    assert isinstance(matrix, distributions.Matrix)
    assert (matrix.reshaped((2, 3, 4), 1).fan_in, matrix.reshaped((2, 3, 4), 1).fan_out) == (7, 0.5)


MATRICES = {
    "Orthogonal": distributions.Orthogonal((2, 2), np.dtype(np.float32), 1.3),
    "Identity": distributions.Identity((2, 2), np.dtype(np.float32), -0.3),
}


@pytest.mark.parametrize("name", MATRICES)
@given(st.data())
@examples(150)
def test_matrices_as_tensors_of_more_axes(name: str, data: st.DataObject) -> None:
    """Reshaped to any shape with any last axes as columns, each region has the bytes of the matrix's."""
    shape = tuple(data.draw(st.lists(st.integers(1, 5) | st.just(0), max_size=5)))
    cut = data.draw(st.integers(0, len(shape)))
    dtype = np.dtype(data.draw(st.sampled_from(["float32", "float64", "float16", "bfloat16"])))
    rows, columns = math.prod(shape[:cut]), math.prod(shape[cut:])
    matrix = replace(MATRICES[name], shape=(rows, columns), dtype=dtype)
    tensor = matrix.reshaped(shape, len(shape) - cut)
    assert (tensor.matrix_shape, tensor.shape, tensor.size) == ((rows, columns), shape, rows * columns)
    assert (tensor.moments, tensor.bounds, tensor.parameters()) == (matrix.moments, matrix.bounds, matrix.parameters())
    stream = Stream(data.draw(seeds))
    with fanin.config.using(tier=data.draw(st.sampled_from(TIERS))):
        expected = fanin.Weight(matrix, stream).make().reshape(shape)
        assert fanin.Weight(tensor, stream).make().tobytes() == expected.tobytes()
        region = data.draw(regions(shape))
        part = fanin.Weight(tensor, stream).make(region)
        assert part.shape == expected[region].shape
        assert part.tobytes() == expected[region].tobytes()
        out = strided(data.draw, part.shape, dtype)
        fanin.Weight(tensor, stream).fill(out, parse_region(region, shape))
    assert out.tobytes() == part.tobytes()
