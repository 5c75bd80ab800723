"""How the library is built: imports go one way, importing it is light, the public names are complete."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fanin

SOURCE = Path(fanin.__file__).parent

# A module may import those of earlier lines, not of its own or later ones.
ORDER = [
    {"_native", "_words"},
    {"settings"},
    {"_dtypes", "_shapes", "_configs", "_layouts", "_reference", "_orthogonal"},
    {"_foreign"},
    {"_arrays"},
    {"_random", "_tensors"},
    {"distributions", "utils"},
    {"base"},
    {"initializers"},
    {"_expressions", "_recipe_files", "_parameters"},
    {"_plan_tables"},
    {"plans"},
    {"_planner"},
    {"_models"},
    {"_rules"},
    {"recipes", "_recipe_schema"},
    {"_carriers"},
    {"tf_keras", "keras", "torch", "jax"},
    {"bench"},
    {"report"},
    {"cli"},
]
HEAVY = ("scipy", "torch", "jax", "tensorflow", "keras", "tf_keras", "click", "rich", "hypothesis", "pandas")


def imported_modules(source: str, name: str) -> set[str]:
    """The fanin modules that a source imports at any place, `report.show` as `report`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {each.name.split(".")[1] for each in node.names if each.name.startswith("fanin.")}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            if node.module == "fanin":
                found |= {each.name for each in node.names}
            elif node.module and node.module.startswith("fanin."):
                found.add(node.module.split(".")[1])
    return found


def violations(name: str, source: str) -> set[str]:
    """The imports of a module that go the wrong way."""
    level = {module: position for position, modules in enumerate(ORDER) for module in modules}
    imported = {module for module in imported_modules(source, name) if module in level and module != name}
    return {module for module in imported if level[module] >= level[name]}


def test_imports_go_one_way() -> None:
    """From the syntax trees, so that imports within functions count too."""
    paths = [path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py"]
    names = {path: path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in paths}
    assert {*names.values(), "_native"} <= set.union(*ORDER), "a new module needs its place in ORDER"
    for path, name in names.items():
        assert violations(name, path.read_text()) == set(), path


def test_a_wrong_import_is_noticed() -> None:
    """The rule can fail."""
    assert violations("_shapes", "def f():\n    from fanin.initializers import Zeros") == {"initializers"}
    assert violations("base", "from fanin import initializers, _random") == {"initializers"}
    assert violations("base", "from fanin import _random") == set()


def loaded(code: str) -> set[str]:
    """The top-level modules of an interpreter after some code."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_using_fanin_loads_nothing_heavy() -> None:
    """NumPy and ml_dtypes, and no other package that takes its time, until something needs it."""
    modules = loaded("import fanin; fanin.HeNormal(seed=1)((2, 2), 'bfloat16')")
    assert {"numpy", "ml_dtypes"} <= modules
    assert not modules & set(HEAVY)


def test_the_heavy_would_be_noticed() -> None:
    """The check can fail: Orthogonal loads SciPy."""
    pytest.importorskip("scipy")
    assert "scipy" in loaded("import fanin; fanin.Orthogonal(seed=1)((2, 2))")


def test_public_names() -> None:
    """Everything in __all__ is there, has a docstring, and stays the same object."""
    for name in fanin.__all__:
        value = getattr(fanin, name)
        assert value is getattr(fanin, name)
        assert name == "__version__" or value.__doc__, name
    assert set(dir(fanin)) == set(fanin.__all__)
    with pytest.raises(AttributeError, match="module 'fanin' has no attribute 'HeNorml'"):
        _ = fanin.HeNorml  # pyright: ignore[reportAttributeAccessIssue]
    code = "import fanin; fanin.jax"
    hint = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "module 'fanin' has no attribute 'jax'. Import it by name: import fanin.jax" in hint.stderr


def test_every_module_and_function_has_a_docstring() -> None:
    """Public ones; a method that overrides a documented one, and what a class's own docstring lists, may go without."""
    documented, bare = {"floatx", "threads", "cpu", "call_semantics"}, []
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for node in [*tree.body, *(member for each in classes for member in each.body)]:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
                continue
            if ast.get_docstring(node):
                documented.add(node.name)
            else:
                bare.append((path.name, node.name))
    assert [(path, name) for path, name in bare if name not in documented] == []
