"""fanin.torch: PyTorch's tensors filled in place, with the values that tf_keras's own layers have, bit for bit."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch
from torch import nn

import fanin
import fanin.torch as ours
from catalogue import CATALOGUE, FLOATS, fitted, fresh
from fanin.torch import fill_
from strategies import examples
from torch_kit import bits, moved, without_warnings

FLOAT8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
SENTINEL = 0xA5


def keras_shape(shape: tuple[int, ...], layout: Any = "torch") -> tuple[int, ...]:
    """The shape of the Keras kernel for a tensor of this shape."""
    in_order = tuple(range(len(shape)))
    axes = (*in_order[2:], *in_order[1::-1]) if layout == "torch" else in_order if isinstance(layout, str) else layout
    return tuple([shape[axis] for axis in axes])


def assert_is_kernel(tensor: Any, initializer: Any, layout: Any = "torch") -> None:
    """The tensor has the bytes of the initializer's first call, moved."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    kernel = type(initializer).from_config(initializer.get_config())(keras_shape(tuple(tensor.shape), layout), dtype)
    assert bits(tensor) == moved(kernel, layout).tobytes()


# In place


@pytest.mark.parametrize("name", CATALOGUE)
@given(data=st.data())
@examples(40)
def test_any_tensor_in_any_layout(name: str, data: st.DataObject) -> None:
    """Any shape, strides, dtype and layout: the kernel's bytes in the tensor's memory, none beside it, one version."""
    _, dtypes, ranks = CATALOGUE[name]
    dtype = data.draw(
        st.sampled_from([each for each in dtypes if each != "int4"])
    )  # of which PyTorch has the name only
    rank = data.draw(st.sampled_from(ranks))
    shape = tuple(data.draw(st.lists(st.integers(0, (1, 300, 20, 9, 6, 4)[rank]), min_size=rank, max_size=rank)))
    order, gaps = data.draw(st.permutations(range(rank))), [data.draw(st.integers(1, 3)) for _ in shape]
    layout: Any = data.draw(st.sampled_from(["torch", "keras", tuple(data.draw(st.permutations(range(rank))))]))
    assume(fitted(name, keras_shape(shape, layout)) == keras_shape(shape, layout))
    needs_grad = dtype in FLOATS and data.draw(st.booleans())

    room = torch.zeros([shape[axis] * gaps[axis] for axis in order], dtype=getattr(torch, dtype))
    room.reshape(-1).view(torch.uint8).fill_(SENTINEL)
    apart = (*(slice(None, None, gap) for gap in gaps), ...)
    tensor = room.permute(np.argsort(order).tolist())[apart]
    tensor = nn.Parameter(tensor) if needs_grad else tensor
    pointer, version, strides = tensor.data_ptr(), tensor._version, tensor.stride()
    assert fill_(tensor, fresh(name), layout=layout) is tensor
    assert (tensor.data_ptr(), tensor._version, tensor.stride()) == (pointer, version + 1, strides)
    assert (tensor.requires_grad, tensor.grad_fn, tensor.is_leaf) == (needs_grad, None, True)

    kernel = fresh(name)(keras_shape(shape, layout), dtype)
    expected = np.full(room.numel() * kernel.itemsize, SENTINEL, np.uint8).view(kernel.dtype).reshape(room.shape)
    expected.transpose(np.argsort(order).tolist())[apart] = moved(kernel, layout)
    assert bits(room) == expected.tobytes()


PLACES: dict[str, Callable[[Any], Any]] = {
    "contiguous": lambda dtype: torch.zeros(6, 5, dtype=dtype),
    "transposed": lambda dtype: torch.zeros(5, 6, dtype=dtype).T,
    "every other": lambda dtype: torch.zeros(8, 15, dtype=dtype)[1::2, ::3],
    "of a flat buffer": lambda dtype: torch.zeros(100, dtype=dtype)[7:37].view(6, 5),
    "channels last": lambda dtype: torch.zeros(6, 4, 3, 2, dtype=dtype).to(memory_format=torch.channels_last),
    "channels last, 3d": lambda dtype: torch.zeros(6, 4, 3, 2, 5, dtype=dtype).to(memory_format=torch.channels_last_3d),
    "0-d": lambda dtype: torch.zeros((), dtype=dtype),
    "1-d": lambda dtype: torch.zeros(37, dtype=dtype),
    "empty": lambda dtype: torch.zeros(3, 0, 2, dtype=dtype),
    "expanded, of one": lambda dtype: torch.zeros(1, 5, dtype=dtype).expand(1, 5),
}


