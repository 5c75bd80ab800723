"""Rules that fanin's source keeps, checked on its syntax trees.

Each rule is a function of {module's name: its text} and returns the violations. fanin has none; small sources that
break a rule on purpose show that it can fail.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import fanin

FOLDER = Path(fanin.__file__).parent
Sources = Mapping[str, str]

# A module may import modules of earlier lines, and not the others of its own line. fanin/__init__.py may name anything,
# because it loads what it names at its first use.
ORDER = (
    ("_native",),
    ("_core",),
    ("distributions", "report", "utils"),
    ("initializers",),
    ("models", "theory"),
    ("recipes",),
    ("checkpoints",),
    ("audits",),
    ("_keras",),
    ("torch", "jax", "keras", "tf_keras"),
    ("cli",),
    ("__main__",),
)
LAYERS = {name: layer for layer, names in enumerate(ORDER) for name in names}
# Who may import modules by names that are known only at run time, and what these modules are.
DYNAMIC = {
    "fanin": "the homes of the public names",
    "fanin.models.registry": "the folder of a framework that is loaded already",
    "fanin.models.arguments": "the user's factory",
    "fanin.cli.bench": "frameworks, to measure them",
}
# They may be imported in spite of the underscore; the private names within them may not.
PRIVATE_MODULES = {"_native", "_core", "_keras"}
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
BY_NAME = ("getattr", "setattr", "hasattr", "delattr")
LONGEST, SHORTEST = 600, 40
SHORT: dict[str, str] = {}
MOST_AT_THE_TOP = 16
# Here the words for numbers mean the parameters of distributions.
OF_VALUES = (
    "fanin._native",
    "fanin._core.streams",
    "fanin._core.reference",
    "fanin.distributions",
    "fanin.distributions.weight",
)
# Names in the faces of the frameworks that have no underscore and are not public.
UNLISTED = {"describe": "what fanin.models.registry is given", "carriers": "what makes the initializer classes"}
# Words that nothing in fanin is called any more, and the words to use instead: everywhere, and in OF_VALUES.
REPLACED = {"pair": "stream", "cpu": "tier", "piece": "region", "maker": "weight", "what": "description"}
REPLACED_PARAMETERS = {"loc": "mean", "shift": "origin", "offset": "origin", "factor": "scale"}


def sources() -> dict[str, str]:
    """The text of every module of fanin, stubs included, by the module's name; a package's is that of `__init__`."""
    paths = [path for path in sorted(FOLDER.rglob("*.py*")) if path.suffix in (".py", ".pyi")]
    names = [
        ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts).removesuffix(".__init__") for path in paths
    ]
    return {name: path.read_text(encoding="utf-8") for name, path in zip(names, paths, strict=True)}


def is_private(name: str) -> bool:
    """Whether a name begins with an underscore, and is not one of Python's own."""
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__")) and name != "_"


# ---------------------------------------------------------------- imports


def imports(texts: Sources) -> Iterator[tuple[str, int, str]]:
    """Every import of a module of fanin's, within functions and for type checkers too: importer, line and module.

    The module is `fanin` where a name comes from fanin's own table, and `.` for a relative import.
    """
    for importer, text in texts.items():
        for node in ast.walk(ast.parse(text)):
            targets: list[str] = []
            if isinstance(node, ast.Import):
                for each in node.names:
                    if each.name.partition(".")[0] == "fanin":
                        targets += [each.name] if each.asname else [each.name, "fanin"]  # which it binds
            elif isinstance(node, ast.ImportFrom) and node.level:
                targets = ["."]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "fanin":
                for each in node.names:
                    name = f"{node.module}.{each.name}"
                    is_module = name in texts or (node.module == "fanin" and each.name in LAYERS)
                    if name != "fanin.__version__":
                        targets.append(name if is_module else str(node.module))
            yield from ((importer, node.lineno, target) for target in targets)  # pyright: ignore


