"""How the library is built: imports go one way, nothing private is shared, importing it is light."""

import importlib
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

import fanin
import syntax_trees as rules

HEAVY = ("scipy", "torch", "jax", "tensorflow", "keras", "tf_keras", "click", "rich", "hypothesis", "pandas")
# The public modules that gather names from others, and what must be installed for them.
FACES = {
    "fanin": (),
    "fanin.initializers": (),
    "fanin.recipes": (),
    "fanin.checkpoints": (),
    "fanin.torch": ("torch",),
    "fanin.jax": ("jax",),
    "fanin.keras": ("tensorflow", "keras"),
    "fanin.tf_keras": ("tensorflow", "tf_keras"),
}
NEEDED = {"TYPE_CHECKING", "missing", *rules.UNLISTED}  # by the faces themselves
SOURCES = rules.sources()
Rule = Callable[[rules.Sources], list[str]]

LINE = "'''A.'''\n"
SEVENTEEN = {f"fanin.m{number}": "" for number in range(17)}
BROKEN: dict[str, tuple[Rule, dict[str, str], list[str]]] = {
    "an import within a function": (
        rules.wrong_imports,
        {"fanin._core.shapes": "def f():\n    from fanin.initializers import Zeros"},
        ["fanin._core.shapes:2 imports fanin.initializers"],
    ),
    "an import for types": (
        rules.wrong_imports,
        {"fanin.distributions.weight": "if TYPE_CHECKING:\n    import fanin.recipes.plan as plan"},
        ["fanin.distributions.weight:2 imports fanin.recipes.plan"],
    ),
    "one of two": (
        rules.wrong_imports,
        {"fanin.report": "from fanin import distributions, _native"},
        ["fanin.report:1 imports fanin.distributions"],
    ),
    "a framework's of another": (
        rules.wrong_imports,
        {"fanin.torch.fill": "from fanin.jax.arrays import as_jax", "fanin.keras": "import fanin.tf_keras as tf_keras"},
        ["fanin.torch.fill:1 imports fanin.jax.arrays", "fanin.keras:1 imports fanin.tf_keras"],
    ),
    "upwards by the public table": (
        rules.wrong_imports,
        {"fanin.models.names": "from fanin import Recipe", "fanin.cli": "import fanin.report"},
        ["fanin.models.names:1 imports fanin", "fanin.cli:1 imports fanin"],
    ),
    "a relative import": (
        rules.wrong_imports,
        {"fanin.models.names": "from . import x"},
        ["fanin.models.names:1 has a relative import"],
    ),
    "a new folder": (rules.wrong_imports, {"fanin.plots.bars": ""}, ["fanin.plots has no place in the order"]),
    "a circle of three": (
        rules.circles,
        {
            "fanin.recipes.plan": "from fanin.recipes import rules",
            "fanin.recipes.rules": "def f():\n    from fanin.recipes.entry import Entry",
            "fanin.recipes.entry": "if TYPE_CHECKING:\n    from fanin.recipes.plan import Plan",
        },
        ["fanin.recipes.plan imports fanin.recipes.rules imports fanin.recipes.entry imports fanin.recipes.plan"],
    ),
    "a folder and its file": (
        rules.circles,
        {
            "fanin.recipes": "from fanin.recipes.plan import Plan",
            "fanin.recipes.plan": "from fanin.recipes import Plan",
        },
        ["fanin.recipes imports fanin.recipes.plan imports fanin.recipes"],
    ),
    "a name at run time": (
        rules.dynamic_imports,
        {
            "fanin.distributions.weight": "import importlib\nimportlib.import_module(name)",
            "fanin.utils": "from importlib import import_module as load",
            "fanin.recipes.plan": "__import__('fanin.torch')",
            "fanin.models.registry": "importlib.import_module(home.folder)",
        },
        [
            "fanin.distributions.weight:2 has import_module",
            "fanin.utils:1 has import_module",
            "fanin.recipes.plan:1 has __import__",
        ],
    ),
    "another's method": (
        rules.reach_ins,
        {
            "fanin.initializers.base": "class Initializer:\n    def _draw(self): ...",
            "fanin.jax.arrays": "def f(initializer):\n    initializer._draw()",
            "fanin.torch.fill": "getattr(initializer, '_draw')",
        },
        ["fanin.jax.arrays:2 reads _draw", "fanin.torch.fill:1 reads _draw"],
    ),
    "another's attribute": (
        rules.reach_ins,
        {
            "fanin.initializers.base": "class Seeded:\n    def __init__(self):\n        self._seed, self._calls = 0, 0",
            "fanin.keras.classes": "initializer._calls += 1",
            "fanin.tf_keras.classes": "class Mine(Seeded):\n    _seed = super()._seed = cls._seed",
        },
        ["fanin.keras.classes:1 reads _calls"],
    ),
    "another's class attribute": (
        rules.reach_ins,
        {"fanin._keras.classes": "class A:\n    _wrap: int = 1", "fanin.keras": "class B(A): ...\n\nB._wrap = 2"},
        ["fanin.keras:3 reads _wrap"],
    ),
    "another module's name": (
        rules.reach_ins,
        {
            "fanin._core.shapes": "if x:\n    _LIMIT = 3",
            "fanin.distributions.weight": "from fanin._core import shapes\nshapes._LIMIT",
            "fanin.utils": "import fanin._core.shapes\nfanin._core.shapes._LIMIT",
        },
        ["fanin.distributions.weight:2 reads _LIMIT", "fanin.utils:2 reads _LIMIT"],
    ),
    "an import of a private name": (
        rules.reach_ins,
        {"fanin.distributions": "from fanin._core.shapes import Region, _box\nfrom fanin import _native, _words"},
        ["fanin.distributions:1 imports _box", "fanin.distributions:2 imports _words"],
    ),
    "words": (
        rules.replaced_words,
        {
            "fanin.distributions": "class Normal:\n    loc: float\n\ndef f(self, shift, factor=1): ...",
            "fanin.distributions.weight": "Affine(offset=0)",
            "fanin._core.streams": "class Pair: ...",
            "fanin.recipes.entry": "def f(piece, *, _what): ...",
            "fanin._core.settings": "def f(self):\n    self.cpu = 1",
        },
        [
            "fanin.distributions:2 calls something loc: say mean",
            "fanin.distributions:4 calls something shift: say origin",
            "fanin.distributions:4 calls something factor: say scale",
            "fanin.distributions.weight:1 calls something offset: say origin",
            "fanin._core.streams:1 calls something Pair: say stream",
            "fanin.recipes.entry:1 calls something piece: say region",
            "fanin.recipes.entry:1 calls something _what: say description",
            "fanin._core.settings:2 calls something cpu: say tier",
        ],
    ),
    "a public name that is not listed": (
        rules.unlisted,
        {
            "fanin.torch": "from fanin.torch.fill import fill_, a as _a\nfrom fanin.models import registry\n"
            "from fanin.torch.describe import describe\n__all__ = ['he_', 'fill_', 'X', 'Aa']\nif x:\n    ones_ = 1",
            "fanin.models.names": "def f(): ...",
            "fanin.utils": "def f(): ...\n__all__ = []",
        },
        ["fanin.torch.__all__ is not sorted", "fanin.torch.ones_ is not in __all__", "fanin.utils.f is not in __all__"],
    ),
    "no docstring": (
        rules.bare,
        {
            "fanin.utils": "def f(): ...",
            "fanin.distributions.weight": "'''Weights.'''\n\nclass Weight:\n    '''One.'''\n"
            "    def fill(self): ...\n    def _f(self): ...",
        },
        ["fanin.utils", "fanin.utils.f", "fanin.distributions.weight.fill"],
    ),
    "too long and too short": (
        rules.sizes,
        {
            "fanin.utils": LINE * 601,
            "fanin.distributions.weight": LINE * 600,
            "fanin.cli": LINE * 39,
            "fanin.audits": LINE,
            "fanin.audits.inspections": LINE * 40,
            "fanin.__main__": LINE,
        },
        ["fanin.utils has 601 lines", "fanin.cli has only 39 lines"],
    ),
    "too many": (
        rules.at_the_top,
        {"fanin": "", "fanin.__main__": "", "fanin._native": "", "fanin.m0.n": "", **SEVENTEEN},
        sorted(name.removeprefix("fanin.") for name in SEVENTEEN),
    ),
}
SOUND: dict[str, tuple[Rule, dict[str, str]]] = {
    "imports": (
        rules.wrong_imports,
        {
            "fanin": "from fanin.torch import fill_",
            "fanin.cli": "from fanin import __version__, initializers\nimport numpy, fantastic",
            "fanin.distributions.weight": "import fanin._core.shapes as shapes",
            "fanin.recipes.plan": "from fanin.recipes import rules",
            "fanin.recipes.rules": "",
        },
    ),
    "no circle": (
        rules.circles,
        {
            "fanin": "from fanin.recipes import Plan",
            "fanin.recipes": "from fanin.recipes.plan import Plan",
            "fanin.recipes.plan": "from fanin.recipes import rules",
            "fanin.recipes.rules": "import fanin",
        },
    ),
    "frameworks' own names": (
        rules.reach_ins,
        {
            "fanin.torch.initialize": "module._buffers[leaf] = new\nparameters = module._parameters\n_parameters()",
            "fanin.initializers.configs": "def _parameters(cls): ...",
            "fanin.distributions.weight": "weight._replace(axes=axes)",
            "fanin.tf_keras.classes": "class Mine(Base):\n    _mine = 1\n\n"
            "    def f(self, other):\n        return self._of_base, other._mine",
            "fanin.initializers.base": "class Base:\n    _of_base = 1",
        },
    ),
    "words of another meaning": (
        rules.replaced_words,
        {
            "fanin.torch.layers": "def norm(offset): ...\ntensor.cpu()",
            "fanin.distributions.weight": "def pieces(self, regions):\n    shift = 1\n    for piece in pair: ...",
        },
    ),
    "an override": (
        rules.bare,
        {
            "fanin.distributions.weight": "'''A.'''\nclass A:\n    '''A.'''\n    def f(self):\n        '''A.'''\n"
            "class B:\n    '''B.'''\n    def f(self): ..."
        },
    ),
    "sixteen": (rules.at_the_top, {"fanin": "", "fanin.__main__": "", **dict([*SEVENTEEN.items()][1:])}),
}