@pytest.mark.parametrize("dtype", [*FLOATS, *FLOAT8, "float8_e8m0fnu", *WHOLE, "bool", "complex64", "complex128"])
@pytest.mark.parametrize("place", PLACES)
def test_places_and_dtypes(place: str, dtype: str) -> None:
    """Every dtype of PyTorch that NumPy or ml_dtypes has, wherever it lies: random floats, PyTorch's own constants."""
    theirs = getattr(torch, dtype)
    tensor = PLACES[place](theirs)
    pointer = tensor.data_ptr()
    if dtype in FLOATS:
        assert fill_(tensor, fanin.HeNormal(seed=7)).data_ptr() == pointer
        assert_is_kernel(tensor, fanin.HeNormal(seed=7))
    constants: list[tuple[Any, Any]] = [(fanin.Ones(), True)]
    constants += [(fanin.Zeros(), False)] if dtype != "float8_e8m0fnu" else [(fanin.Constant(0.25), 0.25)]
    constants += [(fanin.Constant(3), 3)] if dtype in (*FLOATS, *WHOLE, *FLOAT8) else []
    constants += [(fanin.Constant(-0.3), -0.3), (fanin.Constant(7e-3), 7e-3)] if dtype in (*FLOATS, *FLOAT8) else []
    for initializer, value in constants:
        assert fill_(tensor, initializer).data_ptr() == pointer
        expected = torch.full(tensor.shape, value, dtype=torch.float64).to(theirs)
        assert bits(tensor) == bits(expected), initializer


def test_buffers() -> None:
    """A buffer of a module is filled like a parameter, and stays the module's own."""
    norm = nn.BatchNorm2d(5)
    buffer: Any = norm.running_var
    assert fill_(buffer, fanin.Constant(0.3)) is norm.running_var
    assert bits(norm.running_var) == bits(torch.full((5,), 0.3))


def test_subclasses() -> None:
    """A tensor of a subclass that keeps PyTorch's memory is filled."""
    tensor = torch.zeros(4, 6).as_subclass(type("Subclass", (torch.Tensor,), {}))
    assert_is_kernel(fill_(tensor, fanin.HeNormal(1)), fanin.HeNormal(1))


def test_regions_of_a_weight() -> None:
    """Queries, keys and values in one weight get a kernel each, in the module's own memory."""
    joint = nn.Linear(6, 12)
    for number, part in enumerate(joint.weight.detach().chunk(3)):
        fill_(part, fanin.GlorotUniform(seed=number))
    for number in range(3):
        assert_is_kernel(joint.weight[4 * number : 4 * number + 4], fanin.GlorotUniform(seed=number))


@pytest.mark.parametrize("layout", [[1, 0], (-1, 0), torch.Size([1, 0]), range(1, -1, -1), np.array([1, 0])])
def test_layouts_as_permute_takes_them(layout: Any) -> None:
    """Any sequence of integers, counted from either end."""
    assert_is_kernel(fill_(torch.zeros(4, 6), fanin.HeNormal(1), layout=layout), fanin.HeNormal(1))


class Bounded(fanin.SeededInitializer):
    """An initializer of one's own that says what to draw."""

    def distribution(self, shape: Any, dtype: Any = None) -> Any:
        return fanin.RandomUniform(-0.1, 0.1).distribution(shape, dtype)


class Halved(fanin.Initializer):
    """An initializer of one's own that overrides `__call__`, as its base class's documentation shows it."""

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Any:  # pyright: ignore
        return fanin.HeNormal(seed=1)(shape, dtype) / 2


def test_initializers_of_ones_own() -> None:
    """One that says what to draw is as good as any."""
    assert_is_kernel(fill_(torch.zeros(4, 6, 3), Bounded(seed=3)), fanin.RandomUniform(-0.1, 0.1, seed=3))


def test_initializers_of_ones_own_that_override_calls() -> None:
    """One that overrides `__call__` alone is refused or obeyed: a tensor never stays as it was in silence."""
    tensor = torch.zeros(4, 6)
    try:
        fill_(tensor, Halved())
    except TypeError:
        assert tensor._version == 0
        assert not tensor.any()
    else:
        assert_is_kernel(tensor * 2, fanin.HeNormal(seed=1))


# Autograd


