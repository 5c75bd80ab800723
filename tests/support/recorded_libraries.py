"""Libraries whose models are recorded, and the check of one model by its name, for processes of their own.

    python recorded_libraries.py measure|compare LIBRARY NAME ...

prints a JSON object with what was found of each model.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from recorded_cases import Case

# Where the models of each library are: those of full size, to be measured, and those small enough to be compared.
MEASURED = {
    "transformers": ("recorded_transformers", "full"),
    "diffusers": ("recorded_diffusers", "full"),
    "timm": ("recorded_vision", "families"),
    "torchvision": ("recorded_vision", "torchvisions"),
    "torch.nn": ("recorded_layers", "layers"),
    "hand-written": ("recorded_written", "written"),
    "peft": ("recorded_peft", "adapters"),
}
COMPARED = {
    **MEASURED,
    "transformers": ("recorded_transformers", "small"),
    "diffusers": ("recorded_diffusers", "small"),
}
WAYS = {"measure": MEASURED, "compare": COMPARED}
APART = {"diffusers", "timm", "torchvision"}  # in the folder that FANIN_TIMM names


@functools.cache
def cases(way: str, library: str) -> dict[str, Case]:
    """The models of a library by their names."""
    folder = os.environ.get("FANIN_TIMM")
    if library in APART and folder and folder not in sys.path:
        sys.path.append(folder)
    module, function = WAYS[way][library]
    found: Iterable[Case] = getattr(importlib.import_module(module), function)()
    return {case.name: case for case in found}


def checked(way: str, library: str, name: str, seconds: int = 300) -> dict[str, Any]:
    """What a check finds of a model, as plain data; an error of the check itself is a fault."""
    import recorded_checks

    try:
        with _at_most(seconds), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(recorded_checks, way)(cases(way, library)[name]).as_dict()
    except Exception as error:
        return {"library": library, "name": name, "faults": [f"{type(error).__name__}: {str(error)[:300]}"]}


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    """A time limit, in the main thread of a process."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"It took over {seconds} s.")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    _, chosen, of, *names = sys.argv
    print(json.dumps({name: checked(chosen, of, name) for name in names}), flush=True)