@pytest.mark.parametrize(
    "rule",
    [
        rules.wrong_imports,
        rules.circles,
        rules.dynamic_imports,
        rules.reach_ins,
        rules.replaced_words,
        rules.unlisted,
        rules.bare,
        rules.sizes,
        rules.at_the_top,
    ],
    ids=lambda rule: rule.__name__,
)
def test_rules(rule: Rule) -> None:
    """The source keeps every rule, which its syntax trees show."""
    assert rule(SOURCES) == []


@pytest.mark.parametrize("case", BROKEN)
def test_what_breaks_a_rule_is_noticed(case: str) -> None:
    """Every rule can fail, and says where."""
    rule, texts, violations = BROKEN[case]
    assert sorted(rule(texts)) == sorted(violations)


@pytest.mark.parametrize("case", SOUND)
def test_what_keeps_a_rule_passes(case: str) -> None:
    """No rule forbids what only looks like a violation."""
    rule, texts = SOUND[case]
    assert rule(texts) == []


def test_all_sources_are_read() -> None:
    """The rules see every file, what is within the functions of `fanin.cli` and stubs among them."""
    assert {"fanin", "fanin._native", "fanin._keras.declared", "fanin.cli", "fanin.recipes.plan"} <= set(SOURCES)
    assert ("fanin.cli.commands", "fanin.cli.bench") in {
        (importer, target) for importer, _, target in rules.imports(SOURCES)
    }
    assert len(SOURCES) == sum(1 for suffix in ("py", "pyi") for _ in rules.FOLDER.rglob(f"*.{suffix}"))