def top(module: str) -> str:
    """The part of a module's name that has a place in the order, "" for fanin itself."""
    return module.partition(".")[2].partition(".")[0]


def wrong_imports(texts: Sources) -> list[str]:
    """Imports of modules that come later, that share the line, or by fanin's own table; and modules without a place."""
    homeless = sorted({top(module) for module in texts} - {""} - set(LAYERS))
    wrong = [f"fanin.{name} has no place in the order" for name in homeless]
    for importer, line, target in imports(texts):
        if importer == "fanin":
            continue
        if target == ".":
            wrong.append(f"{importer}:{line} has a relative import")
        elif top(importer) != top(target) and LAYERS.get(top(target), len(ORDER)) >= LAYERS.get(top(importer), 0):
            wrong.append(f"{importer}:{line} imports {target}")
    return wrong


def circles(texts: Sources) -> list[str]:
    """A circle of modules that import one another, if there is one."""
    graph: dict[str, set[str]] = {importer: set() for importer in texts if importer != "fanin"}
    for importer, _, target in imports(texts):
        if importer in graph:
            graph[importer].add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" imports ".join(reversed(error.args[1]))]
    return []


def dynamic_imports(texts: Sources, allowed: Collection[str] = tuple(DYNAMIC)) -> list[str]:
    """Imports by a name that is known only at run time, outside the modules that may have them."""
    wrong = []
    for module, text in texts.items():
        for node in ast.walk(ast.parse(text)):
            name = getattr(node, "id", getattr(node, "attr", getattr(node, "name", None)))
            if name in ("import_module", "__import__") and module not in allowed:
                wrong.append(f"{module}:{node.lineno} has {name}")  # pyright: ignore
    return wrong


# ---------------------------------------------------------------- names


def is_own(node: ast.expr) -> bool:
    """Whether an object is the method's own: `self`, `cls` or `super()`."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def assigned(node: ast.AST) -> Iterator[str]:
    """The names that a statement assigns to."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    for target in targets:
        for each in ast.walk(target) if isinstance(target, ast.expr) else ():
            if isinstance(each, ast.Name):
                yield each.id


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module or class, with those in its `if`, `try` and `with` blocks."""
    for node in body:
        yield node
        if not isinstance(node, DEFINITIONS):
            for blocks in ("body", "orelse", "finalbody", "handlers"):
                yield from statements(getattr(node, blocks, []))


def defined_in(body: list[ast.stmt]) -> set[str]:
    """What the statements of a module or class define and assign to."""
    nodes = list(statements(body))
    return {node.name for node in nodes if isinstance(node, DEFINITIONS)} | {
        name for node in nodes if not isinstance(node, DEFINITIONS) for name in assigned(node)
    }


def members(text: str) -> set[str]:
    """What the classes of a module define, and the attributes that methods give `self`."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            found |= defined_in(node.body)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_own(node.value):
            found.add(node.attr)
    return found