ENTRIES: dict[str, Callable[[Any], Any]] = {
    "fill_": lambda weight: fill_(weight, fanin.HeNormal(1)),
    "a view": lambda weight: fill_(weight[1:, ::2], fanin.HeNormal(1)),
    "detached": lambda weight: fill_(weight.detach(), fanin.HeNormal(1)),
    "transposed": lambda weight: fill_(weight.T, fanin.HeNormal(1), layout="keras"),
    "a named function": lambda weight: ours.zeros_(weight),
    "out=": lambda weight: fanin.HeNormal(1)((4, 6), out=weight),
    "out= of a region": lambda weight: fanin.HeNormal(1)((4, 6), region=2, out=weight[1]),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_stale_graph_raises(entry: str) -> None:
    """A graph that saved the tensor does not use its new values; the counter rose by one; a new graph works."""
    weight = nn.Parameter(torch.ones(4, 6))
    loss = (weight * weight).sum()
    ENTRIES[entry](weight)
    assert weight._version == 1
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation.*is at version 1; expected version 0"):
        loss.backward()
    assert weight.grad is None
    (weight * weight).sum().backward()
    assert bits(weight.grad) == bits(2 * weight)


def test_nothing_is_recorded() -> None:
    """A leaf stays a leaf, with the gradient that it had."""
    weight = nn.Parameter(torch.ones(4, 6))
    weight.sum().backward()
    assert_is_kernel(fill_(weight, fanin.HeNormal(1)), fanin.HeNormal(1))
    assert (weight.is_leaf, weight.grad_fn) == (True, None)
    assert bits(weight.grad) == bits(torch.ones(4, 6))


def test_an_intermediate_result_keeps_its_history() -> None:
    """What was computed from a leaf can be filled, too, and stays what it was computed from; so does the leaf."""
    weight = nn.Parameter(torch.ones(4, 6))
    product = weight * 2
    history = product.grad_fn
    assert_is_kernel(fill_(product, fanin.HeNormal(1)), fanin.HeNormal(1))
    assert (weight.is_leaf, weight.grad_fn, product.grad_fn) == (True, None, history)


@pytest.mark.parametrize("mode", ["no_grad", "enable_grad", "inference_mode"])
def test_modes_of_autograd(mode: str) -> None:
    """A parameter is filled in every mode, and its counter rises; so are tensors of inference mode, inside of it."""
    weight = nn.Parameter(torch.ones(4, 6))
    with getattr(torch, mode)():
        made_inside = torch.zeros(4, 6)
        for tensor in (weight, made_inside, made_inside[1:3, ::2]):
            assert_is_kernel(fill_(tensor, fanin.HeNormal(1)), fanin.HeNormal(1))
    assert weight._version == 1
    assert made_inside.is_inference() == (mode == "inference_mode")


# What cannot be filled


def fake() -> Any:
    """A tensor of a tracer."""
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        return torch.zeros(2, 3)


def elsewhere() -> Any:
    """A tensor that says it lies on a device of the name."""
    members = {"is_cpu": property(lambda self: False), "device": property(lambda self: torch.device("cuda", 1))}
    return torch.zeros(2, 3).as_subclass(type("Elsewhere", (torch.Tensor,), members))


def wrapper() -> Any:
    """A tensor of a subclass that has no memory of its own, as distributed ones have none."""
    cls = type("Wrapper", (torch.Tensor,), {"__torch_dispatch__": classmethod(lambda *_, **__: NotImplemented)})
    return torch.Tensor._make_wrapper_subclass(cls, (2, 3), dtype=torch.float32)


def freed() -> Any:
    """A tensor whose memory was given back, as sharded training does with weights that it does not need now."""
    tensor = torch.zeros(2, 3)
    tensor.untyped_storage().resize_(0)
    return tensor


DENSE = "The tensor must be dense, with a dtype that NumPy or ml_dtypes has. Received: a Tensor of layout torch."
PLACE = "The tensor must have separate memory for each element. Received: a tensor of shape (2, 3) and strides"
COPY = "Fill a CPU tensor and copy it: `tensor.copy_(fill_(torch.empty(tensor.shape), initializer))`."
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "meta": (
        lambda: torch.zeros(2, 3, device="meta"),
        "The tensor must have memory. Received: a tensor on the meta device. Materialize it first: `module.to_empty(",
    ),
    "another device": (elsewhere, f"The tensor must be in CPU memory. Received: a tensor on cuda:1. {COPY}"),
    "freed": (freed, "The tensor must have memory"),
    "expanded": (
        lambda: torch.zeros(1, 3).expand(2, 3),
        f"{PLACE} (0, 1), as `expand` returns it. Fill the original tensor.",
    ),
    "overlapping": (lambda: torch.zeros(9).as_strided((2, 3), (1, 1)), f"{PLACE} (1, 1)"),
    "sparse": (lambda: torch.zeros(2, 3).to_sparse(), f"{DENSE}sparse_coo and dtype torch.float32 ("),
    "sparse rows": (lambda: torch.zeros(2, 3).to_sparse_csr(), f"{DENSE}sparse_csr"),
    "quantized": (
        lambda: torch.quantize_per_tensor(torch.zeros(2, 3), 0.1, 0, torch.qint8),
        f"{DENSE}strided and dtype torch.qint8",
    ),
    "float4": (lambda: torch.empty((2, 3), dtype=torch.float4_e2m1fn_x2), f"{DENSE}strided and dtype torch.float4"),
    "complex32": (lambda: torch.empty((2, 3), dtype=torch.complex32), f"{DENSE}strided and dtype torch.complex32"),
    "conjugate": (lambda: torch.zeros(2, 3, dtype=torch.complex64).conj(), f"{DENSE}strided and dtype torch.complex64"),
    "negative": (lambda: torch.zeros(2, 3, dtype=torch.complex64).conj().imag, "has negative bit set"),
    "nested": (
        lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
        "The tensor must be dense, with a dtype that NumPy or ml_dtypes has.",
    ),
    "lazy parameter": (
        lambda: nn.LazyLinear(3).weight,
        "must have a shape. Received: a UninitializedParameter. Call its module on an input first.",
    ),
    "lazy buffer": (nn.parameter.UninitializedBuffer, "must have a shape. Received: a UninitializedBuffer."),
    "fake": (fake, "The tensor must have memory of its own. Received: a FakeTensor."),
    "wrapper": (wrapper, "The tensor must have memory of its own. Received: a Wrapper."),
    "inference": (
        torch.inference_mode()(lambda: torch.zeros(2, 3)),
        "Received: an inference tensor outside of `torch.inference_mode()`. Clone it.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("entry", ["fill_", "out="])
@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, entry: str) -> None:
    """No place to write to: ValueError that says why, in `out=` too; nothing is written and nothing counts."""
    make, message = REFUSED[case]
    initializer = fanin.GlorotUniform(seed=1)
    tensor = without_warnings(make)  # of PyTorch, about prototypes
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (its message is next)
        _ = fill_(tensor, initializer) if entry == "fill_" else initializer((2, 3), out=tensor)
    if entry == "out=" and message.startswith(PLACE):
        message = "`out` must have separate memory for each element."
    assert message in str(caught.value)
    if case not in ("inference", "nested"):
        assert tensor._version == 0
    if case in ("expanded", "overlapping", "conjugate", "inference", "another device"):
        assert not tensor.any()
    assert initializer((3, 2)).tobytes() == fanin.GlorotUniform(seed=1)((3, 2)).tobytes()


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("transform", ["vmap", "grad", "functionalize", "jvp"])
def test_refused_inside_a_transform(transform: str) -> None:
    """A function transform's tensors have no memory of their own: ValueError, and nothing is lost in silence."""

    def function(tensor: Any) -> Any:
        fill_(tensor, fanin.Ones())
        return tensor.sum()

    tensor = torch.zeros(4, 3)
    transformed = getattr(torch.func, transform)
    with pytest.raises(ValueError, match="The tensor must"):
        _ = transformed(function, (tensor,), (tensor,)) if transform == "jvp" else transformed(function)(tensor)
    assert not tensor.any()


LIST = "`layout` must be 'keras', 'torch' or a permutation of the axes. Received: layout="
AXES = "`layout` must have each of the tensor's 2 axes once. Received: layout="
OURS = "`initializer` must be a fanin initializer, such as fanin.HeNormal(seed=1). Received: "
TENSOR = "`tensor` must be a torch.Tensor. Received: tensor of type "
RANGE = "`value` must lie in the dtype's range"
ARGUMENTS: dict[str, tuple[Any, Any, Any, type[Exception], str]] = {
    "a list": ([[0.0] * 3] * 2, fanin.Ones(), "torch", TypeError, f"{TENSOR}list."),
    "an array of NumPy": (np.zeros((2, 3)), fanin.Ones(), "torch", TypeError, f"{TENSOR}ndarray."),
    "a module": (nn.Linear(2, 3), fanin.Ones(), "torch", TypeError, f"{TENSOR}Linear."),
    "a name": ("float32", "he_normal", "torch", TypeError, f"{OURS}'he_normal' (of type str)."),
    "a class": ("float32", fanin.HeNormal, "torch", TypeError, f"{OURS}{fanin.HeNormal!r} (of type type)."),
    "nothing": ("float32", None, "torch", TypeError, f"{OURS}None (of type NoneType)."),
    "a function": ("float32", nn.init.kaiming_normal_, "torch", TypeError, f"{OURS}<function kaiming_normal_"),
    "kears": ("float32", fanin.Ones(), "kears", ValueError, f"{LIST}'kears'. Did you mean 'keras'?"),
    "Torch": ("float32", fanin.Ones(), "Torch", ValueError, f"{LIST}'Torch'. Did you mean 'torch'?"),
    "xyz": ("float32", fanin.Ones(), "xyz", ValueError, f"{LIST}'xyz'."),
    "a number for a layout": ("float32", fanin.Ones(), 3, TypeError, f"{LIST}3."),
    "fractions for axes": ("float32", fanin.Ones(), (0.5, 1), TypeError, f"{LIST}(0.5, 1)."),
    "an axis": ("float32", fanin.Ones(), (0,), ValueError, f"{AXES}(0,). It says where Keras's axes are, as in"),
    "an axis twice": ("float32", fanin.Ones(), (0, 0), ValueError, f"{AXES}(0, 0)."),
    "an axis that is not there": ("float32", fanin.Ones(), (0, 2), ValueError, f"{AXES}(0, 2)."),
    "an axis by two numbers": ("float32", fanin.Ones(), (1, -1), ValueError, f"{AXES}(1, -1)."),
    "integers": ("int32", fanin.HeNormal(1), "torch", ValueError, "Expected floating point type, got int32."),
    "8 bits": ("float8_e5m2", fanin.HeNormal(1), "torch", ValueError, "Expected floating point type, got float8_e5m2."),
    "booleans": ("bool", fanin.Constant(3), "torch", TypeError, "does not fit a dtype of kind bool"),
    "out of range": ("uint8", fanin.Constant(300), "torch", ValueError, f"{RANGE}, [0, 255]."),
    "a vector": (torch.zeros(5), fanin.Orthogonal(seed=1), "torch", ValueError, "must be at least two-dimensional."),
    "a cube": (torch.zeros(2, 3, 4), fanin.Identity(), "torch", ValueError, "can only be used for 2D matrices."),
}  # fmt: skip


@pytest.mark.parametrize("case", ARGUMENTS)
def test_bad_arguments(case: str) -> None:
    """The rule, what came and what to do; the tensor and its counter stay as they were."""
    tensor, initializer, layout, error, message = ARGUMENTS[case]
    tensor = torch.zeros((2, 3), dtype=getattr(torch, tensor)) if isinstance(tensor, str) else tensor
    with pytest.raises(error) as caught:
        fill_(tensor, initializer, layout=layout)
    assert message in str(caught.value)
    if isinstance(tensor, torch.Tensor):
        assert tensor._version == 0
        assert not any(bits(tensor))


# Named functions

FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "zeros_": (fanin.Zeros, ()),
    "ones_": (fanin.Ones, ()),
    "constant_": (fanin.Constant, (0.3,)),
    "identity_": (fanin.Identity, (0.7,)),
    "random_normal_": (fanin.RandomNormal, (0.1, 0.3, 5)),
    "truncated_normal_": (fanin.TruncatedNormal, (0.1, 0.3, 5)),
    "random_uniform_": (fanin.RandomUniform, (-0.3, 0.4, 5)),
    "variance_scaling_": (fanin.VarianceScaling, (1.7, "fan_out", "uniform", 5)),
    "glorot_normal_": (fanin.GlorotNormal, (5,)),
    "glorot_uniform_": (fanin.GlorotUniform, (5,)),
    "he_normal_": (fanin.HeNormal, (5,)),
    "he_uniform_": (fanin.HeUniform, (5,)),
    "lecun_normal_": (fanin.LecunNormal, (5,)),
    "lecun_uniform_": (fanin.LecunUniform, (5,)),
    "orthogonal_": (fanin.Orthogonal, (1.3, 5)),
}
SEEDED = [name for name, (_, arguments) in FUNCTIONS.items() if 5 in arguments]


