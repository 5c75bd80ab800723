"""Dirac, Bilinear and STFT against PyTorch's functions and convolutions, Keras 3 and SciPy."""

import itertools
from typing import Any

import numpy as np
import pytest

import fanin
from fanin import distributions
from fanin.distributions.windows import WINDOWS

NAMES = sorted(WINDOWS)


def in_torchs_order(kernel: np.ndarray) -> np.ndarray:
    """A kernel (…window…, in, out) as (out, in, …window…)."""
    return kernel.transpose(-1, -2, *range(kernel.ndim - 2))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "complex64"])
@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("window", [(3,), (4,), (1,), (3, 5), (2, 4), (3, 2, 4)], ids=str)
def test_dirac_is_pytorchs(window: tuple[int, ...], groups: int, dtype: str) -> None:
    """Byte for byte what `torch.nn.init.dirac_` writes, for windows of 1 to 3 axes, fewer inputs or fewer outputs."""
    torch = pytest.importorskip("torch")
    for inputs, outputs in ((4, 6), (6, 6), (7, 6), (1, 12)):
        theirs = torch.nn.init.dirac_(torch.empty(outputs, inputs, *window, dtype=getattr(torch, dtype)), groups)
        ours = in_torchs_order(fanin.Dirac(groups=groups)((*window, inputs, outputs), dtype))
        assert ours.tobytes() == theirs.numpy().tobytes()


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_convolution_with_dirac_returns_its_input(rank: int, groups: int) -> None:
    """Every channel of every group, for odd windows and padding by half of them; more outputs are zeros."""
    torch = pytest.importorskip("torch")
    convolution = (None, torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)[rank]
    assert convolution is not None
    image = torch.randn(2, 8, *(5, 6, 7)[:rank])
    for per_group in (8 // groups, 8 // groups + 3):
        kernel = fanin.Dirac(groups=groups)((*(3, 5, 1)[:rank], 8 // groups, per_group * groups))
        weight = torch.from_numpy(in_torchs_order(kernel).copy())
        returned = convolution(image, weight, padding=(1, 2, 0)[:rank], groups=groups)
        returned = returned.reshape(2, groups, per_group, *image.shape[2:])
        assert torch.equal(returned[:, :, : 8 // groups].reshape(image.shape), image)
        assert not returned[:, :, 8 // groups :].any()


def test_dirac_in_keras() -> None:
    """A Keras convolution of three groups, whose kernel is in Keras's order, returns its input."""
    keras = pytest.importorskip("keras")
    kernel = fanin.Dirac(groups=3)((3, 3, 2, 6))
    image = np.random.default_rng(1).normal(size=(1, 5, 5, 6)).astype(np.float32)
    layer = keras.layers.Conv2D(6, 3, padding="same", groups=3, use_bias=False)
    layer.build(image.shape)
    layer.set_weights([kernel])
    assert np.array_equal(np.asarray(keras.ops.convert_to_numpy(layer(image))), image)


def test_a_matrix_has_no_window() -> None:
    """Dirac without a window is the identity, and its gain is a factor, also in integers and bool."""
    assert np.array_equal(fanin.Dirac(0.7)((4, 4), "float64"), 0.7 * np.eye(4))
    assert fanin.Dirac(-3)((1, 2, 2), "int8").tolist() == [[[-3, 0], [0, -3]]]
    assert fanin.Dirac()((2, 2), "bool").tolist() == [[True, False], [False, True]]
    assert not np.signbit(fanin.Dirac(-1.0)((3, 2, 2))[0]).any()


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_bilinear_enlarges_as_pytorch_does(rank: int, factor: int, groups: int) -> None:
    """A transposed convolution is `interpolate(align_corners=False)`, where the border is what lies beside it."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    transposed = (None, functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[rank]
    assert transposed is not None
    image = torch.randn(2, 6, *(5, 4, 3)[:rank], dtype=torch.float64)
    mode = ("linear", "bilinear", "trilinear")[rank - 1]
    theirs = functional.interpolate(image, scale_factor=factor, mode=mode, align_corners=False)
    length = 2 * factor - factor % 2
    kernel = fanin.Bilinear(groups=groups)((*(length,) * rank, 6 // groups, 6), "float64")
    weight = torch.from_numpy(in_torchs_order(kernel).copy())  # (in, out / groups, …)
    padded = functional.pad(image, (1, 1) * rank, mode="replicate")
    ours = transposed(padded, weight, stride=factor, padding=(factor // 2,) * rank, groups=groups)
    inner = (slice(None), slice(None), *(slice(factor, factor + length) for length in theirs.shape[2:]))
    assert torch.allclose(ours[inner], theirs, rtol=0, atol=1e-14)


def test_bilinear_of_whole_numbers() -> None:
    """An integer dtype takes a gain with which all values are whole."""
    assert fanin.Bilinear(16)((4, 4, 1, 1), "int16")[..., 0, 0].tolist() == [
        [1, 3, 3, 1], [3, 9, 9, 3], [3, 9, 9, 3], [1, 3, 3, 1],
    ]  # fmt: skip
    assert fanin.Bilinear(6)((5, 1, 1), "uint8").ravel().tolist() == [2, 4, 6, 4, 2]
    for gain, dtype in ((8, "int16"), (1.5, "int32"), (16 * 30, "int8")):
        with pytest.raises(ValueError, match=r"^The values must be whole numbers that the dtype has\."):
            fanin.Bilinear(gain)((4, 4, 1, 1), dtype)
    with pytest.raises(ValueError, match="whose values are multiples of 1/6"):
        fanin.Bilinear()((5, 1, 1), "bool")


def test_bilinear_values_are_the_nearest_ones() -> None:
    """Each product of tents is rounded once: thirds and fifths come out as Python divides them."""
    values = fanin.Bilinear()((5, 9, 1, 1), "float64")[..., 0, 0]
    tents = [[min(i + 1, length - i) for i in range(length)] for length in (5, 9)]
    assert values.tolist() == [[a * b / 15 for b in tents[1]] for a in tents[0]]


# ---------------------------------------------------------------- STFT


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_windows_are_scipys(name: str, periodic: bool) -> None:
    """Every name that is computed here, for short windows and long ones of either parity, to rounding."""
    signal: Any = pytest.importorskip("scipy.signal")
    for length in (1, 2, 3, 4, 5, 8, 9, 10, 11, 257, 400):
        kernel = fanin.STFT(window=name, scaling=None, periodic=periodic)((length, 1, 1), "float64")
        assert np.abs(kernel.ravel() - signal.get_window(name, length, fftbins=periodic)).max() < 2e-15


def test_all_of_scipys_windows_without_parameters_are_here() -> None:
    """But for Taylor's, which SciPy is asked for."""
    signal: Any = pytest.importorskip("scipy.signal")
    table = pytest.importorskip("scipy.signal.windows._windows")
    taken = []
    for names in table._WIN_FUNC_DATA:
        for name in names:
            try:
                signal.get_window(name, 8)
            except ValueError:
                continue
            taken.append(name)
    assert set(taken) - set(NAMES) == {"taylor", "taylorwin"}
    kernel = fanin.STFT(window="taylor", scaling=None)((64, 1, 1), "float64")
    assert np.array_equal(kernel.ravel(), signal.get_window("taylor", 64, fftbins=False))


@pytest.mark.parametrize("name", [*NAMES, None, "an array"])
def test_stft_is_keras(name: str | None) -> None:
    """Every window, side, scaling and period, to rounding in float64 (Keras multiplies by pi and takes cosines)."""
    keras = pytest.importorskip("keras")
    for length, frequencies in ((64, 33), (30, 20)):
        window = np.hanning(length + 2)[1:-1] if name == "an array" else name
        for side, scaling, periodic in itertools.product(
            ("real", "imag"), ("density", "spectrum", None), (False, True)
        ):
            config = {"side": side, "window": window, "scaling": scaling, "periodic": periodic}
            theirs = keras.initializers.STFT(**config)((length, 1, frequencies), "float64")
            ours = fanin.STFT(**config)((length, 1, frequencies), "float64")
            assert np.abs(ours - keras.ops.convert_to_numpy(theirs)).max() < 3e-13


@pytest.mark.parametrize("length", [16, 30, 256])
def test_stft_is_a_fourier_transform(length: int) -> None:
    """A frame times the two kernels is SciPy's real FFT of the windowed frame."""
    fft: Any = pytest.importorskip("scipy.fft")
    signal: Any = pytest.importorskip("scipy.signal")
    frame = np.random.default_rng(length).normal(size=length)
    shape = (length, 1, length // 2 + 1)
    sides = [fanin.STFT(side, "hamming", None, True)(shape, "float64")[:, 0] for side in ("real", "imag")]
    transformed = frame @ sides[0] + 1j * (frame @ sides[1])
    expected = fft.rfft(frame * signal.get_window("hamming", length))
    assert np.allclose(transformed, expected, rtol=0, atol=1e-13 * length)


def test_stft_of_long_frames() -> None:
    """Angles of any number of turns are exact: quarter turns give 0 and 1 a million samples on."""
    kernel = fanin.STFT(window=None)((2**40, 1, 3), "float64", region=(slice(2**40 - 4, None), 0))
    assert kernel.tolist() == [[1, 1, 1], [1, 0, -1], [1, -1, 1], [1, 0, -1]]


def test_scaled_windows() -> None:
    """Squares sum to 1 by density, absolute values by spectrum; an array's values are what they are."""
    window = [0.5, -2.0, 0.25, 1.0]
    for initializer, power in (
        (fanin.STFT(window=window, scaling="density"), 2),
        (fanin.STFT(window=window, scaling="spectrum"), 1),
    ):
        kernel = initializer((4, 2, 1), "float64")
        assert np.array_equal(kernel[:, 0], kernel[:, 1])
        assert np.isclose((np.abs(kernel[:, 0]) ** power).sum(), 1, rtol=1e-15)
    assert fanin.STFT(window=window, scaling=None)((4, 1, 1), "float64").ravel().tolist() == window


def test_windows_as_arrays_and_tensors() -> None:
    """An array of any dtype, a list and a tensor are the same window, and the configuration has it as a list."""
    initializers = [fanin.STFT(window=each) for each in ([1, 2, 1], np.array([1, 2, 1], np.float16), (1.0, 2, 1))]
    torch = pytest.importorskip("torch")
    initializers.append(fanin.STFT(window=torch.tensor([1.0, 2.0, 1.0])))
    assert len({*initializers}) == 1
    assert initializers[1].get_config()["window"] == [1.0, 2.0, 1.0]
    assert fanin.STFT.from_config(initializers[0].get_config()) == initializers[0]


def test_configurations_of_keras_are_read() -> None:
    """What Keras 3 writes for its initializer makes ours, also under the class's old name."""
    keras = pytest.importorskip("keras")
    written = keras.initializers.serialize(keras.initializers.STFT("imag", "hamming", None, True))
    assert fanin.deserialize(written) == fanin.STFT("imag", "hamming", None, True)
    assert fanin.deserialize({**written, "class_name": "STFTInitializer"}) == fanin.STFT("imag", "hamming", None, True)


def test_windows_that_are_zero() -> None:
    """They cannot be scaled: symmetric windows of two samples, also one that only rounding keeps from zero."""
    for window in ("hann", "blackman", "bartlett", [0.0, 0.0]):
        with pytest.raises(ValueError, match=r"^`window` must not be zero everywhere if it is scaled\."):
            fanin.STFT(window=window)((2, 1, 3))
        assert np.abs(fanin.STFT(window=window, scaling=None)((2, 1, 3))).max() < 1e-16
    assert fanin.STFT(window="hann")((0, 1, 3)).shape == (0, 1, 3)


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own windows need no SciPy; a name that is none of them says that SciPy has more."""
    import sys

    monkeypatch.setitem(sys.modules, "scipy.signal", None)
    assert fanin.STFT(window="hann")((4, 1, 3)).any()
    with pytest.raises(ValueError, match=r"window='taylor' \(SciPy, which has more names, is not installed: pip"):
        fanin.STFT(window="taylor")


def test_a_region_needs_no_whole_kernel() -> None:
    """A kernel of 2**60 elements has regions."""
    shape = (2**20, 2**20, 2**20)
    for initializer in (fanin.Dirac(), fanin.Bilinear(groups=2), fanin.STFT()):
        drawn = initializer.distribution(shape)
        assert isinstance(drawn, distributions.Formula)
        assert initializer(shape, region=(5, slice(0, 3), slice(-7, None))).shape == (3, 7)
