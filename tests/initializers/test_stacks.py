"""Matrices of which a tensor has several, or one at its centre: Orthogonal, Identity, DeltaOrthogonal, and Unitary."""

from __future__ import annotations

import math
import sys
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fanin
from catalogue import COMPLEX, FLOATS
from fanin._core import linalg
from fanin._core.settings import TIERS
from fanin._core.streams import Stream
from fanin.distributions import matrices
from regions import regions
from strategies import examples

TOLERANCES = {
    "float64": 1e-14,
    "float32": 1e-5,
    "float16": 4e-3,
    "bfloat16": 3e-2,
    "complex128": 1e-14,
    "complex64": 1e-5,
}


def assert_orthonormal(matrix: np.ndarray, dtype: str = "float32") -> None:
    """Rows or columns, whichever are fewer, are orthonormal."""
    wide = matrix.astype("complex128" if matrix.dtype.kind == "c" else "float64")
    gram = wide.conj().T @ wide if len(wide) >= wide.shape[1] else wide @ wide.conj().T
    assert np.abs(gram - np.eye(len(gram))).max() < TOLERANCES[dtype]


@pytest.fixture
def decomposed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The shapes of the matrices that are decomposed."""
    shapes: list[tuple[int, int]] = []
    decompose = linalg.orthonormal_columns

    def noted(matrix: np.ndarray) -> Any:
        shapes.append(matrix.shape)
        return decompose(matrix)

    monkeypatch.setattr(matrices, "orthonormal_columns", noted)
    return shapes


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(7, 9, 4), (7, 4, 9), (7, 5, 5), (7, 3, 3, 4)])
def test_batches_are_orthogonal(shape: tuple[int, ...], dtype: str) -> None:
    """Each index of a batch axis has an orthogonal matrix of its own."""
    stack = fanin.Orthogonal(seed=1, batch_axis=0)(shape, dtype)
    for matrix in stack:
        assert_orthonormal(matrix.reshape(-1, shape[-1]), dtype)
    assert len({matrix.tobytes() for matrix in stack}) == 7


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_the_streams_of_several(dtype: str) -> None:
    """The first matrix has the tensor's stream, so that a batch of one is the matrix; the others fold their number in."""
    one = fanin.Orthogonal(0.7, seed=5)
    several = fanin.Orthogonal(0.7, seed=5, batch_axis=(0, 2), groups=2)((2, 9, 3, 8), dtype)
    for number, (first, second, group) in enumerate(product(range(2), range(3), range(2))):
        stream = Stream(5).fold_in_wide(number) if number else Stream(5)
        expected = one.weight((9, 4), dtype, stream=stream).make()
        assert several[first, :, second, 4 * group : 4 * group + 4].tobytes() == expected.tobytes()
    alone = fanin.Orthogonal(0.7, seed=5, batch_axis=0)((1, 9, 4), dtype)
    assert alone.tobytes() == one((9, 4), dtype).tobytes()


