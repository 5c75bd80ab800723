"""What `fanin write` does besides writing: the rank from a launcher's environment, and what would be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fanin._core.messages import plural, readable, shown, visible
from fanin.checkpoints.arrangement import Arrangement, check_rank
from fanin.checkpoints.drawing import reserve_memory
from fanin.checkpoints.folder import Folder, explained
from fanin.checkpoints.survey import Survey, check_folder
from fanin.checkpoints.writer import finish

_HINT = " Give --rank and --world."
# Python's words in messages, and those of the command line.
_WORDS = {
    "`max_shard_size`": "--max-shard-size",
    "`replace=True`": "--replace",
    "`format` must": "--format must",
    "Received: format=": "Received: --format ",
    "recipe.plan(model) shows": "`fanin plan` shows",
    ', or leave them as they are with unmatched="keep".': ".",
    "The largest size of a file must be": "--max-shard-size must be",
}


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

        torchrun sets RANK and WORLD_SIZE. For the tasks of a step, in which SLURM_STEP_ID is set, Slurm sets
        SLURM_PROCID and SLURM_STEP_NUM_TASKS (or SLURM_NTASKS, before), and for the jobs of an array
        SLURM_ARRAY_TASK_ID, with its range: with both, each job of the array has its tasks.

        Args:
            rank: the rank that was given, if one was.
            world: the number of ranks that was given, if one was.
            environment: the environment of the process.

        Raises:
            ValueError: only one of the two was given, or set, or they are no rank.

        >>> from fanin.checkpoints.command import Place
        >>> Place.of(None, None, {"RANK": "1", "WORLD_SIZE": "4"})
        Place(rank=1, world=4, origin='RANK and WORLD_SIZE')
        """
        if (rank is None) != (world is None):
            given = f"--rank {rank}" if world is None else f"--world {world}"
            raise ValueError(f"--rank and --world must be given together. Received: {given} alone.")
        if rank is not None and world is not None:
            return cls._checked(rank, world, "--rank and --world")
        if found := _together(environment, "RANK", "WORLD_SIZE"):
            return cls._checked(*found, "RANK and WORLD_SIZE")
        return cls._of_slurm(environment)

    @classmethod
    def _checked(cls, rank: int, world: int, origin: str) -> Place:
        try:
            check_rank(rank, world)
        except ValueError:
            hint = "" if origin.startswith("--") else _HINT
            raise ValueError(
                f"A rank must be from 0 to the number of ranks - 1. Received: rank {rank} of {world}, from {origin}."
                f"{hint}"
            ) from None
        return cls(rank, world, origin)

    @classmethod
    def _of_slurm(cls, environment: Mapping[str, str]) -> Place:
        places = [each for each in (cls._of_array(environment), cls._of_step(environment)) if each is not None]
        rank, world = 0, 1
        for each in places:  # each job of the array has its tasks
            rank, world = rank * each.world + each.rank, world * each.world
        return cls(rank, world, ", ".join(each.origin for each in places))

    @classmethod
    def _of_array(cls, environment: Mapping[str, str]) -> Place | None:
        """The place of a job in an array."""
        found = _together(environment, "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")
        if not found:
            return None
        first = _number(environment, "SLURM_ARRAY_TASK_MIN", 0)
        rank, rest = divmod(found[0] - first, max(1, _number(environment, "SLURM_ARRAY_TASK_STEP", 1)))
        if rest or not 0 <= rank < found[1]:
            raise ValueError(
                "The jobs of an array must be numbered without gaps. Received: "
                f"SLURM_ARRAY_TASK_ID={found[0]}, SLURM_ARRAY_TASK_COUNT={found[1]}, from {first} on.{_HINT}"
            )
        return cls(rank, found[1], "SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT")

    @classmethod
    def _of_step(cls, environment: Mapping[str, str]) -> Place | None:
        """The place of a task in a step. A batch script, which is in no step, has the number of a task as well."""
        if "SLURM_STEP_ID" not in environment or "SLURM_PROCID" not in environment:
            return None
        name = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
        found = _together(environment, "SLURM_PROCID", name)
        return cls._checked(*found, f"SLURM_PROCID and {name}") if found and found != (0, 1) else None

    def __str__(self) -> str:
        return f"Rank {self.rank} of {self.world}" + (f", from {self.origin}." if self.origin else ".")


