"""fanin.torch.patch: fanin's values under every name of torch.nn.init's functions, and nothing left afterwards."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import linecache
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn.init import kaiming_uniform_ as under_another_name
from torch.nn.init import xavier_uniform_

import fanin.torch
from fanin.torch import init, patch, unpatch
from init_kit import DRAWING, call, weight_for
from torch_kit import bits, raw

PARTIAL = functools.partial(xavier_uniform_, gain=2.0)
TABLE = {"normal": torch.nn.init.normal_}


def by_default(tensor: Any, fill: Any = torch.nn.init.orthogonal_) -> Any:
    """A function with one of PyTorch's as a default argument."""
    return fill(tensor)


def in_a_closure() -> Any:
    """A function that has one of PyTorch's in its closure."""
    fill = torch.nn.init.trunc_normal_
    return lambda tensor: fill(tensor, std=0.5)


WAYS: dict[str, tuple[Any, Any]] = {
    "the module's": (lambda w: torch.nn.init.xavier_normal_(w), lambda w: init.xavier_normal_(w)),
    "imported": (lambda w: xavier_uniform_(w), lambda w: init.xavier_uniform_(w)),
    "another name": (lambda w: under_another_name(w, a=1), lambda w: init.kaiming_uniform_(w, a=1)),
    "partial": (PARTIAL, lambda w: init.xavier_uniform_(w, 2.0)),
    "in a dictionary": (lambda w: TABLE["normal"](w, 1, std=2), lambda w: init.normal_(w, 1, 2)),
    "default argument": (by_default, lambda w: init.orthogonal_(w)),
    "closure": (in_a_closure(), lambda w: init.trunc_normal_(w, std=0.5)),
    "deprecated": (lambda w: deprecated(w), lambda w: init.uniform_(w)),
    "what PyTorch calls": (lambda w: torch.nn.init._no_grad_normal_(w, 0.0, 1.0), lambda w: init.normal_(w)),
    "a layer": (lambda w: made_by_a_layer(), lambda w: expected_of_a_layer()),
}


def deprecated(tensor: Any) -> Any:
    """By a name without an underscore."""
    with pytest.warns(FutureWarning, match=r"nn\.init\.uniform"):
        return torch.nn.init.uniform(tensor)


def made_by_a_layer() -> Any:
    """A layer's weight."""
    return nn.Linear(6, 4).weight.detach()


def expected_of_a_layer() -> Any:
    """What a layer's code has there."""
    return init.kaiming_uniform_(torch.empty(4, 6), a=5**0.5)


def functions() -> dict[str, Any]:
    """Everything that belongs to the functions that are exchanged, and to those beside them."""
    found = {}
    for name, module in list(sys.modules.items()):
        if name in ("torch.nn.init", "torch.random", "transformers.initialization") or name.startswith("timm"):
            for key, each in vars(module).items():
                if isinstance(each, FunctionType):
                    parts = (each.__code__, each.__defaults__, each.__kwdefaults__, each.__closure__)
                    found[f"{name}.{key}"] = (each, *parts)
    return {**found, "finders": [each for each in sys.meta_path if type(each).__module__.startswith("fanin")]}


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Every function is afterwards what it was before."""
    before = functions()
    yield
    unpatch()
    after = functions()
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("way", WAYS)
def test_every_name(way: str) -> None:
    """A function that was imported by any name draws what fanin's draws, and PyTorch's values again afterwards."""
    theirs, ours = WAYS[way]
    torch.manual_seed(3)
    unpatched = bits(theirs(torch.empty(4, 6)))
    with patch():
        torch.manual_seed(3)
        patched = bits(theirs(torch.empty(4, 6)))
    torch.manual_seed(3)
    assert patched == bits(ours(torch.empty(4, 6))) != unpatched
    torch.manual_seed(3)
    assert bits(theirs(torch.empty(4, 6))) == unpatched


@pytest.mark.parametrize("name", DRAWING)
def test_every_function(name: str) -> None:
    """Each function that draws has fanin's values, from the generator that it is given, and the state moves alike."""
    for keywords in ({}, {"generator": torch.Generator()}):
        found = []
        for module in (torch.nn.init, init):
            torch.manual_seed(4)
            keywords = {key: torch.Generator().manual_seed(9) for key in keywords}
            with patch():
                values = bits(call(module, name, weight_for(name), **keywords))
            found.append((values, torch.get_rng_state().tolist()))
        assert found[0] == found[1]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", torch.nn.init.__all__)
