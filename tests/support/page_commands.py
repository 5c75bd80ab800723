"""`fanin` and `python` as commands, for the commands that pages show."""

from __future__ import annotations

import sys
from pathlib import Path


def commands(folder: Path) -> Path:
    """A folder with `fanin` and `python` as commands, of this interpreter and this source."""
    folder.mkdir()
    for name, arguments in (("fanin", "-m fanin"), ("python", "")):
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        (folder / name).chmod(0o755)
    return folder
