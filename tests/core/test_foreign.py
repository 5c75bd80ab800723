"""`out=`: memory of NumPy, of other libraries and of whatever exports its own, filled in place or refused."""

from __future__ import annotations

import array
import ctypes
import mmap
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fanin
from catalogue import CATALOGUE, FLOATS, fresh, shape_for
from regions import owner

NORMAL, SHAPE = fanin.RandomNormal(seed=1), (4, 6)
WHOLE = NORMAL(SHAPE)


class Interface:
    """An object whose only way to its memory is NumPy's protocol."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    @property
    def __array_interface__(self) -> Any:
        return self.array.__array_interface__


class Struct:
    """The same by NumPy's protocol for C."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    @property
    def __array_struct__(self) -> Any:
        return self.array.__array_struct__  # pyright: ignore


class Exporter:
    """An object with DLPack alone."""

    device: tuple[int, int] | None = None  # if it says another than the CPU

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device or self.array.__dlpack_device__()


class Pinned(Exporter):
    """Memory of the CPU that a GPU sees."""

    device = (3, 0)


class OnGPU(Exporter):
    """Memory of a GPU's, which must not even be asked for."""

    device = (2, 0)

    def __dlpack__(self, **_: Any) -> Any:
        raise AssertionError("its memory was asked for")


class Old(Exporter):
    """DLPack of before version 1, which cannot say whether memory may be written to."""

    def __dlpack__(self, stream: Any = None) -> Any:  # pyright: ignore
        return self.array.__dlpack__()


class Copying(Exporter):
    """An exporter that can only make a copy, and refuses where none is allowed."""

    def __dlpack__(self, *, copy: bool | None = None, **keywords: Any) -> Any:
        if copy is False:
            raise BufferError("it cannot be exported without a copy")
        return self.array.copy().__dlpack__(**keywords)


class Converting:
    """An object with `__array__` alone, which may make a copy."""

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        return np.zeros(SHAPE, np.float32)


