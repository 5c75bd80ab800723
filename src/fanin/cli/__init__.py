"""The command line, which needs click and rich."""

from __future__ import annotations

import sys

try:
    import click  # noqa: F401
    import rich  # noqa: F401  (rich loads its parts on first use; this only checks that it is installed)
except ModuleNotFoundError as _error:
    if _error.name not in ("click", "rich"):
        raise
    sys.stderr.write(f"The command line needs {_error.name}: install `fanin[cli]`.\n")
    raise SystemExit(2) from None

from fanin.cli.commands import main

__all__ = ["main"]