def test_signatures_stay(name: str) -> None:
    """Functions keep their signatures, and the errors of wrong calls."""
    function = getattr(torch.nn.init, name)
    before = inspect.signature(function)
    with patch():
        assert inspect.signature(function) == before
        with pytest.raises(TypeError):
            function(torch.empty(2, 2), unknown=1)


def test_errors_and_warnings_under_a_patch() -> None:
    """Errors are PyTorch's, and warnings are at the caller's line."""
    with patch():
        with pytest.raises(ValueError, match="fewer than 2"):
            xavier_uniform_(torch.empty(3))
        with pytest.raises(RuntimeError):
            torch.nn.init.normal_(torch.empty(3), std=-1)
        with pytest.raises(NotImplementedError):
            torch.nn.init.normal_(torch.empty(3, dtype=torch.int32))
        with pytest.warns(UserWarning, match="zero-element") as caught:
            under_another_name(torch.empty(0, 3))
    assert caught[0].filename == __file__


# When it is in force


def is_in_force() -> bool:
    """Whether PyTorch's functions have other code than they had."""
    return "called" in xavier_uniform_.__code__.co_names


def test_nested() -> None:
    """The outermost block ends it, in any order."""
    with patch():
        with patch():
            assert is_in_force()
        assert is_in_force()
    assert not is_in_force()
    first, second = patch(), patch()
    with first:
        pass
    assert is_in_force()
    with second:
        pass
    assert not is_in_force()


def test_without_a_block() -> None:
    """It lasts until `unpatch`, which may be called at any time."""
    patch()
    patch()
    assert is_in_force()
    unpatch()
    assert not is_in_force()
    unpatch()


def test_as_a_decorator() -> None:
    """It is in force during each call, and not before."""

    @patch()
    def function(depth: int) -> bool:
        """Whether it is in force in all calls."""
        return is_in_force() and (depth == 0 or function(depth - 1))

    assert not is_in_force()
    assert function(2)
    assert not is_in_force()
    with pytest.raises(TypeError, match="not classes"):
        patch()(nn.Linear)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_exceptions_end_it(error: type[BaseException]) -> None:
    """An exception of any kind ends the block."""
    with pytest.raises(error), patch():
        raise error


def test_interrupts_anywhere() -> None:
    """An interrupt between any two lines of the patch's own code leaves what `unpatch` undoes."""
    places = ("fanin/torch/patching.py", "fanin/torch/exchanged.py", "fanin/_core/patches.py")

    def interrupted(after: int) -> bool:
        """Whether an interrupt came so many lines after the beginning."""
        left = after

        def trace(frame: Any, event: str, argument: Any) -> Any:
            nonlocal left
            if not frame.f_code.co_filename.endswith(places):
                return None
            # Python's own signals do not come between the end of a block and the lock that it lets go.
            line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
            left -= event == "line" and not line.startswith(("with ", "try:"))
            if left == 0:
                left = -1
                raise KeyboardInterrupt
            return trace

        outer = sys.gettrace()
        sys.settrace(trace)
        try:
            with patch():
                pass
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(outer)
        return False

    before, number = functions(), 1
    while interrupted(number):
        unpatch()
        after = functions()
        assert {name: after[name] for name in before} == before, number
        with patch():
            assert is_in_force()
        assert not is_in_force()
        number += 1 if number < 60 else 23
    assert number > 60


def test_threads() -> None:
    """It is in force in all threads; threads that begin and end it at once leave nothing."""
    with patch():
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.append(is_in_force()))
        thread.start()
        thread.join()
        assert found == [True]

    def work() -> None:
        for _ in range(20):
            with patch():
                xavier_uniform_(torch.empty(3, 3))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not is_in_force()


# What is imported within the block