AXES = ("in_axis", "out_axis", "batch_axis", "column_axis", "groups")


def test_every_function_is_here() -> None:
    """Each class of Keras has its function, and the module has no other names."""
    others = {"Reading", "Recorded", "RecordingError", "Shard", "fill_", "init", "initialize", "recording", "save_plan"}
    others |= {"lsuv_", "patch", "probe", "unpatch"}
    assert {*others, *FUNCTIONS} == set(ours.__all__)
    assert {cls for cls, _ in FUNCTIONS.values()} == set(fanin.initializers.KERAS_CLASSES)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_of_named_functions(name: str) -> None:
    """A tensor, then its class's parameters with their defaults; a layout where there is one, in place of axes."""
    function, (cls, _) = getattr(ours, name), FUNCTIONS[name]
    parameters, taken = (
        {each.name: each.default for each in inspect.signature(each).parameters.values()} for each in (cls, function)
    )
    assert taken.pop("layout", None) == ("torch" if name in SEEDED else None)
    parameters = {each: default for each, default in parameters.items() if each not in AXES}
    if name == "constant_":  # here the value must be given
        parameters["value"] = inspect.Parameter.empty
    assert list(taken.items()) == [("tensor", inspect.Parameter.empty), *parameters.items()]


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(
    ("name", "layout"),
    [(name, layout) for name in FUNCTIONS for layout in (("torch", "keras", (1, 0)) if name in SEEDED else ("torch",))],
)
def test_named_functions(name: str, layout: Any, by_name: bool) -> None:
    """They fill as their class does, whose arguments they take by position and by name; the same tensor is returned."""
    function, (cls, arguments) = getattr(ours, name), FUNCTIONS[name]
    keywords = {"layout": layout} if name in SEEDED else {}
    named = dict(zip(inspect.signature(cls).parameters, arguments, strict=False))  # bounds come by name alone
    tensor = torch.zeros(4, 6)
    result = function(tensor, **named, **keywords) if by_name else function(tensor, *arguments, **keywords)
    assert result is tensor
    assert bits(tensor) == bits(fill_(torch.zeros(4, 6), cls(*arguments), layout=layout))
    assert_is_kernel(tensor, cls(*arguments), layout)


