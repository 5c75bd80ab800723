"""What is fuzzed: each target takes any bytes, and raises AssertionError alone, when fanin misbehaves.

Files and texts from elsewhere may raise the library's documented errors only, take a second for every 100 kB at most,
and import nothing that they name.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fanin
from fanin.models.files import describe_file
from fanin.recipes import RecipeError
from fanin.recipes.expressions import VARIABLES, Expression

CORPUS = Path(__file__).parent.parent / "fuzz" / "corpus"  # a folder for each target
_SECONDS = 1.0
# What reading a file or a text may import when it is first needed.
_IMPORTS = {
    *("fanin", "numpy", "ml_dtypes", "yaml", "tomllib", "tomli_w", "safetensors", "json", "encodings", "difflib"),
    *("ast", "inspect", "hashlib", "random", "fnmatch", "unicodedata", "stringprep", "linecache", "tokenize"),
}
_MODEL = [
    {"path": "blocks.0.dense.kernel", "shape": [3, 4], "layout": "keras"},
    {"path": "blocks.0.dense.bias", "shape": [4], "role": "bias", "dtype": "bfloat16"},
]
_NUMBERS = {**dict.fromkeys(VARIABLES, 3.0), "width": 0.5, "config.hidden_size": 64.0}
fanin.Orthogonal(seed=1)((2, 2))  # imports SciPy


@contextmanager
def well_behaved(size: int, *errors: type[Exception]) -> Iterator[None]:
    """Fails for an error that is not exactly one of these types, for too much time, and for foreign imports."""
    modules = set(sys.modules)
    begin = time.process_time()
    try:
        yield
    except Exception as error:  # a raw UnicodeDecodeError is a ValueError, too, and one for long integers has no name
        if type(error) not in errors or "Exceeds the limit" in str(error):
            raise AssertionError(f"a raw {type(error).__name__}: {error}"[:500]) from error
    seconds = time.process_time() - begin
    assert seconds < _SECONDS * (1 + size / 1e5), f"{seconds:.1f} s for {size} bytes"
    foreign = {name.partition(".")[0] for name in set(sys.modules) - modules} - _IMPORTS
    assert not {name for name in foreign if not name.startswith("_")}, f"imported: {', '.join(sorted(foreign))}"


def _written(data: bytes, folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _recipe(data: bytes, folder: Path, name: str) -> None:
    """A recipe's file is loaded, planned, and written as TOML."""
    path = _written(data, folder, name)
    with well_behaved(len(data), RecipeError):
        recipe = fanin.Recipe.load(path)
        str(recipe.plan(_MODEL))
        assert fanin.Recipe.load(_written(recipe.to_toml().encode(), folder, "again.toml")) == recipe


def _expression(data: bytes, folder: Path) -> None:
    """An expression is read and evaluated."""
    del folder
    text = data.decode("utf-8", "surrogateescape")
    with well_behaved(len(data), ValueError):
        Expression(text, {"width"}).value(_NUMBERS)


def _identifier(data: bytes, folder: Path) -> None:
    """A name or a configuration becomes an initializer, which describes itself and makes a tensor."""
    del folder
    text = data.decode("utf-8", "replace")
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    for read in (fanin.get, fanin.deserialize):
        with well_behaved(len(data), ValueError, TypeError, NotImplementedError):  # "Initializer" is a name, too
            initializer = read(value)
            if initializer is not None:
                assert initializer == initializer
                assert repr(initializer)
                fanin.serialize(initializer)
                initializer((2, 2), "bfloat16")


def _shapes(data: bytes, folder: Path, name: str) -> None:
    """A file of names and shapes is described and planned."""
    path = _written(data, folder, name)
    with well_behaved(len(data), ValueError):
        str(fanin.Recipe.preset("torch").plan(describe_file(path)))


def _safetensors(data: bytes, folder: Path) -> None:
    """A safetensors file of which the data are the header, with its length in front and some zeros behind."""
    _shapes(len(data).to_bytes(8, "little") + data + bytes(64), folder, "shapes.safetensors")


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    "recipe_toml": lambda data, folder: _recipe(data, folder, "recipe.toml"),
    "recipe_yaml": lambda data, folder: _recipe(data, folder, "recipe.yaml"),
    "expression": _expression,
    "identifier": _identifier,
    "shapes_json": lambda data, folder: _shapes(data, folder, "shapes.json"),
    "shapes_toml": lambda data, folder: _shapes(data, folder, "shapes.toml"),
    "safetensors": _safetensors,
}
