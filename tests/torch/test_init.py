"""fanin.torch.init: the names, signatures, errors and warnings of torch.nn.init, and fanin's values."""

from __future__ import annotations

import inspect
import math
import threading
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fanin
from fanin.torch import init
from init_kit import ARGUMENTS, DRAWING, IN_PLACE, call, weight_for
from torch_kit import bits

INF, NAN = math.inf, math.nan
FLOATS = ("float16", "bfloat16", "float32", "float64")


# Names and signatures


def test_names() -> None:
    """All names of torch.nn.init, and no other."""
    assert set(init.__all__) == set(torch.nn.init.__all__)


@pytest.mark.parametrize("name", torch.nn.init.__all__)
def test_signatures(name: str) -> None:
    """The parameters of PyTorch's function, with their defaults and kinds; a seed besides, by keyword."""
    ours, theirs = (
        [(each.name, each.default, each.kind) for each in inspect.signature(getattr(module, name)).parameters.values()]
        for module in (init, torch.nn.init)
    )
    seed = [("seed", None, inspect.Parameter.KEYWORD_ONLY)]
    assert ours == theirs + (seed if ("generator", None) in [each[:2] for each in theirs] else [])


@pytest.mark.parametrize("name", torch.nn.init.__all__)
def test_own_names(name: str) -> None:
    """Each function has its name, and says what it does."""
    function = getattr(init, name)
    assert (function.__name__, bool(function.__doc__)) == (name, True)


# Errors and warnings, against PyTorch's

SHAPES = (
    (),
    (3,),
    (4, 4),
    (2, 3),
    (4, 3, 2),
    (4, 2, 3, 3),
    (2, 2, 2, 2, 2),
    (2, 1, 1, 1, 1, 2),
    (0,),
    (0, 3),
    (3, 0),
    (0, 0),
)
NUMBERS = (0, 1, -1, 0.5, True, 3, "a", None, 1j, NAN, INF, [1.0])
CASES: dict[str, list[tuple[Any, ...]]] = {
    "uniform_": [*product(NUMBERS, (0, 1, -1, "a")), (-3e38, 3e38), (0, 1e39)],
    "normal_": [*product(NUMBERS, (0, 1, -1, "a", INF, NAN))],
    "trunc_normal_": [
        *product((0, 1, "a", 5), (1, -1, 0, 0.5), (-2, 1, -INF), (2, 1, INF)),
        (0, 0.02),
        (3, 1),
        (0, None),
    ],
    "xavier_uniform_": [(), *((each,) for each in NUMBERS)],
    "xavier_normal_": [(), *((each,) for each in NUMBERS)],
    "kaiming_uniform_": [*product(NUMBERS, ("fan_in", "FAN_OUT", "x", 3, None), ("relu", "leaky_relu", "x", 3))],
    "kaiming_normal_": [*product(NUMBERS, ("fan_in", "fan_out", "x", 3), ("tanh", "leaky_relu", "selu", ["x"]))],
    "orthogonal_": [(), *((each,) for each in (0, 1, -1, "a", None, True))],
    "sparse_": [*product((0, 0.5, 1, "a", None, True), (0.01, -1, 0))],
    "eye_": [()],
    "dirac_": [(), *((each,) for each in (1, 2, 3, 0, "a", 2.0, None, True))],
    "constant_": [*((each,) for each in (0, 0.5, "a", None, 1j, True, torch.ones(2)))],
    "ones_": [()],
    "zeros_": [()],
}
# Shapes for which only the ways of calling are tried that differ in what the shape has to do with.
FEW = 6


def outcome(function: Callable[[], object]) -> tuple[Any, list[type]]:
    """The type of what a call raises, or None, and the categories of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            function()
            raised = None
        except Exception as error:
            raised = type(error)
    return raised, [each.category for each in caught]


def difference(name: str, make: Callable[[], Any], arguments: tuple[Any, ...], **keywords: Any) -> str:
    """How a call behaves unlike PyTorch's; "" if it does not."""
    torch.manual_seed(0)
    (ours, warned), (theirs, warned_there) = (
        outcome(lambda module=module: getattr(module, name)(make(), *arguments, **keywords))
        for module in (init, torch.nn.init)
    )
    same = ours is theirs is None or (ours is not None and theirs is not None and issubclass(ours, theirs))
    if same and (warned == warned_there or ours is not None):
        return ""
    return f"{name}{arguments}: {ours} {warned}, PyTorch: {theirs} {warned_there}"


