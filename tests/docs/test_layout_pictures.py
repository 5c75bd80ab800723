"""The pictures of docs/layouts.md: their numbers are those of fanin's layer tables and of its values today."""

import importlib
import re
from pathlib import Path

import pytest

import fanin

ROOT = Path(__file__).parents[2]
NAMES = ("dense", "conv", "depthwise", "transposed", "embedding", "heads", "attention", "lstm")


def texts(name: str, scheme: str = "light") -> list[str]:
    """What stands in a picture."""
    path = ROOT / f"docs/pictures/layouts/{name}-{scheme}.svg"
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8"))


def test_values() -> None:
    """The dense layer has the values that fanin makes, in Keras's order and then in PyTorch's."""
    kernel = fanin.GlorotUniform(seed=1)((2, 3))
    shown = [each for each in texts("dense") if re.fullmatch(r"−?\d\.\d{4}", each)]
    assert shown == [f"{value:.4f}".replace("-", "−") for value in [*kernel.flat, *kernel.T.flat]]


@pytest.mark.parametrize("name", NAMES)
def test_schemes(name: str) -> None:
    """The picture says the same in both schemes."""
    assert texts(name, "light") == texts(name, "dark")


@pytest.mark.filterwarnings("ignore")  # of the frameworks' imports
@pytest.mark.parametrize("name", NAMES)
def test_fans(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is what the frameworks' own layers give today: shapes, fans and all."""
    for package in ("torch", "keras", "flax", "jax"):
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    pictures = importlib.import_module("pictures.layouts").PICTURES
    path = ROOT / f"docs/pictures/layouts/{name}-dark.svg"
    assert pictures[f"layouts/{name}"]("dark") == path.read_text(encoding="utf-8")


def test_the_page_shows_every_picture() -> None:
    """docs/layouts.md has each of them, in both schemes."""
    page = (ROOT / "docs/layouts.md").read_text(encoding="utf-8")
    for name in NAMES:
        for scheme in ("light", "dark"):
            assert f'"pictures/layouts/{name}-{scheme}.svg"' in page


@pytest.mark.parametrize("name", ["dense", "attention", "lstm"])
def test_parts_have_colours_of_their_own(name: str) -> None:
    """Blue is an axis of inputs and orange one of outputs: no box of a value, a block or a gate has these colours."""
    text = (ROOT / f"docs/pictures/layouts/{name}-light.svg").read_text(encoding="utf-8")
    boxes = set(re.findall(r'<rect[^>]*fill="(#\w{6})"', text))
    assert len(boxes) == {"dense": 3, "attention": 3, "lstm": 4}[name]
    assert not boxes & {"#0072b2", "#d55e00"}
