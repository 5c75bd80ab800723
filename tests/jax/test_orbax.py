"""Plans as Orbax checkpoints: what Orbax restores, what is refused, and how much memory writing takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("flax")
pytest.importorskip("orbax.checkpoint")

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from flax import nnx

import fanin
from fanin.jax import initialize, layers_of
from fanin.jax.orbax import save
from fanin.recipes import Entry
from jax_kit import FLAX, SMALL_INPUT, Small

# Orbax says so where a checkpoint is restored without shardings, and Python where Orbax leaves a file to it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Sharding info not provided"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def dense(dtype: Any = "float32") -> dict[str, Any]:
    """The shapes of two dense layers."""
    kernel, bias = jax.ShapeDtypeStruct((24, 16), dtype), jax.ShapeDtypeStruct((16,), dtype)
    return {"fc1": {"kernel": kernel, "bias": bias}, "fc2": {"kernel": kernel, "bias": bias}}


def block() -> Any:
    """An abstract module with random states."""
    return nnx.eval_shape(lambda: nnx.List([nnx.Linear(24, 16, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(0))]))


def small() -> Any:
    """Variables of flax.linen, with their layers."""
    return layers_of(Small(boxed=True), SMALL_INPUT)


def words(array: Any) -> bytes:
    """An array's bytes; of random keys, those of their words."""
    return np.asarray(
        jax.random.key_data(array) if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) else array
    ).tobytes()


def assert_same(restored: Any, expected: Any) -> None:
    """The same arrays in the same order, byte for byte."""
    restored, expected = jax.tree.leaves(restored), jax.tree.leaves(expected)
    assert [(each.shape, each.dtype) for each in restored] == [(each.shape, each.dtype) for each in expected]
    assert [words(each) for each in restored] == [words(each) for each in expected]


TREES: dict[str, Callable[[], Any]] = {
    **{dtype: lambda dtype=dtype: dense(dtype) for dtype in ("float32", "bfloat16", "float16", "float8_e4m3fn")},
    "flax.nnx": block,
    "a state of flax.nnx": lambda: nnx.state(block()),
    "flax.linen": small,
    "arrays beside numbers": lambda: {**dense(), "step": 3, "rate": 0.5, "mask": jnp.arange(4)},
}


@pytest.mark.parametrize("tree", TREES)
def test_restored_trees(tree: str, tmp_path: Path) -> None:
    """Orbax restores the tree that `initialize` makes, into its structure: by both of its checkpointers."""
    model = TREES[tree]()
    made, made_report = initialize(model, FLAX)
    report = save(tmp_path / "checkpoint", model, FLAX)
    state = nnx.state(made) if isinstance(made, nnx.Module) else made
    assert (report.filled, report.kept, report.buffers) == (made_report.filled, made_report.kept, made_report.buffers)
    for kind in (ocp.StandardCheckpointer, ocp.PyTreeCheckpointer):
        with kind() as checkpointer:
            if kind is ocp.StandardCheckpointer:
                restored = checkpointer.restore(tmp_path / "checkpoint", state)
            else:
                args = ocp.checkpoint_utils.construct_restore_args(state)
                restored = checkpointer.restore(tmp_path / "checkpoint", item=state, restore_args=args)
        assert jax.tree.structure(restored) == jax.tree.structure(state)
        arrays = [
            jax.tree.map(lambda each: each if hasattr(each, "dtype") else None, each) for each in (restored, state)
        ]
        assert_same(*arrays)


def test_restored_without_a_target(tmp_path: Path) -> None:
    """Orbax restores dicts of arrays by itself."""
    save(tmp_path / "checkpoint", dense(), FLAX)
    with ocp.StandardCheckpointer() as checkpointer:
        assert_same(checkpointer.restore(tmp_path / "checkpoint"), initialize(dense(), FLAX)[0])


def test_the_metadata_are_orbaxs(tmp_path: Path) -> None:
    """Orbax's own description of the checkpoint has the same trees, shapes and dtypes as one that it saved."""
    save(tmp_path / "ours", dense("bfloat16"), FLAX)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "theirs", initialize(dense("bfloat16"), FLAX)[0])
        checkpointer.wait_until_finished()
        ours, theirs = (checkpointer.metadata(tmp_path / each).item_metadata.tree for each in ("ours", "theirs"))
    described = [
        jax.tree.map(lambda each: (each.shape, str(each.dtype), str(each.sharding)), each) for each in (ours, theirs)
    ]
    assert described[0] == described[1]


def test_steps_of_a_checkpoint_manager(tmp_path: Path) -> None:
    """A checkpoint at the place of a manager's step is that step."""
    save(tmp_path / "0" / "default", dense(), FLAX)
    with ocp.CheckpointManager(tmp_path) as manager:
        assert manager.latest_step() == 0
        made, _ = initialize(dense(), FLAX)
        assert_same(manager.restore(0, args=ocp.args.StandardRestore(made)), made)