def is_more(name: str, shape: tuple[int, ...], arguments: tuple[Any, ...]) -> bool:
    """Whether fanin can do, or refuses, what PyTorch does otherwise, as the documentation says."""
    if name == "trunc_normal_":  # bounds of infinity
        return INF in arguments[2:] or -INF in arguments[2:]
    return name == "dirac_" and 0 in shape[2:]  # PyTorch indexes what is not there


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_errors_of_arguments(name: str, shape: tuple[int, ...]) -> None:
    """Calls with right and wrong arguments raise what PyTorch's raise, or nothing, and warn as they do."""
    cases = CASES[name] if shape == (4, 4) else CASES[name][:: max(1, len(CASES[name]) // FEW)]
    cases = [each for each in cases if not is_more(name, shape, each)]
    found = [difference(name, lambda: torch.empty(shape), each) for each in cases]
    assert [each for each in found if each] == []


@pytest.mark.parametrize("dtype", ["int32", "bool", "uint8", "complex64", "complex128", "float8_e4m3fn", *FLOATS])
@pytest.mark.parametrize("name", [name for name in CASES if name not in ("orthogonal_", "sparse_")])
def test_errors_of_dtypes(name: str, dtype: str) -> None:
    """Dtypes that PyTorch draws are drawn, and for others the error is PyTorch's."""
    assert difference(name, lambda: weight_for(name, dtype), ARGUMENTS.get(name, ())) == ""


@pytest.mark.parametrize("name", CASES)
def test_no_tensors(name: str) -> None:
    """What is no tensor has no attributes of one."""
    for given in ([1.0], None, np.zeros((2, 2))):
        with pytest.raises(AttributeError):
            call(init, name, given)


@pytest.mark.parametrize("name", [name for name in CASES if name != "constant_"])
def test_errors_of_memory(name: str) -> None:
    """Tensors whose elements share memory, and those of inference mode, raise what PyTorch raises."""
    with torch.inference_mode():
        inferred = weight_for(name)
    for made in (lambda: torch.empty(()).expand(weight_for(name).shape), lambda: inferred):
        assert difference(name, made, ARGUMENTS.get(name, ())) == ""


@pytest.mark.parametrize("name", DRAWING)
def test_generator_of_another_type(name: str) -> None:
    """A generator must be one of PyTorch."""
    assert difference(name, lambda: weight_for(name), ARGUMENTS.get(name, ()), generator=3) == ""


@pytest.mark.parametrize("name", DRAWING)
def test_seed_and_generator(name: str) -> None:
    """Both at once are an error, and nothing is drawn."""
    generator = torch.Generator()
    before = generator.get_state()
    with pytest.raises(ValueError, match="Received both"):
        call(init, name, weight_for(name), seed=1, generator=generator)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("seed", ["1", 1.5, True, 2**63])
def test_wrong_seeds(seed: Any) -> None:
    """Seeds are integers of 64 bits."""
    with pytest.raises((TypeError, ValueError), match="`seed` must"):
        init.uniform_(torch.empty(3), seed=seed)


@pytest.mark.parametrize("name", [name for name in init.__all__ if f"{name}_" in init.__all__])
def test_deprecated(name: str) -> None:
    """The names without an underscore warn at the caller's line, and do the same."""
    torch.manual_seed(3)
    with pytest.warns(FutureWarning, match="deprecated") as caught:
        ours = call(init, name, weight_for(name))
    torch.manual_seed(3)
    assert bits(ours) == bits(call(init, f"{name}_", weight_for(name)))
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", ["kaiming_uniform_", "kaiming_normal_"])
def test_warning_of_empty_tensors(name: str) -> None:
    """Tensors without elements stay, with PyTorch's warning at the caller's line."""
    with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op") as caught:
        call(init, name, torch.empty(0, 3))
    assert caught[0].filename == __file__


def test_warning_of_far_bounds() -> None:
    """Bounds far from the mean have a warning at the caller's line, and their tail."""
    with pytest.warns(UserWarning, match="more than 2 std") as caught:
        values = init.trunc_normal_(torch.empty(1000), 0, 1, 5, 9, seed=1)
    assert caught[0].filename == __file__
    assert 5 <= values.min() < 5.01
    assert values.max() < 8


def test_far_tails_are_refused() -> None:
    """Bounds of which none lies within 36 standard deviations are an error that says so."""
    with pytest.raises(ValueError, match="36 standard deviations"):
        init.trunc_normal_(torch.empty(3), 0, 0.001, 0.1, 0.2)


# Seeds and generators


@pytest.mark.parametrize("name", DRAWING)
def test_manual_seed(name: str) -> None:
    """PyTorch's seed repeats a sequence of calls, each of which has other values."""
    rounds = []
    for _ in range(2):
        torch.manual_seed(7)
        rounds.append([bits(call(init, name, weight_for(name))) for _ in range(3)])
    assert rounds[0] == rounds[1]
    assert len(set(rounds[0])) == 3


@pytest.mark.parametrize("name", DRAWING)
def test_one_draw(name: str) -> None:
    """A call takes one number of 63 bits, which is the seed."""
    torch.manual_seed(7)
    drawn = call(init, name, weight_for(name))
    state = torch.get_rng_state()
    torch.manual_seed(7)
    seed = torch.empty((), dtype=torch.int64).random_().item()
    assert torch.equal(torch.get_rng_state(), state)
    assert bits(call(init, name, weight_for(name), seed=seed)) == bits(drawn)


@pytest.mark.parametrize("name", DRAWING)
def test_given_generator(name: str) -> None:
    """A generator that is given has its own sequence, and PyTorch's default one stays as it is."""
    state = torch.get_rng_state()
    one, other = (torch.Generator().manual_seed(7) for _ in range(2))
    assert bits(call(init, name, weight_for(name), generator=one)) == bits(
        call(init, name, weight_for(name), generator=other)
    )
    assert bits(call(init, name, weight_for(name), generator=one)) != bits(
        call(init, name, weight_for(name), generator=torch.Generator().manual_seed(7))
    )
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", init.__all__)
def test_what_draws_nothing(name: str) -> None:
    """Seeded calls, constants, tensors without elements and the gain leave PyTorch's generator alone."""
    state = torch.get_rng_state()
    if name == "calculate_gain":
        init.calculate_gain("relu")
    elif name in DRAWING:
        call(init, name, weight_for(name), seed=1)
        if not name.startswith("kaiming"):
            call(init, name, torch.empty(0, 3))
    elif name.endswith("_"):
        call(init, name, weight_for(name))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", DRAWING)
@pytest.mark.parametrize(
    "tensor",
    [torch.empty(4, 6, dtype=torch.int32), torch.empty(4, 6, device="meta"), torch.empty(1).expand(4, 6)],
    ids=["integers", "meta", "shared"],
)
def test_errors_draw_nothing(name: str, tensor: Any) -> None:
    """Calls that raise leave the generator and the tensor as they were."""
    state, version = torch.get_rng_state(), tensor._version
    with pytest.raises((ValueError, RuntimeError)):
        call(init, name, tensor)
    assert torch.equal(torch.get_rng_state(), state)
    assert tensor._version == version


def test_a_warning_that_is_an_error_draws_nothing() -> None:
    """Warnings come before anything is drawn."""
    state = torch.get_rng_state()
    with pytest.raises(UserWarning, match="more than 2 std"):  # the tests' setting
        init.trunc_normal_(torch.empty(3), 5)
    assert torch.equal(torch.get_rng_state(), state)


def test_threads() -> None:
    """Threads have their own places for seeds, and generators of their own their own sequences."""
    found: dict[int, list[bytes]] = {}

    def work(number: int) -> None:
        generator = torch.Generator().manual_seed(number % 2)
        found[number] = [bits(init.normal_(torch.empty(64), generator=generator)) for _ in range(50)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found[0] == found[2] != found[1] == found[3]


# Tensors


@pytest.mark.parametrize("name", IN_PLACE)
def test_autograd(name: str) -> None:
    """A parameter stays a leaf without a history, and a graph that has saved it raises."""
    weight = nn.Parameter(torch.ones_like(weight_for(name)))
    loss, version = (weight * weight).sum(), weight._version
    assert call(init, name, weight) is weight
    assert (weight.is_leaf, weight.grad_fn, weight.requires_grad) == (True, None, True)
    assert weight._version > version
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("name", IN_PLACE)
def test_no_memory(name: str) -> None:
    """Tensors on the meta device, and fake ones, are refused with what to do."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = weight_for(name)
    for tensor in (weight_for(name, device="meta"), fake):
        with pytest.raises(ValueError, match="memory"):
            call(init, name, tensor)


def test_freed_memory() -> None:
    """A tensor whose storage has been freed, as FSDP frees it, is refused."""
    tensor = torch.empty(4, 4)
    tensor.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match="memory of its own"):
        init.normal_(tensor)


def test_storage_stays_resizable() -> None:
    """FSDP frees the memory of parameters, which it could not if an array had been made of it."""
    tensor = init.normal_(torch.empty(4, 4))
    tensor.untyped_storage().resize_(0)


def test_others_memory() -> None:
    """A tensor over an array of NumPy is filled."""
    array = np.zeros((4, 6), np.float32)
    init.xavier_uniform_(torch.from_numpy(array), seed=1)
    assert (array == fanin.GlorotUniform(seed=1)((6, 4)).T).all()


def test_inference_mode() -> None:
    """Within inference mode, its tensors are filled, also in a thread that draws its first seed there."""
    found = []

    def work() -> None:
        with torch.inference_mode():
            found.append(init.normal_(torch.empty(4)).numpy().tobytes())
        found.append(bits(init.normal_(torch.empty(4))))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(set(found)) == 2


def test_within_transforms() -> None:
    """Tensors that stand for others within a transform are refused."""
    with pytest.raises(ValueError, match=r"memory|dense"):
        torch.func.vmap(lambda each: init.normal_(each, seed=1))(torch.empty(3, 4))


@pytest.mark.parametrize("name", DRAWING)
def test_default_devices(name: str) -> None:
    """A default device is none of the tensor's."""
    with torch.device("meta"):
        filled = call(init, name, weight_for(name), seed=1)
    assert bits(filled) == bits(call(init, name, weight_for(name), seed=1))


# Overriding


class Named(torch.Tensor):
    """A class of tensors of its own, without overriding."""


class Listening(torch.Tensor):
    """A class of tensors that hears of every function."""

    heard: ClassVar[list[Any]] = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Notes the function, and calls it."""
        cls.heard.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize("name", IN_PLACE)
def test_subclasses(name: str) -> None:
    """A class of tensors keeps its class, and one that overrides is told of the function first."""
    named = weight_for(name).as_subclass(Named)
    expected = bits(call(init, name, weight_for(name), **({"seed": 1} if name in DRAWING else {})))
    for tensor in (named, weight_for(name).as_subclass(Listening)):
        Listening.heard.clear()
        result = call(init, name, tensor, **({"seed": 1} if name in DRAWING else {}))
        assert type(result) is type(tensor)
        assert bits(tensor.as_subclass(torch.Tensor)) == expected
    assert Listening.heard[0] is getattr(init, name)


def test_what_is_no_tensor_may_override() -> None:
    """An object with `__torch_function__` gets the call."""

    class Other:
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            """The call."""
            return func, args[1:], kwargs

    made: Any = Other()
    assert init.uniform_(made, 1, b=2, seed=3) == (init.uniform_, (1,), {"b": 2, "seed": 3})


def test_lazy_parameters() -> None:
    """A parameter without a shape yet raises PyTorch's ValueError."""
    with pytest.raises(ValueError, match="uninitialized parameter"):
        init.normal_(nn.LazyLinear(3).weight)
