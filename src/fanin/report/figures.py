"""Figures of matplotlib that stand alone: no global state, readable on light and dark backgrounds, shown in notebooks.

This module imports matplotlib; `fanin.report.plots` imports it when something is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Literal, TypeAlias, get_args

import matplotlib
from matplotlib.figure import Figure

from fanin._core.messages import shown

Theme: TypeAlias = Literal["any", "light", "dark"]
THEMES: tuple[Theme, ...] = get_args(Theme)

_BACKGROUNDS = {"any": "none", "light": "#ffffff", "dark": "#111111"}
_INKS = {"any": "#787878", "light": "#333333", "dark": "#cccccc"}  # legible there


class NotebookFigure(Figure):
    """A figure that notebooks show by itself, without pyplot and its list of open figures."""

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=144, metadata={"Software": None})  # equal figures give equal bytes
        return buffer.getvalue()


@contextmanager
def style(theme: Theme = "any") -> Iterator[None]:
    """The style of fanin's figures, for what is drawn within the context.

    Args:
        theme: the background: "light", "dark", or "any" for none, with colours that are legible on both.
    """
    if theme not in THEMES:
        raise ValueError(f"`theme` must be one of {', '.join(THEMES)}. Received: theme={shown(theme)}.")
    ink, background = _INKS[theme], _BACKGROUNDS[theme]
    settings: dict[Any, Any] = {
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), ink),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor"), background),
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.grid.which": "major",
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "axes.titlesize": "medium",
        "axes.titleweight": "bold",
        "font.size": 10,
        "grid.alpha": 0.25,
        "grid.color": ink,
        "legend.frameon": False,
        "legend.fontsize": "small",
    }
    with matplotlib.rc_context(settings):
        yield