def test_options_are_those_of_initialize(tmp_path: Path) -> None:
    """Seeds, choices and names; what is not chosen is written as it is."""
    tree = {**dense(), "fc1": {"kernel": jnp.ones((24, 16)), "bias": jnp.ones(16)}}
    options: dict[str, Any] = {"seed": 5, "only": "fc2.*", "names": {"fc2.*": "fc9.*"}}
    report = save(tmp_path / "checkpoint", tree, "flax", **options)
    made, made_report = initialize(tree, "flax", **options)
    assert report.kept == made_report.kept
    with ocp.StandardCheckpointer() as checkpointer:
        assert_same(checkpointer.restore(tmp_path / "checkpoint", made), made)


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is one of the present folder, though Orbax wants absolute ones."""
    monkeypatch.chdir(tmp_path)
    save("checkpoint", dense(), FLAX)
    assert (tmp_path / "checkpoint" / "_METADATA").exists()


def test_force(tmp_path: Path) -> None:
    """A checkpoint that is there is replaced only if this is wanted."""
    save(tmp_path / "checkpoint", dense(), FLAX)
    save(tmp_path / "checkpoint", dense(), FLAX, seed=9, force=True)
    with ocp.StandardCheckpointer() as checkpointer:
        assert_same(checkpointer.restore(tmp_path / "checkpoint"), initialize(dense(), FLAX, seed=9)[0])


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "a function": ({**dense(), "activation": jnp.tanh}, TypeError, "for activation. Leave it out of the tree."),
    "an empty array": (
        {**dense(), "none": {"bias": jax.ShapeDtypeStruct((0,), "float32")}},
        ValueError,
        "Orbax writes no empty ones. Received: shape (0,) for none.bias.",
    ),
    "a shape that stays": (
        {**dense(), "steps": jax.ShapeDtypeStruct((), "int32")},
        fanin.recipes.PlanError,
        "must be arrays, not shapes; nothing has been made.",
    ),
    "no rule": ({"weird": jax.ShapeDtypeStruct((3, 3), "float32")}, fanin.recipes.PlanError, "No rule matches"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes(case: str, tmp_path: Path) -> None:
    """Each is refused before anything is drawn or written."""
    tree, error, message = WRONG[case]
    with mock.patch.object(Entry, "fill") as fill, pytest.raises(error) as caught:
        save(tmp_path / "checkpoint", tree, FLAX)
    assert message in str(caught.value)
    assert not fill.called
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_is_there(tmp_path: Path) -> None:
    """It stays as it is, and nothing is drawn."""
    save(tmp_path / "checkpoint", dense(), FLAX)
    with mock.patch.object(Entry, "fill") as fill, pytest.raises(ValueError, match="already exists"):
        save(tmp_path / "checkpoint", dense(), FLAX, seed=9)
    assert not fill.called
    with ocp.StandardCheckpointer() as checkpointer:
        assert_same(checkpointer.restore(tmp_path / "checkpoint"), initialize(dense(), FLAX)[0])


def test_a_call_that_fails(tmp_path: Path) -> None:
    """The error comes out, and no checkpoint has the name."""
    fill = Entry.fill

    def failing(self: Entry, out: Any, region: Any = None) -> None:
        if self.path == "fc2.kernel":
            raise MemoryError("no more")
        fill(self, out, region)

    with mock.patch.object(Entry, "fill", failing), pytest.raises(MemoryError, match="no more"):
        save(tmp_path / "checkpoint", dense(), FLAX)
    assert not (tmp_path / "checkpoint").exists()
    save(tmp_path / "checkpoint", dense(), FLAX)
    with ocp.StandardCheckpointer() as checkpointer:
        assert_same(checkpointer.restore(tmp_path / "checkpoint"), initialize(dense(), FLAX)[0])


MEMORY = """
import json, resource, sys
import jax
from jax.sharding import NamedSharding, PartitionSpec
from fanin.jax.orbax import save

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

folder, spec = sys.argv[1:]
specs = {"replicated": PartitionSpec(), "in four": PartitionSpec("x"), "in eight": PartitionSpec("x", "y")}
mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
shardings = NamedSharding(mesh, specs[spec]) if spec in specs else None
tree = lambda count: {f"fc{n}": {"kernel": jax.ShapeDtypeStruct((2048, 2048), "float32")} for n in range(count)}
save(folder + "/warm", tree(1), "flax", seed=1, shardings=shardings)
before = peak()
report = save(folder + "/many", tree(24), "flax", seed=1, shardings=shardings)
print(json.dumps([peak() - before, report.nbytes]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss")
@pytest.mark.parametrize("spec", ["on one device", "replicated", "in four", "in eight"])
def test_memory_is_bounded(spec: str, tmp_path: Path) -> None:
    """A model of 384 MiB, in arrays of 16 MiB, takes little more than the 64 MiB that are written at once."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [sys.executable, "-c", MEMORY, str(tmp_path), spec]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    more, nbytes = json.loads(run.stdout.splitlines()[-1])
    assert nbytes == 24 * 2**24
    assert more < 100 * 2**20
