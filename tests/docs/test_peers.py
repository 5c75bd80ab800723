"""The tables of docs/peers.md: every name that the installed libraries have, and the law that each row claims.

The tables of docs/coming_from.md are shorter; their rows claim laws, and of tf_keras values, too.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import inspect
import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import stats

import fanin

PAGE = Path(__file__).parents[2] / "docs/peers.md"
SHORT = PAGE.with_name("coming_from.md")
CODE = re.compile(r"`([^`]+)`")
NOTHING = "–"
SEED = 20

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        section: the heading.
        call: what the library's cell says first, a name or a call.
        names: all names of the cell.
        ours: fanin's cell; "" if it has none.
    """

    section: str
    call: str
    names: tuple[str, ...]
    ours: str

    @property
    def name(self) -> str:
        """The name that is called."""
        return self.names[0]


def cells_of(page: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """The section, the code of the first cell and that of the second cell, for every row of a page's tables."""
    section = ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line[3:]
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("| ") else []
        spans = CODE.findall(cells[0]) if cells else []
        if spans:
            ours = CODE.findall(cells[1])
            assert (not ours) == (cells[1] == NOTHING), line
            yield section, spans, ours


def rows() -> list[Row]:
    """Every row of the page."""
    return [
        Row(section, spans[0], tuple(span.partition("(")[0] for span in spans), ours[0] if ours else "")
        for section, spans, ours in cells_of(PAGE)
    ]


ROWS = rows()
SECTIONS = list(dict.fromkeys(row.section for row in ROWS))


# What the libraries have


def without_modules(module: ModuleType) -> set[str]:
    """The public names of a module but for the modules that it imports."""
    return {name for name in dir(module) if name[0] != "_" and not isinstance(getattr(module, name), ModuleType)}


def own_functions(module: ModuleType) -> set[str]:
    """The public functions that a module defines, or has from a wrapper of its own."""
    named = {name: value for name, value in vars(module).items() if name[0] != "_" and inspect.isroutine(value)}
    return {name for name, value in named.items() if value.__module__ == module.__name__}


@functools.cache
def timm_layers() -> ModuleType:
    """timm's module of weights, from its file alone: the package needs a torchvision that fits PyTorch."""
    pytest.importorskip("torch")
    found = importlib.machinery.PathFinder.find_spec("timm", [*sys.path, os.environ.get("FANIN_TIMM", "")])
    if found is None or found.origin is None:
        pytest.skip("timm is not installed")
    file = Path(found.origin).parent / "layers/weight_init.py"
    spec = importlib.util.spec_from_file_location("timm.layers.weight_init", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def imported(name: str) -> Any:
    """A module of a library; the test is skipped where the library is missing."""
    pytest.importorskip(name.partition(".")[0])
    return importlib.import_module(name)


# heading → the names of each library that it is about
PEERS: dict[str, dict[str, Callable[[], set[str]]]] = {
    "torch.nn.init": {"torch": lambda: set(imported("torch.nn.init").__all__)},
    "jax.nn.initializers, flax.linen.initializers, flax.nnx.initializers": {
        "jax": lambda: without_modules(imported("jax.nn.initializers")),
        "flax.linen": lambda: without_modules(imported("flax.linen.initializers")) - {"annotations"},
        "flax.nnx": lambda: without_modules(imported("flax.nnx.nn.initializers")) - {"annotations"},
    },
    "haiku.initializers": {"haiku": lambda: without_modules(imported("haiku").initializers)},
    "keras.initializers, tf_keras.initializers": {
        "keras": lambda: without_modules(imported("keras").initializers),
        "tf_keras": lambda: without_modules(imported("tf_keras").initializers),
    },
    "timm.layers.weight_init": {"timm": lambda: own_functions(timm_layers())},
    "transformers.initialization": {"transformers": lambda: own_functions(imported("transformers.initialization"))},
}
LIBRARIES = [(section, library) for section, libraries in PEERS.items() for library in libraries]


def test_every_table_is_tested() -> None:
    """A new table needs the library's list here."""
    assert list(PEERS) == SECTIONS


@pytest.mark.parametrize(("section", "library"), LIBRARIES)
def test_every_name_of_the_library_has_a_row(section: str, library: str) -> None:
    """A name that the library has and the table lacks fails."""
    assert PEERS[section][library]() - {name for row in ROWS if row.section == section for name in row.names} == set()


@pytest.mark.parametrize("section", PEERS)
def test_every_row_is_of_a_name_that_a_library_has(section: str) -> None:
    """A name that none of the section's libraries has any more fails."""
    theirs = set().union(*(names() for names in PEERS[section].values()))
    assert {name for row in ROWS if row.section == section for name in row.names} - theirs == set()


# Laws: draws from both sides. Shapes are in Keras's order.

PLAIN, STACK, KERNEL = (300, 200), (4, 150, 100), (3, 3, 8, 12)


def shape_of(row: Row) -> Shape:
    """A shape that the row's law takes."""
    if row.name.startswith("dirac") or "delta" in row.name:
        return KERNEL
    if "STFT" in row.name:
        return (16, 1, 9)
    if "arange" in row.call:
        return (5, 6)
    return STACK if "batch_axis" in row.call or "fan_in_axes" in row.call else PLAIN


def drawn_by_torch(module: Any, row: Row, shape: Shape) -> np.ndarray:
    """What a function makes of a tensor in PyTorch's order, in Keras's."""
    import torch

    torch.manual_seed(SEED)
    axes = (*range(2, len(shape)), 1, 0)
    w = torch.empty([shape[axis] for axis in (len(shape) - 1, len(shape) - 2, *range(len(shape) - 2))])
    eval(row.call, {**vars(module), "math": math, "w": w})
    return w.detach().permute(axes).numpy()


def drawn_by_jax(module: Any, row: Row, shape: Shape) -> np.ndarray:
    """What an initializer of JAX makes; `zeros` and `ones` are initializers themselves."""
    import jax

    init = eval(row.call, {**vars(module), "jnp": jax.numpy})
    return np.asarray(init(jax.random.key(SEED), shape))


def drawn_by_haiku(module: Any, row: Row, shape: Shape) -> np.ndarray:
    """What an initializer of haiku makes, within a function that it transforms."""
    import haiku
    import jax

    made = haiku.transform(lambda: eval(row.call, dict(vars(module)))(shape, "float32"))
    return np.asarray(made.apply({}, jax.random.key(SEED)))


def drawn_by_keras(module: Any, row: Row, shape: Shape) -> np.ndarray:
    """What an initializer of one of the Kerases makes."""
    library = importlib.import_module(module.__name__.partition(".")[0])
    library.utils.set_random_seed(SEED)
    tensor = eval(row.call, {name: getattr(module, name) for name in dir(module)})(shape)
    return np.asarray(tensor if library.__name__ == "tf_keras" else library.ops.convert_to_numpy(tensor))


# library → its module, and what draws with it. flax's functions are JAX's themselves.
DRAWERS: dict[str, tuple[Callable[[], Any], Callable[[Any, Row, Shape], np.ndarray]]] = {
    "torch": (lambda: imported("torch.nn.init"), drawn_by_torch),
    "jax": (lambda: imported("jax.nn.initializers"), drawn_by_jax),
    "haiku": (lambda: imported("haiku").initializers, drawn_by_haiku),
    "keras": (lambda: imported("keras").initializers, drawn_by_keras),
    "tf_keras": (lambda: imported("tf_keras").initializers, drawn_by_keras),
    "timm": (timm_layers, drawn_by_torch),
    "transformers": (lambda: imported("transformers.initialization"), drawn_by_torch),
}
LAWS = [
    (row, library)
    for row in ROWS
    for library in PEERS.get(row.section, ())
    if row.ours
    and library in DRAWERS
    and not row.ours.startswith("gain")
    and (row.name, library) != ("STFT", "tf_keras")
]
# The short tables, which have a call of fanin's for each of the library's.
SHORT_SECTIONS = {"From torch.nn.init": "torch", "From jax.nn.initializers": "jax"}
SHORT_ROWS = [
    (Row(section, call, (call.partition("(")[0],), ours), SHORT_SECTIONS[section])
    for section, calls, all_ours in cells_of(SHORT)
    if section in SHORT_SECTIONS
    for call, ours in zip(calls, all_ours, strict=True)
]
LAWS += [(row, library) for row, library in SHORT_ROWS if not row.ours.startswith("gain")]
NUMBERS = [row for row in [*ROWS, *(row for row, _ in SHORT_ROWS)] if row.ours.startswith("gain")]


def of_fanin(cell: str) -> Any:
    """What a cell of fanin's makes."""
    return eval(cell, {name: getattr(fanin, name) for name in fanin.__all__})


def parts(values: np.ndarray) -> list[np.ndarray]:
    """Real numbers; of complex ones the parts and absolute values."""
    flat: Any = values.reshape(-1)
    return [flat.real, flat.imag, abs(flat)] if np.iscomplexobj(flat) else [flat]


def assert_same_law(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Means, standard deviations and distributions are as near as 60,000 values show."""
    test: Any = stats.ks_2samp
    for one, other in zip(parts(ours), parts(theirs), strict=True):
        size = min(one.size, other.size) ** -0.5
        assert abs(one.mean() - other.mean()) < 6 * size * other.std()
        assert abs(one.std() / other.std() - 1) < 6 * size
        assert test(one, other).pvalue > 1e-4


@pytest.mark.filterwarnings("ignore")  # of libraries that warn of themselves as they are imported
@pytest.mark.parametrize(("row", "library"), LAWS, ids=[f"{library}, {row.call}" for row, library in LAWS])
def test_laws(row: Row, library: str) -> None:
    """Both sides of a row draw from one distribution, within the same bounds, or make the same values."""
    module, draw = DRAWERS[library]
    shape, initializer = shape_of(row), of_fanin(row.ours)
    theirs = draw(module(), row, shape)
    dtype = "complex64" if "complex64" in row.call else "float32"
    ours = initializer.with_seed(SEED)(shape, dtype)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    if not isinstance(initializer, fanin.SeededInitializer):
        assert np.abs(ours - theirs).max() < 1e-5  # Keras computes sines in float32
        return
    assert_same_law(ours, theirs)
    if dtype == "float32":
        low, high = initializer.distribution(shape, dtype).bounds
        slack = 1e-6 * max(abs(low), abs(high))
        assert low - slack <= theirs.min() <= theirs.max() <= high + slack
    assert ((ours == 0).mean() > 0.01) == ((theirs == 0).mean() > 0.01)


@pytest.mark.parametrize("row", NUMBERS, ids=[row.call for row in NUMBERS])
def test_numbers(row: Row) -> None:
    """Both sides of a row about gains are one number."""
    theirs = eval(row.call, vars(imported("torch.nn.init")))
    assert math.isclose(of_fanin(row.ours), theirs, rel_tol=1e-12)


def test_laws_can_differ() -> None:
    """A truncated normal distribution of equal variance is found to be another one, and so is another variance."""
    shape = PLAIN
    normal = fanin.VarianceScaling(2.0, "fan_in", "untruncated_normal", seed=SEED)(shape)
    for other in (fanin.HeNormal(seed=1), fanin.VarianceScaling(2.2, "fan_in", "untruncated_normal", seed=1)):
        with pytest.raises(AssertionError):
            assert_same_law(normal, other(shape))


# Values: what tf_keras makes is what fanin makes

VALUES = [
    (calls[0], ours[0])
    for section, calls, ours in cells_of(SHORT)
    if section == "From tf_keras" and ours[0].startswith("fanin.")
]


@pytest.mark.filterwarnings("ignore")  # of libraries that warn of themselves as they are imported
@pytest.mark.parametrize(("theirs", "ours"), VALUES, ids=[theirs for theirs, _ in VALUES])
def test_values(theirs: str, ours: str) -> None:
    """Both sides of a row make the same values; a function that seeds makes the next draws the same."""
    pytest.importorskip("tf_keras")
    import tf_keras

    one, other = eval(theirs, {"tf_keras": tf_keras}), eval(ours, {"fanin": fanin})
    if other is None:
        one, other = tf_keras.initializers.HeNormal()((3, 2)), fanin.HeNormal()((3, 2))
    if isinstance(other, fanin.Initializer):
        assert type(one).__name__ == type(other).__name__
        assert one.get_config() == other.get_config()
    elif "Orthogonal" in ours:
        assert np.abs(np.asarray(one) - other).max() < 1e-5
    else:
        assert np.asarray(one).tobytes() == other.tobytes()


def test_short_tables_are_tested() -> None:
    """Every row but that of a context is: a law, a number or values."""
    assert len(VALUES) == 5
    assert {row.section for row, _ in SHORT_ROWS} == set(SHORT_SECTIONS)
    assert len(SHORT_ROWS) + len(VALUES) + 1 == sum(len(calls) for _, calls, _ in cells_of(SHORT))


# Names that fanin does not have lead to what it has

HINTED = {name: row for row in reversed(ROWS) if row.ours and not row.ours.startswith("gain") for name in row.names}


@pytest.mark.parametrize("name", HINTED)
def test_names_lead_to_fanin(name: str) -> None:
    """A library's name is one of fanin's, or the error says which one it is: that of its first row."""
    names = fanin.initializers.NAMES
    if name in names:
        return
    with pytest.raises(ValueError, match="Unknown initializer") as caught:
        fanin.get(name)
    suggested = re.findall(r"'(\w+)'", str(caught.value).partition("custom_objects")[2])
    assert names[suggested[0]] is type(of_fanin(HINTED[name].ours)), str(caught.value)
