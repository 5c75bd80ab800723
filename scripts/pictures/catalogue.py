"""Every picture by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pictures import initializers, layouts, signals, speed
from pictures.canvas import SCHEMES

FOLDER = Path(__file__).parents[2] / "docs/pictures"
# Functions of "light" or "dark" that return the text of an SVG.
PICTURES: dict[str, Callable[[str], str]] = {
    **signals.PICTURES,
    **initializers.PICTURES,
    **layouts.PICTURES,
    **speed.PICTURES,
}


def files_of(name: str) -> dict[str, str]:
    """A picture's files, as their paths within the folder, with their texts: one for each scheme."""
    return {f"{name}-{scheme}.svg": PICTURES[name](scheme) for scheme in SCHEMES}
