"""Charts as files: NAME.png and NAME.svg of each, in a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fanin._core.messages import shown
from fanin.report import plots
from fanin.report.charts import Chart
from fanin.report.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FORMATS = ("png", "svg")
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")
_LONGEST = 100  # characters of a name, which some file systems limit
_DOTS = 160  # for each inch of a PNG


def check_folder(folder: str | os.PathLike[str]) -> Path:
    """The folder that pictures can be written into; it is made later, if it is not there.

    Args:
        folder: its path.

    Raises:
        ImportError: matplotlib is not installed.
        NotADirectoryError: it, or what it is in, is a file.
        FileNotFoundError: what it is in is not there.
        PermissionError: nothing can be written into it.

    >>> check_folder(".")  # doctest: +SKIP
    PosixPath('.')
    """
    plots.check()
    path = Path(folder)
    there = path if path.exists() else path.parent
    if not there.exists():
        raise FileNotFoundError(f"Pictures must go into a folder of one that exists. Received: {shown(str(path))}.")
    if not there.is_dir():
        raise NotADirectoryError(f"Pictures must go into a folder. Received: {shown(str(path))}, which is a file.")
    if not os.access(there, os.W_OK):
        raise PermissionError(f"Nothing can be written into {shown(str(there))}.")
    return path


def write_pictures(charts: Mapping[str, Chart], folder: str | os.PathLike[str]) -> list[Path]:
    """Writes charts into a folder, on a light background, as NAME.png and NAME.svg.

    Each file is written beside its place and then renamed, so that none is ever half there.

    Args:
        charts: the charts, by names of any characters: others than letters, digits and `.+-_` become `_`.
        folder: the path of the folder, which is made if it is not there.

    Returns:
        The paths of the files.

    Raises:
        ImportError: matplotlib is not installed. Nothing is written then.
        OSError: the folder cannot be written into.
    """
    path = check_folder(folder)
    path.mkdir(exist_ok=True)
    written = []
    for stem, chart in zip(file_names(charts), charts.values(), strict=True):
        figure = plots.drawn([chart], "light")
        for extension in _FORMATS:
            target = path / f"{stem}.{extension}"
            with replacing(target) as beside:
                _save(figure, beside, extension)
            written.append(target)
    return written


def file_names(names: Mapping[str, object]) -> list[str]:
    """Names for files that every system takes, one for each name, which differ also where case does not count.

    >>> file_names(dict.fromkeys(["h.0/w density", "H.0?w density", "../x"]))
    ['h.0_w_density', 'H.0_w_density-2', '_x']
    """
    used: set[str] = set()
    found = []
    for name in names:
        plain = _UNSAFE.sub("_", name).lstrip(".")[:_LONGEST].rstrip(".") or "_"
        stem, number = plain, 1
        while stem.lower() in used:
            number += 1
            stem = f"{plain}-{number}"
        used.add(stem.lower())
        found.append(stem)
    return found


def _save(figure: Figure, path: Path, extension: str) -> None:
    """Writes a figure without the time of day and the version of its writer, so that equal charts give equal files."""
    import matplotlib

    metadata = {"Date": None} if extension == "svg" else {"Software": None}
    with matplotlib.rc_context({"svg.hashsalt": "fanin", "svg.fonttype": "none"}):
        figure.savefig(path, format=extension, dpi=_DOTS, metadata=metadata)
