"""Reports for people: the tables, numbers and texts that everything which fanin shows is made of."""

from __future__ import annotations

import json
import math
import shutil
import sys
from typing import Any

import numpy as np

from fanin._core.messages import shown


def number(value: Any, digits: int = 6) -> str:
    """A number in readable form; words, flags and lists as Python writes them; a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, (str, bool, list, tuple)):
        return shown(value)
    return str(value) if isinstance(value, (complex, np.complexfloating)) else f"{float(value):.{digits}g}"


def literal(value: Any) -> str:
    """The value of an argument as a Python expression."""
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, (float, complex)) and not np.isfinite(value):
        return f'{type(value).__name__}("{value}")'
    return repr(value)


def plain(value: Any) -> Any:
    """A value as data that JSON can hold."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (complex, np.complexfloating)):
        return str(value)
    if isinstance(value, (np.bool_, np.integer)):
        return value.item()
    return float(value) if math.isfinite(value) else None


def terminal_width() -> int | None:
    """The number of characters that a line of the terminal has; None if what is printed goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
