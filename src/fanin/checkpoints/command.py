"""What `fanin write` does besides writing: the rank from a launcher's environment, and what would be written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fanin._core.messages import plural, readable, shown, visible
from fanin.checkpoints.arrangement import Arrangement, check_rank


@dataclass(frozen=True)
class Place:
    """The place of a process among those that write a checkpoint.

    Attributes:
        rank: its rank.
        world: the number of ranks.
        origin: where these come from, in words; "" if they are nobody's but the default.
    """

    rank: int
    world: int
    origin: str = ""

    @classmethod
    def of(cls, rank: int | None, world: int | None, environment: Mapping[str, str]) -> Place:
        """The place that was given, or else that a launcher has put into the environment.

        torchrun sets RANK and WORLD_SIZE. Slurm sets SLURM_PROCID and SLURM_NTASKS for the tasks of a step, and
        SLURM_ARRAY_TASK_ID, with its range, for the jobs of an array: with both, each job of the array has its tasks.

        Args:
            rank: the rank that was given, if one was.
            world: the number of ranks that was given, if one was.
            environment: the environment of the process.

        Raises:
            ValueError: only one of the two was given, or they are no rank.

        >>> from fanin.checkpoints.command import Place
        >>> Place.of(None, None, {"RANK": "1", "WORLD_SIZE": "4"})
        Place(rank=1, world=4, origin='RANK and WORLD_SIZE')
        """
        if (rank is None) != (world is None):
            given = f"--rank {rank}" if world is None else f"--world {world}"
            raise ValueError(f"--rank and --world must be given together. Received: {given} alone.")
        if rank is not None and world is not None:
            found = cls(rank, world, "--rank and --world")
        elif "RANK" in environment and "WORLD_SIZE" in environment:
            found = cls(_number(environment, "RANK"), _number(environment, "WORLD_SIZE"), "RANK and WORLD_SIZE")
        else:
            found = cls._of_slurm(environment)
        try:
            check_rank(found.rank, found.world)
        except ValueError:
            raise ValueError(
                f"A rank must be from 0 to the number of ranks - 1. Received: rank {found.rank} of {found.world}, from "
                f"{found.origin}."
            ) from None
        return found

    @classmethod
    def _of_slurm(cls, environment: Mapping[str, str]) -> Place:
        rank, world, origins = 0, 1, []
        if "SLURM_ARRAY_TASK_ID" in environment and "SLURM_ARRAY_TASK_COUNT" in environment:
            first, step = (
                _number(environment, "SLURM_ARRAY_TASK_MIN", 0),
                _number(environment, "SLURM_ARRAY_TASK_STEP", 1),
            )
            rank = (_number(environment, "SLURM_ARRAY_TASK_ID") - first) // max(1, step)
            world = _number(environment, "SLURM_ARRAY_TASK_COUNT")
            origins.append("SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT")
        if "SLURM_PROCID" in environment and _number(environment, "SLURM_NTASKS", 1) > 1:
            tasks = _number(environment, "SLURM_NTASKS")
            rank, world = rank * tasks + _number(environment, "SLURM_PROCID"), world * tasks
            origins.append("SLURM_PROCID and SLURM_NTASKS")
        return cls(rank, world, ", ".join(origins))

    def __str__(self) -> str:
        return f"Rank {self.rank} of {self.world}" + (f", from {self.origin}." if self.origin else ".")


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise ValueError(f"{name} must be a whole number. Received: {name}={shown(text)}. Give --rank and --world.")
    return int(text)


@dataclass(frozen=True)
class DryRun:
    """What `fanin write` would write.

    Attributes:
        arrangement: the files.
        place: the process that would write its share of them.
        folder: where to.
    """

    arrangement: Arrangement
    place: Place
    folder: Path

    def as_dict(self) -> dict[str, Any]:
        """It as plain data, for JSON."""
        mine = {each.number for each in self.arrangement.share(self.place.rank, self.place.world)}
        return {
            "folder": str(self.folder),
            "format": self.arrangement.format,
            "rank": self.place.rank,
            "world": self.place.world,
            "size": self.arrangement.size,
            "free": self._free(),
            "files": [
                {"name": each.name, "size": each.size, "tensors": len(each.entries), "mine": each.number in mine}
                for each in self.arrangement.files
            ],
        }

    def _free(self) -> int:
        """The free bytes of the file system that the folder is on, or would be on."""
        folder = self.folder.absolute()
        there = next(each for each in (folder, *folder.parents) if each.is_dir())
        state = os.statvfs(there)
        return state.f_bavail * state.f_frsize

    def __str__(self) -> str:
        data = self.as_dict()
        lines = [
            f"{each['name']}  {readable(each['size'])}  {each['tensors']} {plural(each['tensors'], 'tensor')}"
            + ("  by this rank" if self.place.world > 1 and each["mine"] else "")
            for each in data["files"]
        ]
        count = len(lines)
        mine = sum(each["size"] for each in data["files"] if each["mine"])
        share = f", of which rank {self.place.rank} of {self.place.world} writes {readable(mine)}"
        lines.append(
            f"{visible(str(self.folder))}: {count} {plural(count, 'file')}, {readable(data['size'])}"
            f"{share if self.place.world > 1 else ''}; {readable(data['free'])} are free. Nothing has been written."
        )
        return "\n".join(lines)
