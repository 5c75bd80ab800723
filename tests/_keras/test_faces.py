"""`fanin.keras` and `fanin.tf_keras` as they are imported: names, signatures, and what editors are told of them."""

from __future__ import annotations

import ast
import importlib
import inspect
import pathlib
import re
import sys
from types import ModuleType
from typing import Any

import pytest

import fanin._keras
from fanin.initializers import SeededInitializer
from keras_kit import Kit, imported
from strategies import CLASSES

SHORTCUTS = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): name for name in CLASSES}
OF_KERAS_3 = ("STFT",)  # classes that tf_keras does not have
ALIASES = {"IdentityInitializer": "Identity", "OrthogonalInitializer": "Orthogonal", "STFTInitializer": "STFT"}
FUNCTIONS = ("get", "initialize", "patch", "probe", "recipe_of", "unpatch")
SHARED = ("Initializer", "deserialize", "serialize")  # under the names of the frameworks' own
AXES = [("input_axes", None), ("output_axes", None)]
OWN_AXES = [("in_axis", -2), ("out_axis", -1), ("batch_axis", ())]


# Names


def public_names(kit: Kit) -> list[str]:
    """All names of the module for users: constants, classes and functions, each in order."""
    further = [*OF_KERAS_3, *ALIASES, "stft"] if kit.name == "keras" else []
    names = [*CLASSES, *SHORTCUTS, *FUNCTIONS, *SHARED, *further, f"as_{kit.name}"]
    return sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name))


def test_all_names_are_public(kit: Kit) -> None:
    """`__all__` has every public name and no other, in order."""
    assert kit.ours.__all__ == public_names(kit)


def test_no_other_name_is_public(kit: Kit) -> None:
    """What the module imports of its own is in `__all__`, but for `describe`, which is registered with fanin.models."""
    own = [
        name
        for name, value in vars(kit.ours).items()
        if not name.startswith("_") and getattr(value, "__module__", "").partition(kit.ours.__name__)[1]
    ]
    theirs = {"Initializer", "serialize"}  # the frameworks' own functions
    assert {*own, *theirs} - {"describe"} == set(public_names(kit))


def test_all_names_can_be_imported(kit: Kit) -> None:
    """`from fanin.keras import *` brings every public name, and nothing else."""
    names: dict[str, Any] = {}
    exec(f"from {kit.ours.__name__} import *", names)
    del names["__builtins__"]
    assert set(names) == set(public_names(kit))
    assert all(value is getattr(kit.ours, name) for name, value in names.items())


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_shortcuts(shortcut: str, kit: Kit) -> None:
    """The names in lower case are the classes themselves."""
    assert getattr(kit.ours, shortcut) is getattr(kit.ours, SHORTCUTS[shortcut])


def test_names_of_keras_are_there(kit: Kit) -> None:
    """Every name of the framework's own module of initializers is a name here."""
    theirs = {name for name in dir(kit.keras.initializers) if name[0] != "_"}
    assert theirs <= set(kit.ours.__all__)


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases_of_keras_3(alias: str) -> None:
    """Keras 3's older names are the classes themselves."""
    kit = Kit("keras")
    assert getattr(kit.ours, alias) is getattr(kit.ours, ALIASES[alias])
    assert kit.ours.stft is kit.ours.STFT


def described(function: Any) -> list[tuple[str, Any, str]]:
    """The parameters of a function, with defaults, kinds and annotations."""
    parameters = inspect.signature(function).parameters.values()
    return [(each.name, each.default, f"{each.kind.name} {each.annotation}") for each in parameters]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_have_the_same_signatures(name: str) -> None:
    """Parameters, their order, defaults and types are the same in both modules, of `initialize` above all."""
    functions = []
    for library in ("tf_keras", "keras"):
        imported(library)
        functions.append(getattr(importlib.import_module(f"fanin.{library}"), name))
    assert described(functions[0]) == described(functions[1])
    assert name != "initialize" or [each for each, _, _ in described(functions[0])] == [
        *("model", "recipe", "seed", "only", "skip", "names", "unmatched", "progress", "prefix")
    ]


# Where a framework is missing

MISSING = [
    ("keras", "keras", "Keras 3 is not installed: pip install 'fanin[keras]'."),
    ("keras", "keras.src", None),
    ("tf_keras", "tensorflow", "tf_keras with TensorFlow is not installed: pip install 'fanin[tensorflow]'."),
    ("tf_keras", "tf_keras", "tf_keras with TensorFlow is not installed: pip install 'fanin[tensorflow]'."),
    ("tf_keras", "tensorflow.python.util", None),
]


