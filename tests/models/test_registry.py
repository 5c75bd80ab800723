"""Finding a model's framework: among those that have been imported, by what each registers."""

import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from fanin.models import registry
from fanin.models.lists import described_list
from fanin.models.registry import Home, describe, register
from fanin.recipes import Model, Recipe

LIST = [{"path": "a.w", "shape": [2, 3]}]


class Module:
    """The base class of a made-up framework's models."""


class Derived(Module):
    """A model of it."""


@pytest.fixture
def framework(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A framework that has been imported, and a module that registers it; what is imported of the latter."""
    package, inner = ModuleType("madeup"), ModuleType("madeup.nn")
    inner.Module = Module  # pyright: ignore[reportAttributeAccessIssue]
    package.nn = inner  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "madeup", package)
    monkeypatch.setattr(
        registry, "HOMES", (Home("absent", "Model", "fanin.absent"), Home("madeup", "nn.Module", "home"))
    )
    imported: list[str] = []

    def load(name: str) -> None:
        imported.append(name)
        register("madeup", lambda model: described_list(LIST, type(model).__name__))

    monkeypatch.setattr("fanin.models.registry.importlib.import_module", load)
    yield imported
    registry._registered.pop("madeup", None)


def test_a_framework(framework: list[str]) -> None:
    """Its module is imported at the first model, once, and says what the model is; subclasses are models, too."""
    assert describe(Derived()) == described_list(LIST, "Derived")
    assert describe(Module()).name == "Module"
    assert framework == ["home"]
    assert Recipe([{"path": "*", "initializer": "zeros"}]).plan(Derived()).entries[0].path == "a.w"


def test_other_objects(framework: list[str]) -> None:
    """What is no model of a framework that has been imported is refused, and nothing is imported for it."""
    for other in (3, "gpt2", None, [], [3], {"a": 1}, Module, object()):
        with pytest.raises(TypeError, match=r"^A plan needs a model: a PyTorch, Keras, flax\.nnx or equinox module, a"):
            describe(other)
    assert framework == []


def test_a_blocked_framework(framework: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """None in place of a module blocks its import: no object is a model of it, not even where any tree may be one."""
    monkeypatch.setitem(sys.modules, "madeup", None)
    monkeypatch.setattr(registry, "HOMES", (Home("madeup", "", "home"),))
    with pytest.raises(TypeError, match=r"^A plan needs a model"):
        describe(Derived())
    assert framework == []


def test_layers(framework: list[str]) -> None:
    """`layers` is for trees of flax.linen alone."""
    with pytest.raises(TypeError, match=r"^`layers` is only for flax\.linen trees\. Received: a madeup model\.$"):
        describe(Derived(), layers={"a": 1})
    for model in ([{"path": "a", "shape": [2]}], describe([{"path": "a", "shape": [2]}])):
        with pytest.raises(TypeError, match=r"^`layers` is only for flax\.linen trees\. Received: a list of shapes\.$"):
            describe(model, layers="nonsense")


def test_described_models() -> None:
    """A list is described as it says; what has been described already stays as it is."""
    model = describe(LIST)
    assert model == described_list(LIST)
    assert describe(model) is model
    assert describe((*LIST,)) == model
    assert describe(Model((), "nothing")).name == "nothing"


def test_long_objects_are_cut() -> None:
    """A message shows the beginning of what came, and its type."""
    with pytest.raises(TypeError) as caught:
        describe("x" * 1000)
    assert str(caught.value).endswith(f"Received: '{'x' * 196}... (of type str).")


def test_no_framework_is_imported() -> None:
    """Describing a list, and refusing an object, imports none."""
    code = (
        "import sys\nfrom fanin.models.registry import describe\n"
        "describe([{'path': 'a', 'shape': [1]}])\n"
        "try:\n    describe(3)\nexcept TypeError:\n    print(*{name.partition('.')[0] for name in sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "keras", "tf_keras", "tensorflow", "jax"} & {*run.stdout.split()}


def test_homes() -> None:
    """Every framework's home is a folder of fanin's that is there, tf_keras and Keras before what they are made of."""
    from importlib.util import find_spec

    assert [home.package for home in registry.HOMES] == ["tf_keras", "keras", "torch", "jax"]
    for home in registry.HOMES:
        spec: Any = find_spec(home.folder)
        assert spec.origin.endswith("__init__.py")
