"""Giving the parameters of a module their values: the meta device, memory in place, choices, and what is refused."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fanin
from fanin.recipes import PlanError
from fanin.torch import initialize
from torch_kit import ALL, SEED, Odd, bits, on_meta, raw, two_layers


class Tied(nn.Module):
    """Two embeddings and a head that share a weight, a frozen parameter and one with an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Embedding(6, 4), nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.second.weight = self.first.weight
        self.head.weight = self.first.weight
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.frozen.weight.note = "kept"  # pyright: ignore
        self.frozen_again = self.frozen


def test_meta_device() -> None:
    """A module of the meta device gets memory, stays tied, and has the values of one that was never there."""
    module = on_meta(Tied)
    report = initialize(module, ALL)
    assert module.first.weight is module.second.weight is module.head.weight
    assert module.frozen is module.frozen_again
    assert not module.frozen.weight.requires_grad
    assert module.first.weight.requires_grad
    assert module.frozen.weight.note == "kept"
    assert type(module.first.weight) is nn.Parameter
    assert report.plan.tied["first.weight"] == ("second.weight", "head.weight")
    assert report.filled == ("first.weight", "frozen.weight", "frozen.bias")
    other = Tied()
    initialize(other, ALL)
    assert raw(module) == raw(other)


def test_meta_device_keeps_strides_and_dtypes() -> None:
    """Channels-last weights stay so, and bfloat16 stays bfloat16."""
    module = on_meta(lambda: nn.Conv2d(4, 6, 3))
    initialize(module.to(memory_format=torch.channels_last, dtype=torch.bfloat16), ALL)
    assert module.weight.is_contiguous(memory_format=torch.channels_last)
    expected = nn.Conv2d(4, 6, 3).bfloat16()
    initialize(expected, ALL)
    assert torch.equal(module.weight, expected.weight)


def test_partly_on_the_meta_device() -> None:
    """What has memory keeps it; what has none gets it."""
    module: Any = nn.Sequential(nn.Linear(3, 4), on_meta(lambda: nn.Linear(4, 2)))
    weight = module[0].weight
    initialize(module, ALL)
    assert module[0].weight is weight
    assert not module[1].weight.is_meta


def test_in_place() -> None:
    """Parameters stay the same objects in the same memory; optimizers and graphs notice as after any write."""
    module = nn.Linear(3, 4)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    place, version = module.weight.data_ptr(), module.weight._version
    loss = module(torch.ones(3, requires_grad=True)).sum()
    initialize(module, ALL)
    assert module.weight.data_ptr() == place
    assert module.weight._version > version
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    module(torch.ones(3)).sum().backward()
    optimizer.step()


def test_a_second_call_gives_the_same() -> None:
    """A recipe has no memory; neither does its plan."""
    module = two_layers()
    initialize(module, ALL)
    before = raw(module)
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.zero_()
    report = initialize(module, ALL)
    assert raw(module) == before
    assert not report.plan.compare(ALL.plan(module))
    assert str(report).startswith("Sequential: 6 parameters initialized (136 bytes) in ")


# Presets by their names, and reports


@pytest.mark.filterwarnings("ignore:No parameter of")  # of a model that has no such layers
def test_presets_by_their_names() -> None:
    """The name of a preset and a seed stand for the preset with this seed."""
    named, made = two_layers(), two_layers()
    report = initialize(named, "gpt2", seed=42)
    initialize(made, fanin.Recipe.preset("gpt2", seed=42))
    assert raw(named) == raw(made)
    assert report.plan.seed == 42
    assert not report.plan.compare(fanin.Recipe.preset("gpt2", seed=42).plan(two_layers()))


@pytest.mark.parametrize("preset", fanin.recipes.PRESETS)
@pytest.mark.filterwarnings("ignore:No parameter of")  # of a model that has no such layers
def test_every_preset_has_a_name(preset: str) -> None:
    """Without a seed, a preset's name stands for it with its own seed."""
    named, made = two_layers(), two_layers()
    initialize(named, preset)
    initialize(made, fanin.Recipe.preset(preset))
    assert raw(named) == raw(made)


def test_seeds_of_recipes() -> None:
    """`seed` takes the place of a recipe's own, which stays what it is."""
    other, expected = two_layers(), two_layers()
    initialize(other, ALL, seed=8)
    initialize(expected, ALL.with_seed(8))
    assert raw(other) == raw(expected)
    assert ALL.seed == SEED


