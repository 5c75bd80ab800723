"""Files that appear at once and whole, in the place of those that were there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from fanin._core.messages import shown

_TEMPORARY = ".fanin-tmp"  # the end of the name of a file that is not complete


def _problem(file: Path) -> tuple[type[OSError], str] | None:
    """What a file must be to be written, and is not."""
    if not file.parent.is_dir():
        return FileNotFoundError, "in a folder that exists"
    if file.is_dir():
        return IsADirectoryError, "no folder"
    if not os.access(file.parent, os.W_OK):
        return PermissionError, "in a folder that can be written to"
    return None


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside a file, for what is to be in its place when the context ends without an exception.

    A link stays one, and what it leads to is replaced. A file that was there keeps its permissions. No other writer of
    the file has the same path beside it.

    Args:
        path: the file.

    Raises:
        OSError: the file cannot be written; the message names it, and not the path beside it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(f"{folder}/page.html") as beside:
    ...         _ = beside.write_text("whole")
    ...     [each.name for each in Path(folder).iterdir()]
    ['page.html']
    """
    file = Path(os.path.realpath(path))
    if problem := _problem(file):
        error, rule = problem
        raise error(f"The file to write must be {rule}. Received: {shown(os.fspath(path))}.")
    beside = file.with_name(f".{token_hex(8)}{_TEMPORARY}")
    try:
        yield beside
        if file.exists():
            shutil.copymode(file, beside)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