@pytest.mark.parametrize("shape", [(3, 3, 4, 12), (1, 64, 6), (2, 12)])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_groups(groups: int, shape: tuple[int, ...]) -> None:
    """Each equal part of the columns is a matrix of its own."""
    kernel = fanin.Orthogonal(seed=1, groups=groups)(shape)
    for part in np.split(kernel, groups, axis=-1):
        assert_orthonormal(part.reshape(-1, shape[-1] // groups))


def test_a_grouped_convolution_keeps_norms() -> None:
    """Each group of a pointwise convolution is an isometry; one matrix over all groups is none within them."""
    torch = pytest.importorskip("torch")
    from fanin.torch import fill_

    weight = fill_(torch.empty(16, 4, 1, dtype=torch.float64), fanin.Orthogonal(seed=1, groups=4))
    x = torch.randn(3, 16, 5, dtype=torch.float64)
    y = torch.nn.functional.conv1d(x, weight, groups=4)
    norms = [each.unflatten(1, (4, 4)).norm(dim=2) for each in (x, y)]
    assert torch.allclose(*norms, rtol=1e-12)


@pytest.mark.parametrize("axis", [-3, -2, -1, 0, 1, 2])
@pytest.mark.parametrize("shape", [(6, 3, 4), (2, 5, 9)])
def test_the_axis_of_the_columns(shape: tuple[int, ...], axis: int) -> None:
    """As in JAX: that axis is the columns, and all others are the rows."""
    tensor = fanin.Orthogonal(seed=1, column_axis=axis)(shape, "float64")
    assert_orthonormal(np.moveaxis(tensor, axis, -1).reshape(-1, shape[axis]), "float64")
    jax = pytest.importorskip("jax")
    theirs = np.asarray(jax.nn.initializers.orthogonal(column_axis=axis)(jax.random.key(1), shape))
    assert_orthonormal(np.moveaxis(theirs, axis, -1).reshape(-1, shape[axis]))


@st.composite
def stacks(draw: st.DrawFn) -> tuple[fanin.Initializer, tuple[int, ...]]:
    """Orthogonal and identity stacks of any axes and groups, and shapes that they take."""
    shape = draw(st.lists(st.integers(0, 5), min_size=2, max_size=5))
    axes = draw(st.permutations(range(len(shape))))
    batch = axes[: draw(st.integers(0, len(shape) - 2))]
    if draw(st.booleans()):
        batch = axes[: len(shape) - 2]
        return fanin.Identity(-0.7, batch_axis=batch), tuple(shape)
    columns, groups = axes[-1], draw(st.integers(1, 3))
    shape[columns] = shape[columns] // groups * groups
    initializer = fanin.Orthogonal(0.7, seed=3, column_axis=columns - len(shape), batch_axis=batch, groups=groups)
    return initializer, tuple(shape)


@given(st.data())
@examples(200)
def test_regions(data: st.DataObject) -> None:
    """Any region is that of the whole, in any dtype and order of axes, on any tier."""
    initializer, shape = data.draw(stacks())
    region, dtype = data.draw(regions(shape)), data.draw(st.sampled_from(FLOATS))
    with fanin.config.using(tier=data.draw(st.sampled_from(TIERS))):
        whole = initializer(shape, dtype)
        assert initializer(shape, dtype, region=region).tobytes() == whole[region].tobytes()
        out = np.empty(shape[::-1], whole.dtype).T
        assert initializer(shape, dtype, out=out).tobytes() == whole.tobytes()


def test_regions_make_what_they_touch(decomposed: list[tuple[int, int]]) -> None:
    """Of 8 experts in 4 groups, a region decomposes those alone that it has elements of."""
    initializer = fanin.Orthogonal(seed=1, batch_axis=0, groups=4)
    whole = initializer((8, 5, 12))
    for region, count in (
        (np.s_[3], 4),
        (np.s_[3, :, 5], 1),
        (np.s_[2:4, 0, 3:7], 4),
        (np.s_[:, :, 6:7], 8),
        (np.s_[..., 4:4], 0),
        (np.s_[:], 32),
    ):
        decomposed.clear()
        assert initializer((8, 5, 12), region=region).tobytes() == whole[region].tobytes()
        assert decomposed == [(5, 3)] * count


def test_several_are_reserved_one_at_a_time() -> None:
    """A region of many matrices needs room for one; where that is missing, no seed is drawn."""
    stack = fanin.Orthogonal(batch_axis=0)
    assert stack((2**40, 3, 3), region=2**39).shape == (3, 3)
    large = fanin.Orthogonal(batch_axis=0)
    with pytest.raises(MemoryError, match="Unable to allocate 64 TiB"):
        large((2, 2**22, 2**22), region=(0, 0, 0))
    assert not large.has_seed


def test_what_distributions_say() -> None:
    """Kind, gain, places, moments of one matrix, its fans, and that it is made as a whole."""
    drawn = fanin.Orthogonal(2, batch_axis=0, groups=2).distribution((8, 16, 4))
    assert (drawn.kind, drawn.random, drawn.is_made_whole) == ("orthogonal", True, True)
    assert drawn.parameters() == {"gain": 2.0, "column_axis": 2, "batch_axes": [0], "groups": 2}
    assert (drawn.moments.mean, drawn.moments.stddev) == (0.0, 0.5)
    assert (drawn.fan_in, drawn.fan_out) == (16, 4)
    identities = fanin.Identity(2, batch_axis=-1).distribution((4, 4, 8))
    assert (identities.kind, identities.random, identities.is_made_whole) == ("identity", False, False)
    assert (identities.moments.mean, identities.bounds) == (0.5, (0.0, 2.0))


def test_identities() -> None:
    """One for each index of the batch axes, wherever they are."""
    for dtype in FLOATS:
        made = fanin.Identity(-2, batch_axis=[1, -1])((3, 5, 2, 7), dtype)
        assert made.dtype.name == dtype
        expected = np.broadcast_to(-2.0 * np.eye(3, 2)[:, None, :, None], made.shape)
        assert (made.astype("float64") == expected).all()
        assert np.signbit(made).all()


def test_many_small_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Identities are filled all at once, and the others' indices are counted one at a time, however many there are."""
    with monkeypatch.context() as patched:
        patched.setattr(matrices.Identity, "fill", lambda *_: pytest.fail("filled one by one"))
        assert (fanin.Identity(batch_axis=0)((4, 2, 2)) == np.eye(2, dtype="float32")).all()
    begun = []
    monkeypatch.setattr(matrices.Orthogonal, "fill", lambda *_: begun.append(1) or 1 / 0)
    out = np.broadcast_to(np.empty(()), (2**50, 1, 1))  # of no memory
    with pytest.raises(ZeroDivisionError):
        fanin.Orthogonal(batch_axis=0).distribution(out.shape, "float64").fill(out, Stream(1))
    assert begun == [1]


# ---------------------------------------------------------------- at the centre of a kernel


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(3, 4, 6), (4, 5, 4, 4), (1, 2, 6, 3, 5)])
def test_delta_orthogonal(shape: tuple[int, ...], dtype: str) -> None:
    """The matrix of the seed lies at (k - 1) // 2, with orthonormal rows, and all else is +0."""
    kernel = fanin.DeltaOrthogonal(0.7, seed=1)(shape, dtype)
    centre = tuple((length - 1) // 2 for length in shape[:-2])
    matrix = fanin.Orthogonal(0.7, seed=1)(shape[-2:], dtype)
    assert kernel[centre].tobytes() == matrix.tobytes()
    assert_orthonormal(fanin.DeltaOrthogonal(1, seed=1)(shape, dtype)[centre], dtype)
    kernel[centre] = 0
    assert not any(kernel.tobytes())


@pytest.mark.parametrize("column_axis", [-2, -1])
@pytest.mark.parametrize("shape", [(3, 4, 6), (4, 5, 4, 4), (1, 2, 6, 3, 5)])
def test_delta_orthogonal_is_at_jaxs_place(shape: tuple[int, ...], column_axis: int) -> None:
    """JAX's kernels are zero in the same places, and orthonormal the same way."""
    jax = pytest.importorskip("jax")
    init = jax.nn.initializers.delta_orthogonal(column_axis=column_axis)
    theirs, ours = (
        np.asarray(init(jax.random.key(1), shape)),
        fanin.DeltaOrthogonal(seed=1, column_axis=column_axis)(shape),
    )
    assert ((theirs != 0) == (ours != 0)).all()
    centre = tuple((length - 1) // 2 for length in shape[:-2])
    assert np.allclose(theirs[centre] @ theirs[centre].T, ours[centre] @ ours[centre].T, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_delta_orthogonal_convolution_keeps_norms(rank: int) -> None:
    """Convolving changes no norm, whatever the size of the kernel, and neither do ten layers."""
    torch = pytest.importorskip("torch")
    from fanin.torch import fill_

    convolve = getattr(torch.nn.functional, f"conv{rank}d")
    x = y = torch.randn(2, 8, *(6,) * rank, dtype=torch.float64)
    for seed in range(10):
        weight = fill_(torch.empty(8, 8, *(3,) * rank, dtype=torch.float64), fanin.DeltaOrthogonal(seed=seed))
        y = convolve(y, weight, padding=1)
    assert math.isclose(float(x.norm()), float(y.norm()), rel_tol=1e-12)


def test_regions_of_delta_orthogonal(decomposed: list[tuple[int, int]]) -> None:
    """Only those with the centre decompose the matrix."""
    initializer = fanin.DeltaOrthogonal(seed=1)
    whole = initializer((3, 4, 5, 6))
    for region, count in (
        (np.s_[1, 1], 1),
        (np.s_[0], 0),
        (np.s_[:, 2:], 0),
        (np.s_[1:, :, 2, 3:], 1),
        (np.s_[1, 1, 5:], 0),
    ):
        decomposed.clear()
        assert initializer((3, 4, 5, 6), region=region).tobytes() == whole[region].tobytes()
        assert len(decomposed) == count


def test_memory_of_delta_orthogonal() -> None:
    """A region beside the centre needs no memory for the matrix, of a weight in PyTorch's order neither."""
    shape, initializer = (3, 2**20, 2**20), fanin.DeltaOrthogonal(seed=1)
    assert not initializer(shape, region=np.s_[0, :2, :2]).any()
    stored = initializer.weight(shape)._replace(axes=(2, 1, 0))
    assert not stored.make(np.s_[:2, :2, 2]).any()
    assert initializer(shape, region=np.s_[1, :0]).shape == (0, 2**20)
    for make, region in ((partial(initializer, shape), np.s_[1, 0, 0]), (stored.make, np.s_[0, 0, 1])):
        with pytest.raises(MemoryError, match="Unable to allocate 4 TiB"):
            make(region=region)


def test_moments_of_delta_orthogonal() -> None:
    """The spread over the whole kernel, zeros included."""
    drawn = fanin.DeltaOrthogonal(2.0).distribution((3, 3, 40, 50), "float64")
    values = fanin.DeltaOrthogonal(2.0, seed=1)((3, 3, 40, 50), "float64")
    assert math.isclose(drawn.moments.stddev, math.sqrt((values**2).mean()), rel_tol=1e-12)


# ---------------------------------------------------------------- unitary


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("shape", [(20, 20), (30, 7), (7, 30), (3, 3, 4, 5), (1, 1)])
def test_unitarity(shape: tuple[int, ...], dtype: str) -> None:
    """Rows or columns, whichever are fewer, are orthonormal to a few ulps."""
    matrix = fanin.Unitary(seed=1)(shape, dtype)
    assert matrix.dtype.name == dtype
    assert_orthonormal(matrix.reshape(-1, shape[-1]), dtype)


def test_unitary_is_of_complex_normals() -> None:
    """It is Q times the phases of R's diagonal, for the complex normals of the seed: R's diagonal is positive."""
    normals = fanin.ComplexNormal(1.0, seed=3)((9, 5), "complex128")
    made = fanin.Unitary(seed=3)((9, 5), "complex128")
    upper = made.conj().T @ normals
    assert np.abs(np.tril(upper, -1)).max() < 1e-14
    assert np.abs(np.imag(np.diagonal(upper))).max() < 1e-14
    assert (np.real(np.diagonal(upper)) > 0).all()


def test_all_unitary_matrices_are_equally_likely() -> None:
    """Eigenvalues' phases are uniform and repel each other as Haar's do; without the phases of R they would not."""
    stats: Any = pytest.importorskip("scipy.stats")
    phases, traces = [], []
    for seed in range(1000):
        matrix = fanin.Unitary(seed=seed)((4, 4), "complex128")
        phases.append(np.angle(np.linalg.eigvals(matrix))[0] / (2 * math.pi) % 1)
        traces.append(np.trace(matrix))
    assert stats.kstest(phases, "uniform").pvalue > 1e-4
    assert abs(np.mean(np.abs(traces) ** 2) - 1) < 0.15  # Diaconis and Shahshahani, 1994: E|tr U|**2 is 1
    assert abs(np.mean(traces)) < 0.1


def test_unitary_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's decomposition gives the same matrix to rounding."""
    pytest.importorskip("scipy")
    for dtype in COMPLEX:
        with_scipy = fanin.Unitary(0.7, seed=1)((90, 60), dtype)
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, "scipy.linalg", None)
            without = fanin.Unitary(0.7, seed=1)((90, 60), dtype)
        assert without.dtype == with_scipy.dtype
        assert np.abs(with_scipy - without).max() < (2e-6 if dtype == "complex64" else 1e-13)


def test_moments_of_unitary() -> None:
    """Those of each part."""
    drawn = fanin.Unitary(3.0).distribution((40, 50), "complex128")
    values = fanin.Unitary(3.0, seed=1)((40, 50), "complex128")
    assert math.isclose(2 * drawn.moments.stddev**2, float((np.abs(values) ** 2).mean()), rel_tol=1e-12)
    assert drawn.bounds == (-3.0, 3.0)


# ---------------------------------------------------------------- configurations, mistakes, recorded values


def test_configurations() -> None:
    """They name what is not the default, as JSON has it."""
    assert fanin.Orthogonal(2, 3).get_config() == {"gain": 2, "seed": 3}
    full = fanin.Orthogonal(2, 3, column_axis=np.int64(0), batch_axis=(-1, 1), groups=4)
    assert full.get_config() == {"gain": 2, "seed": 3, "column_axis": 0, "batch_axis": [-1, 1], "groups": 4}
    assert fanin.Orthogonal.from_config(full.get_config()) == full
    assert fanin.Orthogonal(batch_axis=0, seed=1) != fanin.Orthogonal(seed=1)
    assert fanin.Identity().get_config() == {"gain": 1.0}
    assert repr(fanin.Identity(2, batch_axis=0)) == "Identity(gain=2, batch_axis=0)"
    assert fanin.DeltaOrthogonal().get_config() == {"gain": 1.0, "seed": None}
    assert repr(fanin.DeltaOrthogonal(2, 3, column_axis=-2)) == "DeltaOrthogonal(gain=2, seed=3, column_axis=-2)"
    assert fanin.Unitary(2, 3).get_config() == {"gain": 2, "seed": 3}


UNTYPED: Any = fanin  # for calls that type checkers refuse
BAD: list[tuple[Any, tuple[int, ...], type[Exception], str]] = [
    (lambda: UNTYPED.Orthogonal(batch_axis=0), (4, 5), ValueError, "The tensor to initialize must be at least two-dimensional besides its batch axes. Received: shape=(4, 5) of rank 2."),
    (lambda: UNTYPED.Orthogonal(batch_axis=3), (4, 5, 6), ValueError, "`batch_axis` must be different axes of the shape (4, 5, 6). Received: batch_axis=[3]."),
    (lambda: UNTYPED.Orthogonal(batch_axis=(0, -3)), (4, 5, 6), ValueError, "`batch_axis` must be different axes of the shape (4, 5, 6). Received: batch_axis=[0, -3]."),
    (lambda: UNTYPED.Orthogonal(column_axis=2), (4, 5), ValueError, "`column_axis` must be different axes of the shape (4, 5). Received: column_axis=[2]."),
    (lambda: UNTYPED.Orthogonal(column_axis=0, batch_axis=0), (4, 5, 6), ValueError, "`column_axis` and `batch_axis` must not share axes. Received: column_axis=0, batch_axis=[0] for shape (4, 5, 6)."),
    (lambda: UNTYPED.Orthogonal(groups=4), (4, 6), ValueError, "`groups` must divide the number of columns. Received: groups=4 for 6 columns, shape (4, 6)."),
    (lambda: UNTYPED.Orthogonal(groups=0), (4, 6), ValueError, "`groups` must lie in [1, 9223372036854775807]. Received: groups=0."),
    (lambda: UNTYPED.Orthogonal(groups=10**5000), (4, 6), ValueError, "Received: groups=one of type int, too long to be shown."),
    (lambda: UNTYPED.Orthogonal(groups=True), (4, 6), TypeError, "`groups` must be an integer. Received: groups=True"),
    (lambda: UNTYPED.Orthogonal(groups=2.0), (4, 6), TypeError, "`groups` must be an integer. Received: groups=2.0"),
    (lambda: UNTYPED.Orthogonal(column_axis=(0,)), (4, 6), TypeError, "`column_axis` must be an integer. Received: column_axis=(0,)"),
    (lambda: UNTYPED.Orthogonal(batch_axis="0"), (4, 6), TypeError, "`batch_axis` must be an integer or a sequence of integers. Received: batch_axis='0'."),
    (lambda: UNTYPED.Identity(batch_axis=0), (4, 6), ValueError, "Identity matrix initializer can only be used for 2D matrices besides its batch axes. Received: shape=(4, 6) of rank 2."),
    (lambda: UNTYPED.Identity(), (2, 4, 6), ValueError, "Identity matrix initializer can only be used for 2D matrices. Received: shape=(2, 4, 6) of rank 3."),
    (lambda: UNTYPED.Identity(batch_axis=None), (2, 4, 6), TypeError, "`batch_axis` must be an integer or a sequence of integers. Received: batch_axis=None."),
    (lambda: UNTYPED.DeltaOrthogonal(), (4, 6), ValueError, "DeltaOrthogonal initializer needs a shape of rank 3, 4 or 5, (…kernel…, in, out). Received: shape=(4, 6) of rank 2."),
    (lambda: UNTYPED.DeltaOrthogonal(), (1,) * 6, ValueError, "DeltaOrthogonal initializer needs a shape of rank 3, 4 or 5"),
    (lambda: UNTYPED.DeltaOrthogonal(), (3, 7, 6), ValueError, "DeltaOrthogonal initializer needs at least as many outputs as inputs. Received: shape=(3, 7, 6) with 7 inputs and 6 outputs."),
    (lambda: UNTYPED.DeltaOrthogonal(column_axis=2), (3, 4, 6), ValueError, "`column_axis` must be different axes of the shape (4, 6). Received: column_axis=[2]."),
    (lambda: UNTYPED.DeltaOrthogonal(None), (3, 4, 6), TypeError, "`gain` must be a real number or a scalar tensor. Received: gain=None"),
    (lambda: UNTYPED.Unitary(), (4,), ValueError, "The tensor to initialize must be at least two-dimensional. Received: shape=(4,) of rank 1."),
    (lambda: UNTYPED.Unitary(math.nan), (4, 4), ValueError, "`gain` must be finite. Received: gain=nan."),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BAD)))