def test_reports_in_full() -> None:
    """The text says how many, how large, how long and from which seed, and then what stayed, a line each."""
    report = initialize(two_layers(), ALL, skip="1.*")
    first, *more = str(report).splitlines()
    assert re.fullmatch(r"Sequential: 4 parameters initialized \(104 bytes\) in \d[\d.e-]* s, seed 5", first)
    assert more == ["kept: 1.weight (selected by `skip`)", "kept: 1.bias (selected by `skip`)"]


def test_reports_in_short() -> None:
    """The repr is one line, however long the report is, in which repeated layers share a line."""
    module = nn.Sequential(*(nn.Linear(1, 1) for _ in range(50)))
    assert repr(initialize(module, ALL)) == "<Report on Sequential: 100 parameters initialized>"
    report = initialize(module, ALL, only="7.*")
    assert repr(report) == "<Report on Sequential: 2 parameters initialized, 98 kept>"
    assert len(str(report).splitlines()) == 3


def test_reports_in_notebooks() -> None:
    """Paths are text in the report's HTML, whatever they are; the text of the report is all there."""
    module = nn.ModuleDict({"<b>&amp;": nn.Linear(2, 2), "plain": nn.Linear(2, 2)})
    report = initialize(module, ALL, only="plain.*")
    html = report._repr_html_()
    assert "<b>" not in html
    assert "kept: &lt;b&gt;&amp;amp;.weight (not selected by `only`)<br>" in html
    texts = re.sub(r"<[^>]*>", "\n", html).splitlines()
    assert [unescape(text) for text in texts if text and text != "details"] == str(report).splitlines()


# Choices


def test_only_and_skip() -> None:
    """Patterns choose; the others stay as they are, and have the same values as in a call for all."""
    module, everything = two_layers(), two_layers()
    before = raw(module)
    report = initialize(module, ALL, only=["0.*", "2/*"], skip="*.bias")
    initialize(everything, ALL)
    expected = {**before, **{path: raw(everything)[path] for path in ("0.weight", "2.weight")}}
    assert raw(module) == expected
    assert report.kept == {
        "0.bias": "selected by `skip`",
        "1.weight": "not selected by `only`",
        "1.bias": "not selected by `only`",
        "2.bias": "selected by `skip`",
    }


LOADED = [name for name in two_layers().state_dict() if name.startswith("0.")]
TOLD: dict[str, Callable[[Any, Any], Any]] = {
    "a state dict": lambda loaded, _: loaded,
    "its keys": lambda loaded, _: list(loaded),
    "what was returned": lambda _, result: result,
}


@pytest.mark.parametrize("told", TOLD)
def test_only_missing(told: str) -> None:
    """What a state dict has stays as it was loaded, whichever way the loading is told."""
    expected, module = two_layers(), on_meta(two_layers)
    initialize(expected, ALL)
    loaded = {name: tensor for name, tensor in two_layers().state_dict().items() if name in LOADED}
    before = {name: bits(tensor) for name, tensor in loaded.items()}  # whose memory the module has from now on
    result = module.load_state_dict(loaded, strict=False, assign=True)
    initialize(module, ALL, only_missing=TOLD[told](loaded, result))
    assert raw(module) == {**raw(expected), **before}


def test_only_missing_in_a_wrapper() -> None:
    """The keys of a state dict may have what a wrapper puts into them."""
    report = initialize(nn.DataParallel(two_layers()), ALL, only_missing={f"module.{name}": 0 for name in LOADED})
    assert set(report.kept) == set(LOADED)


def test_order_and_neighbours_do_not_matter() -> None:
    """Inserting a module changes no other's values; neither does the order."""
    first = nn.ModuleDict({"a": nn.Linear(3, 4), "b": nn.Linear(4, 3)})
    second = nn.ModuleDict({"b": nn.Linear(4, 3), "c": nn.Conv1d(2, 2, 2), "a": nn.Linear(3, 4)})
    for module in (first, second):
        initialize(module, ALL)
    assert {name: raw(second)[name] for name in raw(first)} == raw(first)


def test_names() -> None:
    """Modules whose paths differ get the same values by a map."""
    first, second = nn.ModuleDict({"a": nn.Linear(3, 4)}), nn.ModuleDict({"z": nn.Linear(3, 4)})
    initialize(first, ALL)
    report = initialize(second, ALL, names={"z.*": "a.*"})
    assert list(raw(first).values()) == list(raw(second).values())
    assert [entry.name for entry in report.plan.entries] == ["a.weight", "a.bias"]