@pytest.mark.parametrize("name", SEEDED)
def test_unseeded_functions_follow_the_global_seed(name: str) -> None:
    """After `set_random_seed` they have the values of unseeded initializers in the same order; each call its own."""
    fanin.utils.set_random_seed(8)
    filled = [bits(getattr(ours, name)(torch.zeros(4, 6))) for _ in range(3)]
    fanin.utils.set_random_seed(8)
    assert filled == [FUNCTIONS[name][0]()((6, 4)).T.tobytes() for _ in range(3)]
    assert len(set(filled)) == 3


@pytest.mark.parametrize("library", ["fanin", "fanin.tf_keras", "fanin.keras"])
def test_a_fill_is_a_call(library: str) -> None:
    """It counts: an initializer's fills are its calls, in their order; one for tf_keras or Keras is what it calls."""
    pytest.importorskip(library.removeprefix("fanin."))
    initializer, reference = importlib.import_module(library).GlorotUniform(seed=1), fanin.GlorotUniform(seed=1)
    for _ in range(3):
        assert bits(fill_(torch.zeros(4, 6), initializer)) == reference((6, 4)).T.tobytes()


@pytest.mark.parametrize("module", ["torch", "torch._C"])
def test_without_pytorch(module: str) -> None:
    """The error says what to install; a part that PyTorch itself lacks is another error."""
    script = "import sys; sys.modules[sys.argv[1]] = None; import fanin.torch"
    run = subprocess.run([sys.executable, "-c", script, module], capture_output=True, text=True)
    assert run.returncode == 1
    message = "ImportError: PyTorch is not installed: pip install 'fanin[torch]'."
    assert (message in run.stderr) == (module == "torch")


@pytest.mark.parametrize(
    "initializer",
    [fanin.Sinusoidal(), fanin.Rotary("sin"), fanin.Hippo(), fanin.S4D("real", part="log_real")],
    ids=lambda each: type(each).__name__,
)
def test_tables_keep_their_order(initializer: fanin.Initializer) -> None:
    """Positions and states are where they are in NumPy; whoever wants another order says so."""
    tensor = fill_(torch.empty(6, 6), initializer)
    assert tensor.numpy().tobytes() == initializer((6, 6)).tobytes()
    turned = fill_(torch.empty(6, 6), initializer, layout="torch")
    assert turned.numpy().tobytes() == initializer((6, 6)).T.tobytes()