def test_errors(number: int) -> None:
    """Each says the rule, what came and what to do."""
    make, shape, error, message = BAD[number]
    with pytest.raises(error) as caught:
        make()(shape)
    assert message in str(caught.value)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "bool"])
def test_unitary_matrices_are_complex(dtype: str) -> None:
    """Other dtypes are refused by name; without a dtype it is the complex one of `floatx`."""
    with pytest.raises(ValueError, match=rf"^Expected complex type, got {dtype}\. Use complex64 or complex128\."):
        fanin.Unitary(seed=1)((2, 2), dtype)
    assert fanin.Unitary(seed=1)((2, 2)).dtype == "complex64"


# Recorded to rounding, since no two QR routines agree to the last bit.
RECORDED: dict[str, tuple[fanin.Initializer, tuple[int, ...], str, list[Any]]] = {
    "Orthogonal, batches": (
        fanin.Orthogonal(0.7, seed=42, batch_axis=0),
        (2, 2, 2),
        "float64",
        [
            -0.6924762654326152,
            0.10235537021816832,
            0.10235537021816832,
            0.6924762654326152,
            -0.4128185034835864,
            0.5653148531407713,
            0.5653148531407713,
            0.41281850348358656,
        ],
    ),
    "Orthogonal, groups": (
        fanin.Orthogonal(0.7, seed=42, groups=2),
        (2, 4),
        "float64",
        [
            -0.6924762654326152,
            0.10235537021816832,
            -0.4128185034835864,
            0.5653148531407713,
            0.10235537021816832,
            0.6924762654326152,
            0.5653148531407713,
            0.41281850348358656,
        ],
    ),
    "Orthogonal, columns": (
        fanin.Orthogonal(0.7, seed=42, column_axis=0),
        (2, 3),
        "float64",
        [
            -0.6418381976499381,
            0.09487052426205377,
            -0.2627609401408855,
            0.27936230913821114,
            0.2195072906637104,
            -0.603136178303411,
        ],
    ),
    "DeltaOrthogonal": (
        fanin.DeltaOrthogonal(0.7, seed=42),
        (2, 2, 2),
        "float64",
        [
            -0.6924762654326152,
            0.10235537021816832,
            0.10235537021816832,
            0.6924762654326152,
            0.0,
            0.0,
            0.0,
            0.0,
        ],
    ),
    "Unitary": (
        fanin.Unitary(0.7, seed=42),
        (2, 2),
        "complex128",
        [
            (-0.3635656186095014 - 0.06070482055869157j),
            (0.2777035042794106 + 0.526322837654764j),
            (-0.14883944909872476 - 0.5761786043563364j),
            (0.22804142176922493 - 0.2895896134730023j),
        ],
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_values(name: str) -> None:
    """The first values of a seed, on every tier: changed ones would be a breaking change."""
    initializer, shape, dtype, recorded = RECORDED[name]
    for tier in TIERS:
        with fanin.config.using(tier=tier):
            made = initializer(shape, dtype)
        assert np.abs(made.ravel() - np.array(recorded)).max() < 1e-12, tier
