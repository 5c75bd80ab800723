"""Runs of `fanin write` that are killed at random moments, and what they leave."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from fanin.checkpoints import read_manifest

# A run writes a plan of twelve tensors in four files. It says when it begins to, so that it is not killed before.
RUN = """
import sys
import checkpoint_kit as kit
from fanin import checkpoints
from fanin.checkpoints import drawing
drawing.BUFFER = 2**18
plan = kit.normal(rows=4096, count=12)
print("begin", flush=True)
print(checkpoints.write(plan, sys.argv[1], format=sys.argv[2], max_shard_size="3MiB").digest, flush=True)
"""


def begun(folder: Path, form: str) -> subprocess.Popen[str]:
    """A run that is about to write."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", RUN, str(folder), form]
    run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "begin\n"
    return run


def completed(folder: Path, form: str) -> tuple[str, float]:
    """The digest that a run that is left alone says, and the seconds that it writes."""
    with begun(folder, form) as run:
        begin = time.perf_counter()
        assert run.stdout is not None
        digest = run.stdout.readline().strip()
        seconds = time.perf_counter() - begin
    assert run.returncode == 0
    return digest, seconds


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file of a folder whose name is not a temporary one, by name."""
    paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


class Reference:
    """A folder that was written without a kill, and how long that took."""

    def __init__(self, folder: Path, form: str) -> None:
        self.form, self.folder = form, folder
        self.digest, self.seconds = completed(folder, form)
        self.files: Mapping[str, str] = digests(folder)

    def check_killed(self, folder: Path, moment: float) -> int:
        """Kills a run into a folder after this part of its time, and checks what it leaves. Returns how many files.

        Raises:
            AssertionError: a file under a final name is not the whole file.
        """
        with begun(folder, self.form) as run:
            time.sleep(moment * self.seconds)
            run.send_signal(signal.SIGKILL)
        left = digests(folder) if folder.exists() else {}
        for name in [name for name in left if re.fullmatch(r"fanin-\d+-of-\d+\.json", name)]:
            recorded = {file.name for file in read_manifest(folder / name).files}
            assert {each for each in left if each.startswith("model-0")} <= recorded
            del left[name]
        assert left.items() <= self.files.items(), "a file under a final name is not whole"
        return len(left)

    def check_resumed(self, folder: Path) -> None:
        """Runs again into a folder, and checks that it then is what it would be without kills.

        Raises:
            AssertionError: it is not.
        """
        assert completed(folder, self.form)[0] == self.digest
        assert digests(folder) == self.files
        assert {path.name for path in folder.iterdir()} == set(self.files), "something temporary is left"


def rehearse(folder: Path, form: str, count: int, seed: int) -> list[int]:
    """Kills this many runs, each of which is resumed. Returns how many whole files each kill left."""
    moments = random.Random(seed)
    reference, left = Reference(folder / "reference", form), []
    for _ in range(count):
        out = folder / "out"
        for _ in range(moments.choice((1, 1, 2))):  # some are killed again when they are resumed
            left.append(reference.check_killed(out, moments.random() * 1.1))
        reference.check_resumed(out)
        shutil.rmtree(out)
    return left
