"""A warning for modules that get equal values by mistake, because each was initialized by a call of its own.

`for module in model.modules(): initialize(module, recipe)` draws every layer's `weight` under that same name.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Hashable, Mapping

from torch import nn

from fanin._core.messages import plural, warn
from fanin.distributions import Matrix
from fanin.recipes.entry import Entry
from fanin.recipes.plan import Plan
from fanin.torch.describe import Held

# The module that the same values were last drawn for, as long as it lives.
_drawn: weakref.WeakValueDictionary[Hashable, nn.Module] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def warn_of_twins(plan: Plan, held: Mapping[str, Held]) -> None:
    """Warns if an earlier call drew the same values for a module that still exists and is not one of these.

    Args:
        plan: the plan of the parameters that are about to be drawn.
        held: the model's tensors by their paths in the plan.
    """
    found = _twins(plan, held)
    if found:
        gc.collect()  # the earlier model may only wait to be collected
        found = _twins(plan, held)
    if found:
        (path, other), count, total = found[0], len(found), len(plan.entries)
        those, verb = plural(total, "parameter"), "gets" if count == 1 else "get"
        warn(
            f"{count} of {total} {those}, such as {path}, {verb} the same values as those of another "
            f"module, of type {other}, which an earlier call of `initialize` drew from the same seed and names. "
            "To initialize a model in parts, give each call the part's path as `prefix=`, or call `initialize` once "
            'for the whole. If both are to be equal, say so with `prefix=""`.'
        )


def note_drawn(plan: Plan, held: Mapping[str, Held]) -> None:
    """Remembers which modules the values of a plan were drawn for.

    Args:
        plan: the plan of the parameters that have been drawn.
        held: the model's tensors by their paths in the plan.
    """
    with _lock:
        for entry in plan.entries:
            for values in _values(entry):
                _drawn[values] = held[entry.path].owners[0][0]


def _twins(plan: Plan, held: Mapping[str, Held]) -> list[tuple[str, str]]:
    """The paths of parameters whose values were drawn for another module, and that module's type."""
    own = {id(module) for each in held.values() for module, _ in each.owners}
    found = []
    with _lock:
        for entry in plan.entries:
            others = [_drawn.get(values) for values in _values(entry)]
            other = next((each for each in others if each is not None and id(each) not in own), None)
            if other is not None:
                found.append((entry.path, type(other).__name__))
    return found


def _values(entry: Entry) -> set[Hashable]:
    """What the random values of a parameter follow from: the stream, the law with its numbers, and the dtype.

    Elements do not depend on the shape, so that the smaller of two tensors has values of the larger one. Matrices do.
    """
    return {
        (
            *each.weight.stream,
            type(law),
            repr(law.parameters()),  # those of a user's own distribution may have no hash
            law.shape if isinstance(law, Matrix) else (),
            each.weight.dtype.name,
        )
        for each in entry.placements
        if (law := each.weight.distribution).random
    }
