"""Two Dask workers write one checkpoint: each makes and writes its own files, and the folder is that of one process."""

import tempfile
from pathlib import Path

from distributed import Client, LocalCluster

import fanin
from fanin import checkpoints

MODEL = [{"path": f"layers.{n}.weight", "shape": [512, 512], "layout": "torch"} for n in range(8)]
RECIPE = fanin.Recipe([{"path": "*", "initializer": "he_normal"}], seed=42)
RANKS = 4  # more than workers, so that a fast one takes another; the files do not depend on it


def write(rank, folder):
    """Writes the files of one rank, on a worker, which sees the same folder."""
    return checkpoints.write(RECIPE.plan(MODEL), folder, max_shard_size="2MB", rank=rank, world=RANKS).files


def contents(folder):
    """The files of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as base:
        together, alone = Path(base, "together"), Path(base, "alone")
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            files = client.gather(client.map(write, range(RANKS), folder=together))
        checkpoints.write(RECIPE.plan(MODEL), alone, max_shard_size="2MB")
        print(f"{sum(map(len, files))} files from {RANKS} ranks on 2 workers")
        print(f"the same bytes as from one process: {contents(together) == contents(alone)}")