class Subclass(np.ndarray):
    """An array whose indexing and views are its own affair."""

    def __getitem__(self, _: Any) -> Any:
        raise AssertionError("it was indexed")

    def view(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("it was viewed")


def torch_of(array: np.ndarray) -> Any:
    """A tensor of PyTorch over an array's memory."""
    return pytest.importorskip("torch").from_numpy(array)


MAKERS: dict[str, Callable[[np.ndarray], Any]] = {
    "an array": lambda array: array,
    "a subclass": lambda array: array.view(Subclass),
    "a matrix": lambda array: array.view(np.matrix),
    "a record array": lambda array: array.view(np.recarray),
    "a masked array": lambda array: np.ma.MaskedArray(array, mask=True, hard_mask=True),
    "memoryview": lambda array: array.data,
    "__array_interface__": Interface,
    "__array_struct__": Struct,
    "DLPack": Exporter,
    "DLPack, pinned": Pinned,
    "PyTorch": torch_of,
}
PLACES: dict[str, Callable[[Any], np.ndarray]] = {  # of a dtype, an array of (4, 6) somewhere in memory
    "contiguous": lambda dtype: np.zeros((4, 6), dtype),
    "transposed": lambda dtype: np.zeros((6, 4), dtype).T,
    "every other": lambda dtype: np.zeros((8, 18), dtype)[1::2, ::3],
    "backwards": lambda dtype: np.zeros((4, 6), dtype)[:, ::-1],
    "of a record": lambda dtype: np.zeros((4, 6), [("pad", "u1", 8), ("field", dtype)])["field"],
}
OF_PYTORCH = ("contiguous", "transposed", "every other")  # which has no other strides


# Filled


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int64"])
@pytest.mark.parametrize(
    ("maker", "place"),
    [(maker, place) for maker in MAKERS for place in PLACES if maker != "PyTorch" or place in OF_PYTORCH],
)
def test_memory_is_filled_in_place(maker: str, place: str, dtype: str) -> None:
    """Whatever has the memory, of any strides: it is returned, has the bytes, and nothing beside them is touched."""
    initializer = fanin.RandomUniform(-9, 9, seed=1)
    for region in (None, np.s_[2:, 1:5], (1, ...), (..., 5)):
        array = PLACES[place](dtype)
        target = array if region is None else array[region]
        if maker == "a matrix" and target.ndim != 2:
            continue
        out = MAKERS[maker](target)
        assert initializer(SHAPE, dtype, region=region, out=out) is out
        expected = initializer(SHAPE, dtype)[... if region is None else region]
        assert target.tobytes() == expected.tobytes()
        target[...] = 0
        assert not any(owner(array).tobytes())


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_class(name: str) -> None:
    """Every class and dtype, through each protocol that has the dtype."""
    shape = shape_for(name, 3, 5, 7)
    for dtype in CATALOGUE[name][1]:
        expected = fresh(name)(shape, dtype)
        native = expected.dtype.name not in dir(ml_dtypes)
        for maker in MAKERS.values() if native and dtype != "bool" else [MAKERS["an array"], MAKERS["a subclass"]]:
            array = np.ones_like(expected)
            out = maker(array)
            assert fresh(name)(shape, dtype, out=out) is out
            assert array.tobytes() == expected.tobytes()


def test_flat_buffers(tmp_path: Path) -> None:
    """Buffers of Python, of C and of files, each of the dtype that its format says."""
    path = tmp_path / "weights"
    path.write_bytes(bytes(24))
    normal, ones = NORMAL((6,)), np.ones(24, np.uint8)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 24) as mapped:
        cases: list[tuple[Any, Any, np.ndarray]] = [
            (array.array("f", [0] * 6), NORMAL, normal),
            (array.array("d", [0] * 6), NORMAL, NORMAL((6,), "float64")),
            (
                array.array("q", [0] * 6),
                fanin.RandomUniform(-9, 9, seed=1),
                fanin.RandomUniform(-9, 9, 1)((6,), "int64"),
            ),
            ((ctypes.c_float * 6)(), NORMAL, normal),
            ((ctypes.c_float * 3 * 2)(), NORMAL, NORMAL((2, 3))),
            (memoryview(bytearray(24)).cast("f", (2, 3)), NORMAL, NORMAL((2, 3))),
            (np.zeros((3, 4), np.float16).data, NORMAL, NORMAL((3, 4), "float16")),
            (memoryview(bytearray(4)).cast("f", ()), NORMAL, NORMAL(())),
            (bytearray(24), fanin.Ones(), ones),
            (memoryview(bytearray(24)).cast("?"), fanin.Ones(), ones.astype(bool)),
            (mapped, fanin.Ones(), ones),
        ]
        for out, initializer, expected in cases:
            assert initializer(expected.shape, expected.dtype, out=out) is out
            assert bytes(memoryview(out).cast("B") if not isinstance(out, memoryview) else out) == expected.tobytes()
    assert path.read_bytes() == ones.tobytes()
    in_file = np.memmap(path, np.float32, "r+", shape=(2, 3))
    assert NORMAL((2, 3), out=in_file) is in_file
    in_file.flush()
    assert path.read_bytes() == NORMAL((2, 3)).tobytes()


@pytest.mark.parametrize("place", ["contiguous", "transposed", "a slice"])
@pytest.mark.parametrize("dtype", [*FLOATS, "float8_e4m3fn", "float8_e5m2fnuz", "float8_e8m0fnu", "uint32", "bool"])
def test_tensors_of_pytorch(dtype: str, place: str) -> None:
    """Tensors and parameters of every dtype, whole and a region; each write is one more in their count."""
    torch = pytest.importorskip("torch")
    kind = getattr(torch, dtype)
    room = torch.zeros((6, 4) if place == "transposed" else (8, 12), dtype=kind)
    tensor = {"transposed": room.T, "contiguous": torch.zeros(SHAPE, dtype=kind)}.get(place, room[::2, 1::2])
    initializer = NORMAL if dtype in FLOATS else fanin.Ones()
    tensor = torch.nn.Parameter(tensor) if dtype in FLOATS else tensor
    expected = np.zeros(SHAPE, initializer(SHAPE, dtype).dtype)
    for count, region in enumerate((np.s_[1:3, ::1], (3, ...), ...), 1):
        out = tensor[region] if region is not ... else tensor
        assert initializer(SHAPE, dtype, region=region, out=out) is out
        expected[region] = initializer(SHAPE, dtype)[region]
        assert tensor.detach().contiguous().view(torch.uint8).numpy().tobytes() == expected.tobytes()
        assert tensor._version == count
    assert tensor.is_leaf


