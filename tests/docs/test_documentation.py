"""The examples of docstrings, README and docs, run."""

import doctest
import importlib
import importlib.util
import os
from pathlib import Path

import pytest

import doc_pages
import fanin

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
ROOT = Path(__file__).parents[2]
SOURCE = Path(fanin.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if path.name != "__main__.py"  # which runs the command line
)
# A module, or the first two parts of its name → what must be installed for it.
NEEDS = {
    "fanin.cli": ("click", "rich"),
    "fanin.jax": ("jax", "flax"),
    "fanin.keras": ("tensorflow", "keras"),
    "fanin.report.figures": ("matplotlib",),
    "fanin.tf_keras": ("tensorflow", "tf_keras"),
    "fanin.torch": ("torch",),
}
PAGES = doc_pages.PAGES
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.filterwarnings("ignore")  # those of the frameworks' imports
def test_docstrings(name: str) -> None:
    """Every example in a module gives what it says."""
    for package in NEEDS.get(name, NEEDS.get(".".join(name.split(".")[:2]), ())):
        pytest.importorskip(package)
    assert doctest.testmod(importlib.import_module(name), optionflags=OPTIONS).failed == 0


def test_docstrings_are_found() -> None:
    """The classes' examples are among them: one for each of the fifteen."""
    modules = [importlib.import_module(name) for name in MODULES if name.startswith("fanin.initializers.")]
    examples = [each for module in modules for each in doctest.DocTestFinder().find(module) if each.examples]
    assert {each.name.rpartition(".")[2] for each in examples} >= {cls.__name__ for cls in fanin.initializers.CLASSES}


@pytest.mark.parametrize("path", PAGES, ids=doc_pages.name_of)
@pytest.mark.filterwarnings("ignore")  # those of tf_keras's import
def test_pages(path: Path) -> None:
    """Every `>>>` example of a page gives what it says, tf_keras's own where tf_keras is installed."""
    name = doc_pages.name_of(path).removeprefix("docs/")
    needed = {
        "api/jax.md": ("jax",),
        "api/keras.md": ("tensorflow", "keras"),
        "api/tf_keras.md": ("tf_keras",),
        "api/torch.md": ("torch",),
        "as_written.md": ("torch",),
        "coming_from.md": ("torch", "jax"),
        "dcp.md": ("torch",),
        "frameworks.md": ("tf_keras", "keras", "torch", "jax", "flax"),
        "layouts.md": ("torch",),
        "index.md": ("torch", "jax", "tensorflow", "keras", "tf_keras"),
        "models.md": ("torch", "tensorflow", "keras"),
        "probe.md": ("torch",),
        "recordings.md": ("torch",),
        "sharding.md": ("torch", "jax", "flax", "optax", "orbax.checkpoint"),
    }
    for framework in needed.get(name, ()):
        pytest.importorskip(framework)
    page = doctest.DocTestParser().get_doctest(path.read_text(encoding="utf-8"), {}, name, str(path), 0)
    if importlib.util.find_spec("tf_keras") is None:
        page.examples = [each for each in page.examples if "tf_keras" not in each.source]
    assert len(page.examples) >= {
        "README.md": 2,
        "audit.md": 20,
        "as_written.md": 14,
        "bits.md": 35,
        "checkpoints.md": 14,
        "choosing.md": 47,
        "coming_from.md": 8,
        "dcp.md": 15,
        "guide.md": 18,
        "index.md": 14,
        "promise.md": 5,
        "frameworks.md": 37,
        "initializers.md": 57,
        "layouts.md": 24,
        "models.md": 18,
        "probe.md": 14,
        "seeds.md": 29,
        "sharding.md": 19,
    }.get(name, 0)
    assert doctest.DocTestRunner(optionflags=OPTIONS).run(page).failed == 0