THEIRS = """
import torch

def trunc_normal_(tensor, mean=0., std=1., a=-2., b=2.):
    return tensor.fill_(7)

def trunc_normal_tf_(tensor, mean=0., std=1., a=-2., b=2.):
    return tensor.fill_(7)

def variance_scaling_(tensor, scale=1.0, mode='fan_in', distribution='normal'):
    if distribution not in ('normal', 'truncated_normal', 'uniform'):
        raise ValueError(f'invalid distribution {distribution}')
    tensor.fill_(7)

def lecun_normal_(tensor):
    variance_scaling_(tensor, mode='fan_in', distribution='truncated_normal')
"""


@pytest.fixture
def other_timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with the names of timm's module and other values."""
    folder = tmp_path / "timm" / "layers"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("from .weight_init import trunc_normal_, trunc_normal_tf_, lecun_normal_\n")
    (folder.parent / "__init__.py").write_text("")
    (folder / "weight_init.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        del sys.modules[name]


def timm_values(module: ModuleType) -> list[tuple[bytes, bytes]]:
    """What each of timm's functions draws, and what fanin's of that law draws."""
    found = []
    for theirs, ours in (
        (lambda w: module.trunc_normal_(w, std=2), lambda w: init.trunc_normal_(w, std=2)),
        (
            lambda w: module.trunc_normal_tf_(w, 1, std=0.02, a=-1, b=3),
            lambda w: drawn(w, fanin.TruncatedNormal(1, 0.02, lower=-1, upper=3)),
        ),
        (
            lambda w: module.trunc_normal_tf_(w, std=-0.02, a=-1, b=3),
            lambda w: drawn(w, fanin.TruncatedNormal(0, 0.02, lower=-3, upper=1)),
        ),
        (lambda w: module.lecun_normal_(w) or w, lambda w: drawn(w, fanin.LecunNormal())),
        (
            lambda w: module.variance_scaling_(w, 2, "fan_out") or w,
            lambda w: drawn(w, fanin.VarianceScaling(2, "fan_out", "untruncated_normal")),
        ),
        (
            lambda w: module.variance_scaling_(w, 2, "fan_avg", "uniform") or w,
            lambda w: drawn(w, fanin.VarianceScaling(2, "fan_avg", "uniform")),
        ),
    ):
        torch.manual_seed(6)
        values = bits(theirs(torch.empty(8, 9)))
        torch.manual_seed(6)
        found.append((values, bits(ours(torch.empty(8, 9)))))
    return found


def drawn(weight: Any, initializer: Any) -> Any:
    """A weight with an initializer's values, with a seed from PyTorch's generator."""
    seed = torch.empty((), dtype=torch.int64).random_().item()
    return fanin.torch.fill_(weight, initializer.with_seed(seed))


@pytest.mark.parametrize("when", ["before", "within", "again"])
def test_timm(when: str, other_timm: None) -> None:
    """timm's own functions draw fanin's values, whether its module is imported before or within the block."""
    if when != "within":
        importlib.import_module("timm.layers.weight_init")
    with patch():
        module = importlib.import_module("timm.layers.weight_init")
        if when == "again":
            importlib.reload(module)
        face = importlib.import_module("timm.layers")
        for ours, theirs in timm_values(module):
            assert ours == theirs
        assert bits(face.trunc_normal_(torch.empty(5))) != bits(torch.full((5,), 7.0))
        with pytest.raises(ValueError, match="invalid distribution"):
            module.variance_scaling_(torch.empty(3, 3), distribution="x")
        assert "exec_module" not in vars(module.__loader__)
    for name in ("trunc_normal_", "trunc_normal_tf_"):
        assert bits(getattr(module, name)(torch.empty(5))) == bits(torch.full((5,), 7.0))
    assert module.lecun_normal_(torch.ones(3, 3)) is None


def test_specs_of_other_modules(other_timm: None) -> None:
    """What looks for a module without importing it finds it, and others are not looked for."""
    with patch():
        assert importlib.util.find_spec("timm.layers.weight_init") is not None
        assert sys.meta_path[0].find_spec("json", None) is None


# Tensors that fanin does not fill


def test_meta_tensors() -> None:
    """Nothing happens to tensors without memory, and nothing is drawn."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    state = torch.get_rng_state()
    with patch(), torch.device("meta"):
        model = nn.Transformer(8, 2, 1, 1, 8, batch_first=True)
    assert all(each.is_meta for each in model.parameters())
    with patch(), FakeTensorMode():
        nn.Linear(3, 4)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "use",
    [
        lambda: torch.nn.init.sparse_(torch.empty(4, 4, dtype=torch.complex64), 0.5),
        lambda: torch.nn.init.trunc_normal_(torch.empty(4, 4), 0, 0.001, 0.038, 0.039),
        lambda: torch.nn.init.sparse_(torch.empty(4, 4), 2),
    ],
    ids=["complex sparse matrices", "far tails", "more than all"],
)
@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
def test_what_stays_pytorchs(use: Any) -> None:
    """What fanin cannot draw, PyTorch draws as without the patch, and a warning says so."""
    torch.manual_seed(2)
    expected = bits(use())
    torch.manual_seed(2)
    with patch(), pytest.warns(UserWarning, match="PyTorch's own .* did instead") as caught:
        drawn = bits(use())
    assert drawn == expected
    assert caught[-1].filename == __file__


class Listening(torch.Tensor):
    """A class of tensors that hears of every function."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Notes the function, and calls it."""
        heard.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


heard: list[Any] = []


@pytest.mark.parametrize("name", DRAWING)
def test_overriding_classes_hear_the_same(name: str) -> None:
    """A class that overrides functions is told what it is told without the patch."""
    found = []
    for is_patched in (False, True):
        heard.clear()
        with patch() if is_patched else torch.no_grad():
            call(torch.nn.init, name, weight_for(name).as_subclass(Listening))
        found.append(heard[0])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", DRAWING)
def test_default_devices(name: str) -> None:
    """A mode, such as that of a default device, does not keep fanin's values off."""
    torch.manual_seed(5)
    expected = bits(call(init, name, weight_for(name)))
    torch.manual_seed(5)
    with patch(), torch.device("cpu"):
        weight = nn.Parameter(weight_for(name))
        assert bits(call(torch.nn.init, name, weight)) == expected


# Recordings and initialize


class Own(nn.Module):
    """A module that uses each function, of PyTorch and of fanin."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        for name in DRAWING:
            weight = nn.Parameter(call(module, name, weight_for(name)))
            self.register_parameter(name, weight)
        self.eye = nn.Parameter(module.eye_(torch.empty(3, 4)))
        self.dirac = nn.Parameter(module.dirac_(torch.empty(4, 2, 3)))
        self.ones = nn.Parameter(module.ones_(torch.empty(3, 4)))


@pytest.mark.parametrize("order", ["patch outside", "patch inside", "recording ends first", "patch ends first"])
@pytest.mark.parametrize("module", [torch.nn.init, init], ids=["patched", "direct"])
def test_recordings(module: Any, order: str) -> None:
    """In a recording, functions are recorded as their laws, however it and the patch begin and end."""
    with fanin.torch.recording() as expected:
        wanted = Own(torch.nn.init)
    if order == "patch outside":
        with patch(), fanin.torch.recording() as recorded:
            own = Own(module)
    elif order == "patch inside":
        with fanin.torch.recording() as recorded, patch():
            own = Own(module)
    elif order == "recording ends first":
        hold = patch()
        with fanin.torch.recording() as recorded:
            own = Own(module)
        assert is_in_force()
        hold.__exit__()
    else:
        with fanin.torch.recording() as recorded:
            with patch():
                Own(module)
            own = Own(module)
    assert texts(recorded.of(own)) == texts(expected.of(wanted))


def texts(readings: Any) -> dict[str, str]:
    """Readings in words."""
    return {path: str(each) for path, each in readings.items()}


def recorded_with_a_seed() -> tuple[Any, Any]:
    """A recording of a layer that is filled with a seed."""
    with fanin.torch.recording() as recorded:
        kept = nn.Linear(3, 4)
        init.xavier_uniform_(kept.weight, seed=1)
    return recorded, kept


def test_seeds_in_a_recording() -> None:
    """A seed has no effect there, and is noted."""
    with pytest.warns(UserWarning, match="a seed of the code's own"):
        recorded, kept = recorded_with_a_seed()
    (note,) = recorded.notes
    assert note.startswith(__file__)
    assert "uniform" in str(recorded.of(kept)["weight"]).lower()


def test_initialize_is_not_disturbed() -> None:
    """`initialize` gives the same values with the patch and without it."""
    expected, model = nn.Transformer(8, 2, 1, 1, 8, batch_first=True), nn.Transformer(8, 2, 1, 1, 8, batch_first=True)
    fanin.torch.initialize(expected, "torch", seed=3)
    with patch():
        fanin.torch.initialize(model, "torch", seed=3)
    assert raw(model) == raw(expected)


# Models


def gpt2() -> Any:
    """A small GPT-2 of transformers."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=40, n_positions=16)
    return transformers.GPT2LMHeadModel(config)


MODELS = {
    "Transformer": lambda: nn.Transformer(8, 2, 1, 1, 8, batch_first=True),
    "LSTM": lambda: nn.LSTM(3, 4, 2),
    "MultiheadAttention": lambda: nn.MultiheadAttention(8, 2),
    "convolutions": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ConvTranspose1d(4, 2, 3)),
    "Embedding": lambda: nn.Embedding(7, 5, padding_idx=2),
    "Bilinear": lambda: nn.Bilinear(3, 4, 5),
    "GPT-2": gpt2,
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    """Models are the same after the same seed, other ones next, and others than PyTorch's, as which they come again."""
    make = MODELS[name]
    torch.manual_seed(1)
    before = raw(make())
    rounds = []
    with patch():
        for _ in range(2):
            torch.manual_seed(1)
            rounds.append((raw(make()), raw(make())))
    assert rounds[0] == rounds[1]
    assert rounds[0][0] != rounds[0][1]
    assert rounds[0][0] != before
    torch.manual_seed(1)
    assert raw(make()) == before


def test_a_transformer_is_fanins() -> None:
    """Each weight of a model has the values of fanin's function with the seed that its turn takes."""
    with patch():
        torch.manual_seed(8)
        layer = nn.Linear(6, 4)
    torch.manual_seed(8)
    assert bits(layer.weight) == bits(init.kaiming_uniform_(torch.empty(4, 6), a=5**0.5))
    assert bits(layer.bias) == bits(init.uniform_(torch.empty(4), -(6**-0.5), 6**-0.5))


def test_transformers_own_guards() -> None:
    """transformers' contexts, which replace PyTorch's functions by name, work within a patch and around it."""
    initialization = pytest.importorskip("transformers.initialization")
    with patch():
        torch.manual_seed(2)
        expected = bits(init.normal_(torch.empty(4)))
        for outer, inner in (
            (patch(), initialization.guard_torch_init_functions()),
            (initialization.guard_torch_init_functions(), patch()),
        ):
            torch.manual_seed(2)
            with outer, inner:
                assert bits(torch.nn.init.normal_(torch.empty(4))) == expected
        torch.manual_seed(2)
        assert bits(initialization.normal_(torch.empty(4))) == expected
        torch.manual_seed(2)
        assert bits(initialization.TORCH_INIT_FUNCTIONS["normal_"](torch.empty(4))) == expected
        state = torch.get_rng_state()
        with initialization.no_init_weights():
            nn.Linear(3, 4)
        assert torch.equal(torch.get_rng_state(), state)


def test_functions_that_others_have_put_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of one's own under a name of PyTorch's is left alone, and so are transformers' empty ones."""
    calls: list[torch.Tensor] = []
    monkeypatch.setattr(
        torch.nn.init, "normal_", lambda tensor, mean=0.0, std=1.0, generator=None: calls.append(tensor)
    )
    with patch():
        torch.nn.init.normal_(torch.empty(3))
        assert len(calls) == 1


def test_a_patch_within_no_init_weights() -> None:
    """transformers' context has nothing drawn, with the patch as without."""
    initialization = pytest.importorskip("transformers.initialization")
    with initialization.no_init_weights(), patch():
        zeros = torch.zeros(3, 3)
        torch.nn.init.normal_(zeros)
        nn.Linear(3, 4)
    assert not zeros.any()
    with patch():
        assert torch.nn.init.normal_(zeros).any()