def accesses(text: str) -> Iterator[tuple[int, str, bool]]:
    """Every access to an attribute of an object other than `self`, by a dot or by `getattr` and its like.

    Line, name, and whether the object may be a module, because its name is an imported one.
    """
    tree = ast.parse(text)
    imported = {
        (each.asname or each.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for each in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner, name = node.value, node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in BY_NAME and len(node.args) > 1:
            owner, name = node.args[0], getattr(node.args[1], "value", None)
        else:
            continue
        root = owner
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(name, str) and not is_own(owner):
            yield node.lineno, name, isinstance(root, ast.Name) and root.id in imported


def reach_ins(texts: Sources) -> list[str]:
    """Private names of one module that another one uses. Those of frameworks are not fanin's, and pass."""
    of_modules = {module: defined_in(ast.parse(text).body) for module, text in texts.items()}
    of_objects = {module: members(text) for module, text in texts.items()}
    all_members = set().union(*of_objects.values())
    everything = all_members.union(*of_modules.values())
    wrong = []
    for module, text in texts.items():
        own = of_modules[module] | of_objects[module]
        for line, name, is_imported in accesses(text):
            if is_private(name) and name in (everything if is_imported else all_members) - own:
                wrong.append(f"{module}:{line} reads {name}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "fanin":
                names = [each.name for each in node.names if is_private(each.name)]
                allowed = PRIVATE_MODULES if node.module == "fanin" else ()
                wrong += [f"{module}:{node.lineno} imports {name}" for name in names if name not in allowed]
    return wrong


def named(text: str) -> Iterator[tuple[int, str]]:
    """The names that make up interfaces, with their lines: definitions, fields, attributes, arguments and keywords."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, DEFINITIONS):
            yield node.lineno, node.name
        if isinstance(node, ast.ClassDef):
            yield from ((each.lineno, name) for each in node.body for name in assigned(each))
        if isinstance(node, ast.arg):
            yield node.lineno, node.arg
        if isinstance(node, ast.keyword) and node.arg is not None:
            yield node.value.lineno, node.arg
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def replaced_words(texts: Sources) -> list[str]:
    """Names of functions, arguments and attributes that are not fanin's word for the thing."""
    wrong = []
    for module, text in texts.items():
        words = REPLACED | (REPLACED_PARAMETERS if module in OF_VALUES else {})
        for line, name in named(text):
            if name.lower().strip("_") in words:
                wrong.append(f"{module}:{line} calls something {name}: say {words[name.lower().strip('_')]}")
    return wrong


def bare(texts: Sources) -> list[str]:
    """Modules, and public functions, classes and methods, that have no docstring.

    A method that overrides a documented one may go without, and so may properties that their class's docstring lists.
    """
    documented, without, wrong = {"floatx", "threads", "tier", "call_semantics"}, [], []
    for module, text in texts.items():
        tree = ast.parse(text)
        if not ast.get_docstring(tree):
            wrong.append(module)
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for node in [*tree.body, *(member for each in classes for member in each.body)]:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
                continue
            if ast.get_docstring(node):
                documented.add(node.name)
            else:
                without.append((module, node.name))
    return wrong + [f"{module}.{name}" for module, name in without if name not in documented]


def ranked(name: str) -> tuple[int, list[int | str]]:
    """The place of a name in `__all__`: constants, then classes, then the rest."""
    digits = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]  # 64 before 128
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), digits


def unlisted(texts: Sources) -> list[str]:
    """What is wrong with `__all__`: its order, or a missing public name of the module or of a file of its folder."""
    wrong = []
    for module, text in texts.items():
        body = ast.parse(text).body
        if "__all__" not in defined_in(body):
            continue
        names = next(ast.literal_eval(each.value) for each in body if "__all__" in assigned(each))  # pyright: ignore
        if names != sorted(set(names), key=ranked):
            wrong.append(f"{module}.__all__ is not sorted")
        own = defined_in(body)
        for node in statements(body):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{module}."):
                own |= {each.asname or each.name for each in node.names}
        wrong += [
            f"{module}.{name} is not in __all__" for name in sorted(own - set(names) - set(UNLISTED)) if name[0] != "_"
        ]
    return wrong


# ---------------------------------------------------------------- sizes


def sizes(texts: Sources, short: Collection[str] = tuple(SHORT)) -> list[str]:
    """Files that are too long, or so short that they need a reason."""
    wrong = []
    for module, text in texts.items():
        lines = len(text.splitlines())
        if lines > LONGEST:
            wrong.append(f"{module} has {lines} lines")
        is_face = any(other.startswith(f"{module}.") for other in texts) or module.endswith(".__main__")
        if lines < SHORTEST and not is_face and module not in short:
            wrong.append(f"{module} has only {lines} lines")
    return wrong


def at_the_top(texts: Sources) -> list[str]:
    """The modules and packages that lie directly in fanin's folder, if they are too many."""
    found = sorted({top(module) for module in texts} - {"", "__main__", "_native"})
    return found if len(found) > MOST_AT_THE_TOP else []
