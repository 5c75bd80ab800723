"""Files that appear at once and whole, in the place of those that were there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

_TEMPORARY = ".fanin-tmp"  # the end of the name of a file that is not complete


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside a file, for what is to be in its place when the context ends without an exception.

    A link stays one, and what it leads to is replaced. A file that was there keeps its permissions. No other writer of
    the file has the same path beside it.

    Args:
        path: the file.

    Raises:
        OSError: the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(f"{folder}/page.html") as beside:
    ...         _ = beside.write_text("whole")
    ...     [each.name for each in Path(folder).iterdir()]
    ['page.html']
    """
    file = Path(os.path.realpath(path))
    beside = file.with_name(f".{token_hex(8)}{_TEMPORARY}")
    try:
        yield beside
        if file.exists():
            shutil.copymode(file, beside)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