def test_empty_memory() -> None:
    """Nothing to fill is filled, whoever has it."""
    for maker in MAKERS.values():
        out = maker(np.zeros((3, 0), np.float32))
        assert NORMAL((3, 0), out=out) is out


def test_a_call_with_foreign_memory_counts() -> None:
    """It is a call as any other, and the first chooses an unseeded initializer's seed."""
    glorot, reference = fanin.GlorotUniform(seed=1), fanin.GlorotUniform(seed=1)
    for maker in MAKERS.values():
        array = np.zeros(SHAPE, np.float32)
        glorot(SHAPE, out=maker(array))
        assert array.tobytes() == reference(SHAPE).tobytes()
    unseeded, array = fanin.HeNormal(), np.zeros(SHAPE, np.float32)
    unseeded(SHAPE, region=np.s_[:2], out=Interface(array[:2]))
    assert unseeded(SHAPE)[:2].tobytes() == array[:2].tobytes()


def test_no_library_is_loaded_for_it() -> None:
    """Filling and refusing load neither PyTorch nor JAX nor TensorFlow."""
    script = (
        "import sys, array, fanin\n"
        "fanin.HeNormal(seed=1)((6,), out=array.array('f', [0] * 6))\n"
        "try:\n    fanin.HeNormal(seed=1)((6,), out=[0.0] * 6)\n"
        "except TypeError:\n    print(*{name.partition('.')[0] for name in sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "fanin" in run.stdout.split()
    assert not {"torch", "jax", "tensorflow"} & set(run.stdout.split())


# Refused


def read_only(maker: Callable[[np.ndarray], Any] = lambda array: array, dtype: Any = np.float32) -> Any:
    """Memory that must not be written to."""
    array = np.zeros(SHAPE, dtype)
    array.flags.writeable = False
    return maker(array)


def of_jax(make: Callable[[Any], Any]) -> Callable[[], Any]:
    """Something made with `jax.numpy`'s zeros."""
    return lambda: make(pytest.importorskip("jax.numpy").zeros(SHAPE))


def of_tensorflow(make: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    """Something made with TensorFlow and its zeros."""

    def made() -> Any:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        tensorflow = pytest.importorskip("tensorflow")
        return make(tensorflow, tensorflow.zeros(SHAPE))

    return made


def released() -> Any:
    """A view of memory that has been given up."""
    view = memoryview(bytearray(96))
    view.release()
    return view


def zeros(shape: Any = SHAPE, dtype: Any = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


EXPORTS = (
    "`out` must be a writable array in CPU memory: a NumPy array, a PyTorch tensor, or anything that exports its "
    "memory (by DLPack, `__array_interface__` or the buffer protocol). Received: out of type "
)
JAX = "JAX arrays are immutable. Use fanin.jax, which returns new ones."
TENSORFLOW = "TensorFlow tensors are immutable. Assign the result to a variable: `variable.assign(result)`."
WRITABLE = "`out` must be writable. Received: a read-only array. Pass a copy of it."
OF_SHAPE = "`out` must have the shape of the result, (4, 6). Received: out of shape "
OF_DTYPE = "`out` must have the dtype of the result, float32. Received: out of dtype "
OVERLAPS = "`out` must have separate memory for each element. Received: an array of shape (4, 6) and "
REFUSED: dict[str, tuple[Callable[[], Any], Any, str]] = {
    "jax.Array": (
        of_jax(lambda made: made),
        TypeError,
        f"`out` must be writable. Received: out of type ArrayImpl. {JAX}",
    ),
    "jax, a reference": (of_jax(lambda made: pytest.importorskip("jax").new_ref(made)), TypeError, JAX),
    "jax, as an array": (of_jax(np.asarray), ValueError, WRITABLE),
    "jax, by DLPack": (of_jax(np.from_dlpack), ValueError, WRITABLE),
    "tf.Tensor": (of_tensorflow(lambda _, made: made), TypeError, f"Received: out of type EagerTensor. {TENSORFLOW}"),
    "tf.Variable": (
        of_tensorflow(lambda tf, made: tf.Variable(made)),
        TypeError,
        f"of type ResourceVariable. {TENSORFLOW}",
    ),
    "a list": (lambda: [[0.0] * 6] * 4, TypeError, f"{EXPORTS}list ("),
    "a number": (lambda: 3.0, TypeError, f"{EXPORTS}float ("),
    "a scalar": (lambda: np.float32(3), TypeError, f"{EXPORTS}float32 ("),
    "a string": (lambda: "x" * 24, TypeError, f"{EXPORTS}str ("),
    "a class": (lambda: np.ndarray, TypeError, f"{EXPORTS}type ("),
    "__array__ alone": (Converting, TypeError, f"{EXPORTS}Converting ("),
    "a GPU's": (lambda: OnGPU(zeros()), TypeError, f"{EXPORTS}OnGPU (it is on a device of DLPack type 2)."),
    "released": (released, TypeError, f"{EXPORTS}memoryview ("),
    "a copy": (lambda: Copying(zeros()), TypeError, f"{EXPORTS}Copying ("),
    "bytes": (lambda: bytes(96), ValueError, f"{OF_SHAPE}(96,)."),
    "read-only array": (read_only, ValueError, WRITABLE),
    "read-only memoryview": (lambda: memoryview(bytes(96)).cast("f", SHAPE), ValueError, WRITABLE),
    "read-only interface": (lambda: read_only(Interface), ValueError, WRITABLE),
    "read-only struct": (lambda: read_only(Struct), ValueError, WRITABLE),
    "read-only DLPack": (lambda: read_only(Exporter), ValueError, WRITABLE),
    "old DLPack": (lambda: Old(zeros()), (TypeError, ValueError), "`out` must be "),
    "shape": (lambda: Interface(zeros((6, 4))), ValueError, f"{OF_SHAPE}(6, 4)."),
    "shape of PyTorch": (lambda: torch_of(zeros((6, 4))), ValueError, f"{OF_SHAPE}(6, 4)."),
    "shape of a buffer": (lambda: array.array("f", [0] * 24), ValueError, f"{OF_SHAPE}(24,)."),
    "dtype": (lambda: zeros(dtype="f8").data, ValueError, f"{OF_DTYPE}float64."),
    "dtype of PyTorch": (lambda: torch_of(zeros()).bfloat16(), ValueError, f"{OF_DTYPE}bfloat16."),
    "dtype of bytes": (lambda: memoryview(bytearray(24)).cast("B", SHAPE), ValueError, f"{OF_DTYPE}uint8."),
    "order of bytes": (lambda: Interface(zeros(dtype=">f4")), ValueError, f"{OF_DTYPE}>f4."),
    "order of bytes, DLPack": (lambda: Exporter(zeros(dtype=">f4")), TypeError, f"{EXPORTS}Exporter ("),
    "no dtype for DLPack": (lambda: Exporter(zeros(dtype=ml_dtypes.bfloat16)), TypeError, f"{EXPORTS}Exporter ("),
    "overlapping": (
        lambda: Interface(np.lib.stride_tricks.as_strided(zeros(30), SHAPE, (4, 4))),
        ValueError,
        f"{OVERLAPS}strides (4, 4), whose elements overlap, or might. Pass one whose strides nest.",
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    """The rule, what came and why, in one line; nothing is written, no seed is drawn, and the call does not count."""
    make, error, message = REFUSED[case]
    out = make()
    fanin.utils.set_random_seed(4)
    unseeded, seeded = fanin.GlorotUniform(), fanin.GlorotUniform(seed=1)
    for initializer in (unseeded, seeded):
        with pytest.raises(error) as caught:
            initializer(SHAPE, out=out)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    if isinstance(getattr(out, "array", out), np.ndarray):
        assert not any(getattr(out, "array", out).tobytes())
    later = [fanin.GlorotUniform()(SHAPE), unseeded(SHAPE)]  # so the first seed is still to come
    fanin.utils.set_random_seed(4)
    assert [each.tobytes() for each in later] == [fanin.GlorotUniform()(SHAPE).tobytes() for _ in range(2)]
    assert seeded(SHAPE).tobytes() == fanin.GlorotUniform(seed=1)(SHAPE).tobytes()


def test_refused_within_a_program_of_jax() -> None:
    """A tracer is refused as an array is."""
    jax = pytest.importorskip("jax")
    with pytest.raises(TypeError, match="JAX arrays are immutable"):
        jax.jit(lambda given: NORMAL(SHAPE, out=given))(np.zeros(SHAPE, np.float32))


def test_none_is_no_memory() -> None:
    """`out=None` is as if it were not given."""
    assert NORMAL(SHAPE, out=None).tobytes() == WHOLE.tobytes()
