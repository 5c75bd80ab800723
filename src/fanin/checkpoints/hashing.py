"""Digests of plans and of arrays: one number for all values, whoever makes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fanin._core.memory import as_numpy
from fanin._core.types import Shape
from fanin.checkpoints.arrangement import check_plan, shared
from fanin.checkpoints.drawing import Segment
from fanin.checkpoints.manifest import digest_of
from fanin.checkpoints.pipeline import Digests, Pipeline
from fanin.recipes.plan import Plan
from fanin.recipes.progress import Progress, watched


class TensorDigest(NamedTuple):
    """The digest of one tensor.

    Attributes:
        name: its name.
        dtype: its dtype by NumPy's or ml_dtypes' name.
        shape: its shape.
        digest: the SHA-256 of its bytes (little-endian, in C order), as 64 hexadecimal digits.
    """

    name: str
    dtype: str
    shape: Shape
    digest: str


def digests(plan: Plan, *, rank: int = 0, world: int = 1, progress: Progress = None) -> tuple[TensorDigest, ...]:
    """The digest of every tensor of a plan, or of those of one of several workers. Nothing is written.

    Args:
        plan: the plan.
        rank: the number of this worker. Tensors are shared out so that all have about as many bytes.
        world: the number of workers. `digest_of` makes one digest of what all of them return.
        progress: as in `write`.

    Raises:
        fanin.recipes.PlanError: the recipe does not fit the model.
        CheckpointError: a tensor has no values in the plan.
        ValueError, TypeError: the rank is none.

    >>> import fanin
    >>> from fanin import checkpoints
    >>> recipe = fanin.Recipe([{"path": "*", "initializer": "random_normal"}], seed=1)
    >>> plan = recipe.plan([{"path": "w", "shape": [2, 3]}, {"path": "v", "shape": [10]}])
    >>> parts = [each for rank in (0, 1) for each in checkpoints.digests(plan, rank=rank, world=2)]
    >>> checkpoints.digest_of(parts) == checkpoints.digest(plan)
    True
    """
    check_plan(plan)
    mine = shared(plan.entries, lambda each: each.parameter.nbytes, rank, world)
    done = Digests()
    with watched(sum(each.parameter.nbytes for each in mine), progress, "digest") as advance, Pipeline(1) as pipeline:

        def update(segments: Sequence[Segment]) -> None:
            done.update(segments)
            advance(sum(each.data.nbytes for each in segments))

        pipeline.run(mine, update)
    return tuple(
        TensorDigest(entry.path, entry.parameter.dtype.name, entry.shape, digest)
        for entry, digest in zip(mine, done.done, strict=True)
    )


def digest(plan: Plan, *, progress: Progress = None) -> str:
    """One digest of all values of a plan, which are drawn in bounded memory. Nothing is written.

    It is that of `write`'s manifest, of any number of workers together, and of a model that was initialized by the
    same plan (`digest_of_arrays`).

    Args:
        plan: the plan.
        progress: as in `write`.

    Raises:
        fanin.recipes.PlanError: the recipe does not fit the model.
        CheckpointError: a tensor has no values in the plan.
    """
    return digest_of(digests(plan, progress=progress))


def digest_of_arrays(arrays: Mapping[str, Any]) -> str:
    """The same digest of arrays or tensors that are in memory.

    Args:
        arrays: the tensors by name: NumPy arrays, PyTorch tensors on the CPU, or whatever exports its memory.

    Raises:
        TypeError, ValueError: one of them has no memory that can be read.

    >>> import numpy as np
    >>> from fanin import checkpoints
    >>> checkpoints.digest_of_arrays({"w": np.zeros(2, "float32")})[:16]
    '8b4f56feaf695edd'
    """
    found = []
    for name, array in arrays.items():
        plain = as_numpy(array)
        data = np.ascontiguousarray(plain).reshape(-1).view(np.uint8).data
        digest = hashlib.sha256(data).hexdigest()
        found.append(TensorDigest(name, plain.dtype.name, plain.shape, digest))
    return digest_of(found)