def _together(environment: Mapping[str, str], rank: str, world: str) -> tuple[int, int] | None:
    """The numbers that two variables have; None if neither is set."""
    there = [each for each in (rank, world) if each in environment]
    if len(there) == 1:
        other = world if there == [rank] else rank
        raise ValueError(
            f"A launcher must set both {rank} and {world}. Received: {there[0]}={shown(environment[there[0]])} without "
            f"{other}.{_HINT}"
        )
    return (_number(environment, rank), _number(environment, world)) if there else None


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise ValueError(f"{name} must be a whole number. Received: {name}={shown(text)}.{_HINT}")
    return int(text)


def in_words_of_command(message: str) -> str:
    """A message of the library's, with the options of the command in place of Python's arguments."""
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    return message


@dataclass(frozen=True)
class DryRun:
    """What `fanin write` would write, after the checks that it would make.

    Attributes:
        arrangement: the files.
        place: the process that would write its share of them.
        folder: where to.
        survey: what the folder has of this share.
    """

    arrangement: Arrangement
    place: Place
    folder: Path
    survey: Survey

    @classmethod
    def of(cls, arrangement: Arrangement, place: Place, folder: Path, *, replace: bool = False) -> DryRun:
        """Looks at the folder, and writes nothing.

        Args:
            arrangement: the files.
            place: the process that would write its share of them.
            folder: where to.
            replace: whether files that were changed would be replaced.

        Raises:
            CheckpointError: the files could not be written; the message says why.
            MemoryError: there is no memory for a matrix that is decomposed as a whole.
        """
        mine = arrangement.share(place.rank, place.world)
        reserve_memory(entry for file in mine for entry in file.entries)
        recorded = check_folder(arrangement, folder)
        with explained(folder):
            survey = Survey.of(Folder(folder), recorded, mine, lambda _: None)
            if not replace:
                survey.check(folder)
            Folder(folder).check_room(arrangement, survey.wanted(mine))
        return cls(arrangement, place, folder, survey)

    def as_dict(self) -> dict[str, Any]:
        """It as plain data, for JSON."""
        mine = {each.number for each in self.arrangement.share(self.place.rank, self.place.world)}
        return {
            "folder": str(self.folder),
            "format": self.arrangement.format,
            "seed": self.arrangement.plan.seed,
            "rank": self.place.rank,
            "world": self.place.world,
            "size": self.arrangement.size,
            "free": Folder(self.folder).free,
            "files": [
                {
                    "name": each.name,
                    "size": each.size,
                    "tensors": len(each.entries),
                    "mine": each.number in mine,
                    "kept": each.name in self.survey.kept,
                }
                for each in self.arrangement.files
            ],
        }

    def __str__(self) -> str:
        data = self.as_dict()
        lines = [
            f"{each['name']}  {readable(each['size'])}  {each['tensors']} {plural(each['tensors'], 'tensor')}"
            + ("  by this rank" if self.place.world > 1 and each["mine"] else "")
            + ("  would be kept" if each["kept"] else "")
            + ("  would replace one with other values" if each["name"] in self.survey.changed else "")
            for each in data["files"]
        ]
        count = len(lines)
        mine = sum(each["size"] for each in data["files"] if each["mine"] and not each["kept"])
        share = f", of which rank {self.place.rank} of {self.place.world} writes {readable(mine)}"
        lines.append(
            f"{visible(str(self.folder))}: {count} {plural(count, 'file')}, {readable(data['size'])}"
            f"{share if self.place.world > 1 else ''}; seed {data['seed']}; {readable(data['free'])} are free. "
            "Nothing has been written."
        )
        return "\n".join(lines)


def finished(folder: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Ends a checkpoint by `checkpoints.finish`: what it has then as data for JSON, and in words.

    Args:
        folder: the folder.
        options: the options that `--finish` does not take, by their names in Python: None or False if not given.

    Raises:
        ValueError: some of them were given.
        CheckpointError: files are missing, or the folder holds no checkpoint of fanin's, or those of several.
    """
    given = [name for name, value in options.items() if value is not None and value is not False]
    if given:
        names = ("RECIPE" if each == "recipe" else f"--{each.replace('_', '-')}" for each in given)
        raise ValueError(f"--finish goes with --output and --json alone. Received: {', '.join(names)}.")
    made = finish(folder)
    count = len(made.files)
    text = (
        f"complete: {count} {plural(count, 'file')}, seed {made.seed}, digest {made.digest}\n"
        "The files were not read again: `fanin check` does that."
    )
    return {"files": count, "seed": made.seed, "digest": made.digest}, text