def test_progress(capfd: pytest.CaptureFixture[str]) -> None:
    """A bar on standard error where one is wanted; nothing where nobody looks."""
    pytest.importorskip("rich")
    initialize(two_layers(), ALL)
    initialize(two_layers(), ALL, progress=False)
    assert capfd.readouterr() == ("", "")
    initialize(two_layers(), ALL, progress=True)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err


@pytest.mark.parametrize("progress", [None, False])
def test_progress_on_a_terminal(progress: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long work shows itself on a terminal, unless it is told not to."""
    pytest.importorskip("rich")
    monkeypatch.setattr("fanin.recipes.progress._LONG", 0)
    monkeypatch.setenv("TERM", "xterm")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    initialize(two_layers(), ALL, progress=progress)
    assert ("initialize" in terminal.getvalue()) == (progress is None)


# What is refused


def expanded() -> Any:
    """A layer whose weight is one number in many places."""
    module = nn.Linear(3, 2)
    module.weight = nn.Parameter(torch.zeros(1, 1).expand(2, 3))
    return module


def inference() -> Any:
    """A layer made in inference mode."""
    with torch.inference_mode():
        return nn.Linear(3, 2)


GLOROT = fanin.Recipe([{"path": "*", "initializer": "glorot_uniform", "name": "all"}])
FORGETFUL = fanin.Recipe(
    [{"path": "*", "block": "forget", "initializer": "keep"}, {"path": "*", "initializer": "ones"}]
)
KEPT = fanin.Recipe([{"path": "0.*", "initializer": "keep"}, {"path": "*", "initializer": "zeros"}])
NAMES = "bert, flax, gpt2, keras, llama, mup, resnet, t5, torch, vit"
Case = tuple[Callable[[], Any], Any, dict[str, Any], type[Exception], str]
REFUSED: dict[str, Case] = {
    "no module": (lambda: 3, ALL, {}, TypeError, "`model` must be a torch.nn.Module. Received: model of type int."),
    "no preset": (
        two_layers,
        "gtp2",
        {},
        ValueError,
        f"`recipe` must be a fanin.Recipe or the name of a preset: {NAMES}. Received: 'gtp2'. Did you mean 'gpt2'?",
    ),
    "a file": (two_layers, "a.toml", {}, ValueError, "Received: 'a.toml'. Load a file with Recipe.load(path)."),
    "no recipe": (
        two_layers,
        3,
        {},
        TypeError,
        "`recipe` must be a fanin.Recipe or the name of a preset. Received: 3 (of type int).",
    ),
    "rules": (
        two_layers,
        [{"path": "*", "initializer": "zeros"}],
        {},
        TypeError,
        "`recipe` must be a fanin.Recipe or the name of a preset. Received: [{'path': '*', 'initializer': 'zeros'}] "
        "(of type list).",
    ),
    "no seed": (
        two_layers,
        ALL,
        {"seed": "3"},
        fanin.recipes.RecipeError,
        "`seed` must be an integer. Received: seed='3'",
    ),
    "lazy": (
        lambda: nn.LazyLinear(3),
        ALL,
        {},
        ValueError,
        "Every parameter must have a shape. Received: weight of the lazy module LazyLinear. "
        "Call the module on an input first.",
    ),
    "expanded": (
        expanded,
        ALL,
        {},
        PlanError,
        "weight: Its elements must have separate memory; those of an expanded tensor do not. Clone it first.",
    ),
    "inference": (inference, ALL, {}, PlanError, "weight: The tensor must be writable."),
    "sparse": (
        lambda: nn.ParameterDict({"w": nn.Parameter(torch.eye(3).to_sparse())}),
        ALL,
        {},
        PlanError,
        "w: The tensor must be dense, with a dtype that NumPy or ml_dtypes has.",
    ),
    "integers": (
        Odd,
        ALL,
        {"only": "steps"},
        PlanError,
        "steps, in rule 1: Expected floating point type, got int32.",
    ),
    "unknown fans": (
        Odd,
        GLOROT,
        {"only": "scale"},
        PlanError,
        "scale, in rule 1 “all”: GlorotUniform needs the fans of a parameter of a layer of type Odd, and they are not "
        "known. Write `fan_in = …` and `fan_out = …` into rule 1 “all”, or, if it is a kernel, "
        '`layout = "torch"` or `layout = "keras"`, with `stacked = 1` if its first axis is a stack of kernels.',
    ),
    "unmatched": (
        Odd,
        fanin.Recipe.preset("torch"),
        {},
        PlanError,
        "No rule matches 2 of 2 parameters:\n    scale 2×3, Odd\n    steps 2, Odd\n    Add rules for them",
    ),
    "only": (
        two_layers,
        ALL,
        {"only": "0.wieght"},
        ValueError,
        "`only` must match parameters of the model. Received: '0.wieght', which matches none. Did you mean '0.weight'?",
    ),
    "skip": (
        two_layers,
        ALL,
        {"skip": 3},
        TypeError,
        "`skip` must be a glob of paths, or several. Received: skip=3.",
    ),
    "only_missing": (
        two_layers,
        ALL,
        {"only_missing": 3},
        TypeError,
        "`only_missing` must be a state dict, its keys, or what `load_state_dict` returned. Received: int.",
    ),
    "device": (
        two_layers,
        ALL,
        {"device": "meta"},
        ValueError,
        "`device` must be a device with memory. Received: device='meta' (the meta device has no memory).",
    ),
    "no device": (
        two_layers,
        ALL,
        {"device": "gpu"},
        ValueError,
        "`device` must be a device with memory. Received: device='gpu'",
    ),
    "unmatched=": (
        two_layers,
        ALL,
        {"unmatched": "drop"},
        ValueError,
        '`unmatched` must be "error" or "keep". Received: unmatched=\'drop\'.',
    ),
    "names": (
        two_layers,
        ALL,
        {"names": [1]},
        TypeError,
        "`names` must be a mapping of paths to names, or a function of a parameter. Received: names of type list.",
    ),
    "keep": (
        lambda: on_meta(two_layers),
        KEPT,
        {},
        PlanError,
        "0.weight: rule 1 keeps it as it is, but it is on the meta device and has no values.",
    ),
    "keep a block": (
        lambda: on_meta(lambda: nn.LSTM(2, 3)),
        FORGETFUL,
        {},
        PlanError,
        "weight_ih_l0: rule 2, rule 1 keeps some of its blocks, but it is on the meta device and has no values.",
    ),
    "layers": (two_layers, ALL, {"layers": {}}, TypeError, "got an unexpected keyword argument 'layers'"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str) -> None:
    """Each with its message, and before anything is written."""
    make, recipe, options, error, message = REFUSED[kind]
    module = make()
    torch_module = isinstance(module, nn.Module) and kind not in ("lazy", "sparse", "keep", "keep a block")
    before = raw(module) if torch_module else None
    with pytest.raises(error) as caught:
        initialize(module, recipe, **options)
    assert message in str(caught.value)
    assert not torch_module or raw(module) == before


def test_unmatched_parameters_can_stay() -> None:
    """With `unmatched="keep"`."""
    module = Odd()
    report = initialize(module, fanin.Recipe([{"path": "scale", "initializer": "ones"}]), unmatched="keep")
    assert report.kept == {"steps": "no rule matches it"}
    assert module.scale.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_frozen_parameters() -> None:
    """They are drawn like others, the plan says so, and a rule can keep them."""
    module = two_layers()
    module[0].requires_grad_(False)
    assert "frozen, but initialized as well: 0.weight, 0.bias" in str(ALL.plan(module))
    recipe = fanin.Recipe([{"trainable": False, "initializer": "keep"}, {"path": "*", "initializer": "random_normal"}])
    before = raw(module)
    report = initialize(module, recipe)
    assert set(report.kept) == {"0.weight", "0.bias"}
    assert {path for path, value in raw(module).items() if value == before[path]} == {"0.weight", "0.bias"}
    assert "frozen" not in str(recipe.plan(module))


def test_names_must_differ() -> None:
    """Two parameters of one name would have the same values."""
    module = two_layers()
    before = raw(module)
    with pytest.raises(PlanError, match=r"\[0,2\]\.weight would have the same values: names must differ\."):
        initialize(module, ALL, names={"*.weight": "w"})
    assert raw(module) == before


SHARED = torch.zeros(12)
UNWRITABLE = {
    "overlapping": [torch.zeros(12).as_strided((2, 4), (0, 1))],
    "sparse": [torch.zeros(2, 4).to_sparse()],
    "sharing": [SHARED[:8], SHARED[4:]],
    "lazy": [torch.nn.parameter.UninitializedParameter()],
}


@pytest.mark.parametrize("case", UNWRITABLE)
def test_control_characters_in_refusals(case: str) -> None:
    """Names of parameters that cannot be written are shown escaped."""
    module = nn.Module()
    for number, tensor in enumerate(UNWRITABLE[case]):
        module.register_parameter(f"{number}\x1b]0;\n", nn.Parameter(tensor) if case != "lazy" else tensor)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is looked at below)
        initialize(module, ALL)
    assert r"0\x1b]0;\n" in str(caught.value)
    assert "\x1b" not in str(caught.value)