@pytest.mark.parametrize(("library", "module", "sentence"), MISSING, ids=[module for _, module, _ in MISSING])
def test_a_missing_framework_is_named(
    library: str, module: str, sentence: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence says what to install; but an installation that lacks a part of its own raises what it raises."""
    imported(library)
    for name in [name for name in sys.modules if f"{name}.".startswith(f"fanin.{library}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ImportError) as caught:
        importlib.import_module(f"fanin.{library}")
    assert caught.value.name == module
    assert (str(caught.value) == sentence) == (sentence is not None)
    assert ("is not installed" in str(caught.value)) == (sentence is not None)


# What type checkers and editors read in place of the classes, which are made at run time

DECLARED = pathlib.Path(fanin._keras.__file__).with_name("declared.pyi")
STATEMENTS = ast.parse(DECLARED.read_text(encoding="utf-8")).body
DECLARATIONS = {each.name: each for each in STATEMENTS if isinstance(each, ast.ClassDef)}
BASES = ("KerasInitializer", "Seeded")


def methods_of(name: str) -> dict[str, ast.FunctionDef]:
    """The methods that a class is declared to have of its own."""
    return {each.name: each for each in DECLARATIONS[name].body if isinstance(each, ast.FunctionDef)}


def declared_parameters(method: ast.FunctionDef) -> list[tuple[str, Any]]:
    """The names and defaults of what a method is declared to take by name, without the first one."""
    arguments = method.args
    assert [arguments.posonlyargs, arguments.vararg] == [[], None]
    defaults = [ast.literal_eval(each) for each in arguments.defaults]
    required = [inspect.Parameter.empty] * (len(arguments.args) - len(defaults))
    positional = list(zip((each.arg for each in arguments.args), [*required, *defaults], strict=True))[1:]
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return positional + [(each.arg, default and ast.literal_eval(default)) for each, default in keywords]


def parameters(function: Any) -> list[tuple[str, Any]]:
    """The names and defaults of what a function takes by name."""
    found = inspect.signature(function).parameters.values()
    return [(each.name, each.default) for each in found if each.kind is not each.VAR_KEYWORD]


def test_declared_names() -> None:
    """Every class and shortcut is declared, and nothing else."""
    assert set(DECLARATIONS) == {*CLASSES, *OF_KERAS_3, *BASES}
    shortcuts = {
        each.targets[0].id: each.value.id
        for each in STATEMENTS
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name) and isinstance(each.value, ast.Name)
    }
    assert shortcuts == {**SHORTCUTS, **ALIASES, "stft": "STFT"}
    imports = sum(isinstance(each, (ast.Import, ast.ImportFrom)) for each in STATEMENTS)
    assert len(STATEMENTS) == 1 + imports + len(DECLARATIONS) + len(shortcuts)  # the docstring is the first one


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_declared_names_are_imported(library: str) -> None:
    """Type checkers import every class and shortcut, and nothing else."""
    source = pathlib.Path(fanin.__file__).parent.joinpath(library, "__init__.py").read_text(encoding="utf-8")
    (choice,) = [each for each in ast.parse(source).body if isinstance(each, ast.If)]
    assert ast.unparse(choice.test) == "TYPE_CHECKING"
    (imports,) = choice.body
    assert isinstance(imports, ast.ImportFrom)
    assert imports.module == "fanin._keras.declared"
    further = [*OF_KERAS_3, *ALIASES, "stft"] if library == "keras" else []
    assert sorted(each.asname or each.name for each in imports.names) == sorted([*CLASSES, *SHORTCUTS, *further])


@pytest.mark.parametrize("name", CLASSES)
def test_declared_arguments(name: str, kit: Kit) -> None:
    """A class is declared with its arguments and defaults; Keras 3's axes for fans, and fanin's, are further ones."""
    method = methods_of(name).get("__init__")
    actual = parameters(getattr(kit.ours, name))
    takes_axes = method is not None and method.args.kwarg is not None
    assert takes_axes == issubclass(getattr(fanin, name), fanin.VarianceScaling)
    if takes_axes:
        axes = [*(AXES if kit.name == "keras" else []), *OWN_AXES]
        assert actual[-len(axes) :] == axes
        actual = actual[: -len(axes)]
    declared = [] if method is None else declared_parameters(method)
    assert repr(declared) == repr(actual)  # of 0.0 and 0, too


@pytest.mark.parametrize("name", CLASSES)
def test_declared_bases(name: str, kit: Kit) -> None:
    """A class is declared to have a seed if it has one, and its attributes and methods are there."""
    (base,) = [ast.unparse(each) for each in DECLARATIONS[name].bases]
    assert base == BASES[issubclass(getattr(fanin, name), SeededInitializer)]
    assert set(methods_of(name)) <= {"__init__"}
    made = getattr(kit.ours, name)()
    for each in BASES[: 1 + BASES.index(base)]:
        attributes = [part.target for part in DECLARATIONS[each].body if isinstance(part, ast.AnnAssign)]
        for attribute in (*map(ast.unparse, attributes), *methods_of(each)):
            assert hasattr(made, attribute), attribute


@pytest.mark.parametrize("name", ["__call__", "get_config", "from_config"])
def test_declared_methods(name: str, kit: Kit) -> None:
    """The methods of all classes are declared with their arguments; what the two do not share is any further one."""
    method, actual = methods_of("KerasInitializer")[name], parameters(getattr(kit.ours.HeNormal(), name))
    declared = declared_parameters(method)
    assert declared == actual[: len(declared)]
    assert len(declared) == len(actual) or method.args.kwarg is not None


def test_declared_documentation() -> None:
    """Everything that is declared says what it is."""
    assert all(ast.get_docstring(each) for each in DECLARATIONS.values())
    assert all(ast.get_docstring(each) for each in methods_of("KerasInitializer").values())


def test_declarations_are_of_no_module() -> None:
    """The file is for type checkers alone: there is no module of that name."""
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("fanin._keras.declared")
    assert isinstance(fanin._keras, ModuleType)