@pytest.mark.parametrize("module", [*rules.DYNAMIC, *rules.SHORT])
def test_exceptions_are_needed(module: str) -> None:
    """A module that is listed as an exception would break the rule."""
    only = {module: SOURCES[module]}
    assert rules.dynamic_imports(only, allowed=()) if module in rules.DYNAMIC else rules.sizes(only, short=())


def loaded(code: str) -> set[str]:
    """The modules of an interpreter after some code."""
    code += "\nimport sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_using_fanin_loads_nothing_heavy() -> None:
    """NumPy and ml_dtypes, and no other package that takes its time, until something needs it."""
    modules = loaded("import fanin; fanin.HeNormal(seed=1)((2, 2), 'bfloat16')")
    assert {"numpy", "ml_dtypes"} <= modules
    assert not modules & set(HEAVY)
    assert not modules & {
        f"fanin.{name}" for name in ("checkpoints", "recipes", "models", "_keras", "torch", "report", "cli")
    }


def test_importing_fanin_loads_nothing() -> None:
    """The public names are loaded at their first use, and the import needs no NumPy."""
    assert {name for name in loaded("import fanin") if name.partition(".")[0] == "fanin"} == {"fanin"}
    assert "numpy" not in loaded("import fanin")
    assert "numpy" in loaded("import fanin; fanin.HeNormal")


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


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("KaimingNormal", "PyTorch's kaiming_normal is"),
        ("xavier_uniform", "Did you mean 'GlorotUniform'?"),
        ("diff", "Did you mean 'compare_checkpoints'?"),
        ("check", "Did you mean 'audit'?"),
    ],
)
def test_names_of_others(name: str, hint: str) -> None:
    """A name that another package has, or a command, leads to that of fanin's function."""
    with pytest.raises(AttributeError) as caught:
        getattr(fanin, name)
    assert hint in str(caught.value)


@pytest.mark.parametrize("name", FACES)
@pytest.mark.filterwarnings("ignore")  # those of the frameworks' imports
def test_faces(name: str) -> None:
    """A public module shows the names of its `__all__`, and besides them only what it needs for itself."""
    for framework in FACES[name]:
        pytest.importorskip(framework)
    module = importlib.import_module(name)
    assert all(hasattr(module, each) for each in module.__all__)
    modules = {each for each in dir(module) if isinstance(getattr(module, each), ModuleType)}
    private = {each for each in dir(module) if each.startswith("_")}
    assert set(dir(module)) - modules - private - NEEDED == set(module.__all__) - modules - private
