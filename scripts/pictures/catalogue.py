"""Every picture by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pictures import bits, initializers, layouts, logo, signals, speed, terminal
from pictures.canvas import SCHEMES

FOLDER = Path(__file__).parents[2] / "docs/pictures"
# Functions of "light" or "dark" that return the text of an SVG.
PICTURES: dict[str, Callable[[str], str]] = {
    **signals.PICTURES,
    **speed.PICTURES,
    **bits.PICTURES,
    **terminal.PICTURES,
    **initializers.PICTURES,
    **layouts.PICTURES,
}
# Functions that return an SVG which is the same in both schemes.
SINGLE: dict[str, Callable[[], str]] = {"logo": logo.logo}
NAMES = (*SINGLE, *PICTURES)


def files_of(name: str) -> dict[str, str]:
    """A picture's files, as their paths within the folder, with their texts: one for each scheme, or one for both."""
    if name in SINGLE:
        return {f"{name}.svg": SINGLE[name]()}
    return {f"{name}-{scheme}.svg": PICTURES[name](scheme) for scheme in SCHEMES}
