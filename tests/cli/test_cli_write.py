"""`fanin write`: files, exit codes, ranks from launchers, events, and what it would write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fanin import checkpoints
from fanin.checkpoints.command import Place
from fanin.recipes import Recipe

testing = pytest.importorskip("click.testing")
main = pytest.importorskip("fanin.cli").main

RECIPE = 'seed = 3\n\n[[rules]]\npath = "*"\ninitializer = "random_normal"\n'
MODEL = [{"path": f"layers.{n}.weight", "shape": [64, 64], "role": "kernel"} for n in range(6)]
NAMES = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
FINISHED = "complete: 3 files, seed 3, digest {}\nThe files were not read again: `fanin check` does that.\n"
THREE = ("--max-shard-size", "40KB")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe and a model as the working directory, and no launcher's environment."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "model.json").write_text(json.dumps(MODEL))
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith("SLURM_") or name in ("RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name)
    return tmp_path


def write(*arguments: str, recipe: str = "recipe.toml", model: str = "model.json", **environment: str) -> Any:
    """A call of the command."""
    command = ["write", recipe, "--model", model, "-o", "out", *arguments]
    return testing.CliRunner().invoke(main, command, prog_name="fanin", env=environment)


def lines(outcome: Any) -> list[dict[str, Any]]:
    """The events on standard output."""
    return [json.loads(line) for line in outcome.stdout.splitlines()]


def test_it_writes(folder: Path) -> None:
    """One file with its manifest, and a line that says so, with the digest."""
    outcome = write()
    digest = checkpoints.digest(Recipe.from_toml(RECIPE).plan(MODEL))
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    first, last = outcome.stdout.splitlines()
    assert first.startswith("out: 1 file written (96.5 KiB) in ")
    assert last == f"complete: digest {digest}"
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["fanin.json", "model.safetensors"]


def test_it_goes_on(folder: Path) -> None:
    """The same command again keeps what is complete."""
    write(*THREE)
    (folder / "out" / NAMES[1]).unlink()
    outcome = write(*THREE)
    assert outcome.exit_code == 0
    assert f"kept, with the right bytes: {NAMES[0]}, {NAMES[2]}" in outcome.stdout


def test_a_seed(folder: Path) -> None:
    """--seed replaces the recipe's, and is in the manifest."""
    assert write("--seed", "8").exit_code == 0
    manifest = checkpoints.read_manifest(folder / "out")
    assert manifest.seed == 8
    assert manifest.digest == checkpoints.digest(Recipe.from_toml(RECIPE).with_seed(8).plan(MODEL))


def test_npz(folder: Path) -> None:
    """--format npz makes a file for NumPy."""
    assert write("--format", "npz").exit_code == 0
    assert (folder / "out/model.npz").exists()


def test_events() -> None:
    """--json prints a line for each event, and at last what was done."""
    outcome = write("--json", *THREE)
    events = lines(outcome)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert [each["event"] for each in events] == ["begin", "file", "file", "file", "done"]
    assert [each["file"] for each in events[1:-1]] == events[-1]["files"] == NAMES
    assert events[-1]["digest"]


def test_a_dry_run(folder: Path) -> None:
    """--dry-run shows the files, their sizes and the total, and writes nothing."""
    outcome = write("--dry-run", *THREE)
    assert outcome.exit_code == 0
    *files, total = outcome.stdout.splitlines()
    assert files == [f"{name}  32.2 KiB  2 tensors" for name in NAMES]
    assert total.startswith("out: 3 files, 96.59 KiB; ")
    assert total.endswith(" are free. Nothing has been written.")
    assert not (folder / "out").exists()


def test_a_dry_run_of_a_rank() -> None:
    """It also shows which files the rank would write."""
    outcome = write("--dry-run", "--rank", "1", "--world", "2", *THREE)
    *files, total = outcome.stdout.splitlines()
    assert files[1] == f"{NAMES[1]}  32.2 KiB  2 tensors  by this rank"
    assert "96.59 KiB, of which rank 1 of 2 writes 32.2 KiB; " in total


def test_a_dry_run_as_json() -> None:
    """With --json it is one object."""
    (data,) = lines(write("--dry-run", "--json", *THREE))
    assert [each["name"] for each in data["files"]] == NAMES
    assert (data["event"], data["size"], data["world"]) == ("dry-run", sum(each["size"] for each in data["files"]), 1)


def test_a_dry_run_of_two_terabytes(folder: Path) -> None:
    """1,000 layers are shown in seconds, in little memory."""
    model = [
        {"path": f"h.{layer}.{name}", "shape": [8192, 15625], "dtype": "bfloat16"}
        for layer in range(1000)
        for name in "abcdefgh"
    ]
    (folder / "model.json").write_text(json.dumps(model))
    code = (
        "import sys\nimport checkpoint_kit as kit\nfrom fanin.cli import main\n"
        "try:\n    main(sys.argv[1:])\nfinally:\n"
        "    print(kit.peak())"
    )
    arguments = ["write", "recipe.toml", "--model", "model.json", "-o", "out", "--dry-run", "--rank", "499"]
    arguments += ["--world", "500"]  # which has no file, and needs no room
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *arguments]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    *_, total, peak = run.stdout.splitlines()
    assert total.startswith("out: 422 files, 1.863 TiB, of which rank 499 of 500 writes 0 bytes; seed 3; ")
    assert int(peak) < 200


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"RANK": "1", "WORLD_SIZE": "3"}, "Rank 1 of 3, from RANK and WORLD_SIZE.\n"),
        (
            {"SLURM_PROCID": "1", "SLURM_NTASKS": "3", "SLURM_STEP_ID": "0"},
            "Rank 1 of 3, from SLURM_PROCID and SLURM_NTASKS.\n",
        ),
        (
            {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "3"},
            "Rank 1 of 3, from SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT.\n",
        ),
    ],
)
def test_ranks_of_launchers(environment: dict[str, str], words: str, folder: Path) -> None:
    """A launcher's rank is taken, and said on standard error."""
    outcome = write(*THREE, **environment)
    assert (outcome.exit_code, outcome.stderr) == (0, words)
    assert [path.name for path in sorted((folder / "out").glob("model*"))] == [NAMES[1]]
    assert "2 files not there yet, for other ranks to write" in outcome.stdout


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, (0, 1)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_STEP_ID": "0"}, (0, 1)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "3"}, (0, 1)),  # in a batch script
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_ID": "0"}, (1, 2)),
        ({"RANK": "2", "WORLD_SIZE": "4", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, (2, 4)),
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "5"}, (2, 4)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "9",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_MIN": "5",
                "SLURM_ARRAY_TASK_STEP": "2",
                "SLURM_PROCID": "1",
                "SLURM_NTASKS": "3",
                "SLURM_STEP_ID": "0",
            },
            (7, 12),
        ),
    ],
)
def test_places(environment: dict[str, str], place: tuple[int, int]) -> None:
    """Arrays may begin at any number and have steps, and each of their jobs may have tasks."""
    found = Place.of(None, None, environment)
    assert (found.rank, found.world) == place


def test_a_given_rank_comes_first(folder: Path) -> None:
    """--rank and --world are taken whatever the environment."""
    outcome = write("--rank", "0", "--world", "1", RANK="1", WORLD_SIZE="3")
    assert (outcome.exit_code, outcome.stderr) == (0, "Rank 0 of 1, from --rank and --world.\n")


def test_the_last_rank_ends_it(folder: Path) -> None:
    """Ranks make the folder that one process makes."""
    for rank in ("2", "0", "1"):
        outcome = write(*THREE, "--rank", rank, "--world", "3")
    assert "complete: digest " in outcome.stdout
    assert (folder / "out/fanin.json").exists()
    assert (folder / "out/model.safetensors.index.json").exists()


def test_finish(folder: Path) -> None:
    """--finish names what is missing, with exit code 1; on a complete folder it says the digest."""
    write(*THREE, "--rank", "0", "--world", "3")
    finish = ["write", "--finish", "-o", "out"]
    outcome = testing.CliRunner().invoke(main, finish, prog_name="fanin")
    assert outcome.exit_code == 1
    assert outcome.stderr == (
        f"2 of 3 files of out are missing: {NAMES[1]}, {NAMES[2]}. "
        "The same command as before goes on, for each rank that has not ended.\n"
    )
    write(*THREE)
    outcome = testing.CliRunner().invoke(main, finish, prog_name="fanin")
    digest = checkpoints.digest(Recipe.from_toml(RECIPE).plan(MODEL))
    assert (outcome.exit_code, outcome.stdout) == (0, FINISHED.format(digest))
    (done,) = lines(testing.CliRunner().invoke(main, [*finish, "--json"], prog_name="fanin"))
    assert done == {"event": "done", "files": 3, "seed": 3, "digest": digest}


def test_another_checkpoint() -> None:
    """A folder of another plan is exit code 1, with what differs; as JSON it is an event, too."""
    write()
    outcome = write("--seed", "9", "--json")
    assert outcome.exit_code == 1
    assert "holds another checkpoint, or a part of one: it differs in the seed (3 there, 9 here), as" in outcome.stderr
    (event,) = lines(outcome)
    assert event == {"event": "error", "message": outcome.stderr.removesuffix("\n")}


def test_a_recipe_that_does_not_fit(folder: Path) -> None:
    """It is exit code 1, as for `fanin plan`, and nothing is written."""
    (folder / "recipe.toml").write_text(RECIPE.replace('"*"', '"other"'))
    outcome = write()
    assert outcome.exit_code == 1
    assert outcome.stderr.startswith("The recipe does not fit model.json; nothing has been written.\n")
    assert not (folder / "out").exists()


def test_a_rule_that_nothing_uses(folder: Path) -> None:
    """The warning of `initialize` is on standard error."""
    (folder / "recipe.toml").write_text(
        RECIPE.replace(
            "[[rules]]", '[[rules]]\npath = "embed*"\ninitializer = "random_normal"\nstddev = 0.1\n[[rules]]'
        )
    )
    outcome = write()
    assert outcome.exit_code == 0
    assert outcome.stderr.startswith("No parameter of model.json uses rule 1 (line 3).")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rank", "1"), "--rank and --world must be given together. Received: --rank 1 alone."),
        (("--world", "2"), "Received: --world 2 alone."),
        (("--rank", "2", "--world", "2"), "Received: rank 2 of 2, from --rank and --world."),
        (("--format", "safetensor"), "Did you mean 'safetensors'?"),
        (("--max-shard-size", "5G"), "a text such as 5GB, 500MB or 2GiB. Received: '5G'."),
        (("--model", "model.pt"), "fanin does not read .pt files"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str, folder: Path) -> None:
    """Wrong arguments are exit code 2, and nothing is written."""
    outcome = write(*arguments)
    assert outcome.exit_code == 2
    assert message in outcome.stderr
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"RANK": "2"},
            "A launcher must set both RANK and WORLD_SIZE. Received: RANK='2' without WORLD_SIZE. Give --rank and --w",
        ),
        ({"WORLD_SIZE": "2"}, "Received: WORLD_SIZE='2' without RANK. Give --rank and --world."),
        ({"SLURM_ARRAY_TASK_ID": "2"}, "Received: SLURM_ARRAY_TASK_ID='2' without SLURM_ARRAY_TASK_COUNT. Give"),
        (
            {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "3"},
            "SLURM_ARRAY_TASK_ID=3, SLURM_ARRAY_TASK_COUNT=3",
        ),
        (
            {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_STEP": "4"},
            "The jobs of an array must be numbered without gaps.",
        ),
        ({"SLURM_PROCID": "1", "SLURM_STEP_ID": "0"}, "Received: SLURM_PROCID='1' without SLURM_NTASKS."),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK must be a whole number. Received: RANK='x'. Give --rank and --world."),
        ({"RANK": "3", "WORLD_SIZE": "2"}, "Received: rank 3 of 2, from RANK and WORLD_SIZE."),
    ],
)
def test_wrong_environments(environment: dict[str, str], message: str) -> None:
    """A launcher's numbers that are no rank are wrong usage."""
    outcome = write(**environment)
    assert outcome.exit_code == 2
    assert message in outcome.stderr


def test_recipe_and_model_are_needed() -> None:
    """Without --finish, both are."""
    outcome = testing.CliRunner().invoke(main, ["write", "recipe.toml", "-o", "out"], prog_name="fanin")
    assert outcome.exit_code == 2
    assert "Give a RECIPE and a --model, or --finish." in outcome.stderr


def test_one_standard_input() -> None:
    """Only one of recipe and model can be on standard input."""
    outcome = write(recipe="-", model="-")
    assert (outcome.exit_code, "Only one of RECIPE and --model can be -" in outcome.stderr) == (2, True)


def test_a_factory(folder: Path) -> None:
    """A factory's model is made on the meta device, and its file loads into it."""
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    code = (
        "import torch\n\ndef net():\n    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))\n"
    )
    (folder / "factory_of_a_net.py").write_text(code)
    assert write(recipe="torch", model="factory_of_a_net:net").exit_code == 0
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    net.load_state_dict(safetensors.load_file(folder / "out/model.safetensors"), strict=True)


def test_torchrun(folder: Path) -> None:
    """Three processes of torchrun make the folder that one process makes."""
    pytest.importorskip("torch")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3", "-m", "fanin", "write"]
    arguments = ["recipe.toml", "--model", "model.json", "--max-shard-size", "40KB", "-o"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([*launch, *arguments, "out"], env=environment, check=True, capture_output=True)
    alone = testing.CliRunner().invoke(main, ["write", *arguments, "alone"], prog_name="fanin")
    assert alone.exit_code == 0
    found, expected = (
        {path.name: path.read_bytes() for path in (folder / name).iterdir()} for name in ("out", "alone")
    )
    assert found == expected


def test_a_dry_run_makes_the_checks(folder: Path) -> None:
    """Whatever the real run refuses, --dry-run refuses with the same message and exit code, and writes nothing."""
    (folder / "out").mkdir()
    cases = {
        "fanin.json": "{",
        ".metadata": "",
        "pytorch_model.bin": "",
    }
    for name, text in cases.items():
        (folder / "out" / name).write_text(text)
        dry = write("--dry-run")
        assert [path.name for path in (folder / "out").iterdir()] == [name]
        real = write()
        assert (dry.exit_code, dry.stdout, dry.stderr) == (1, "", real.stderr)
        (folder / "out" / name).unlink()


def test_a_dry_run_without_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does it where there is too little room, before the folder is made."""
    state = os.statvfs(folder)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*state[:4], 2, *state[5:])))
    dry = write("--dry-run")
    assert not (folder / "out").exists()
    assert (dry.exit_code, dry.stderr) == (1, write().stderr)
    assert f"has {2 * state.f_frsize // 1024} KiB free, and" in dry.stderr


def test_a_dry_run_in_place_of_a_file(folder: Path) -> None:
    """A folder that cannot be made is seen, too."""
    (folder / "file").write_text("")
    outcome = [write("-o", "file/out", *more) for more in (["--dry-run"], [])]
    assert [each.exit_code for each in outcome] == [1, 1]
    assert [each.stderr for each in outcome] == ["file/out cannot be used (Not a directory).\n"] * 2


def test_a_dry_run_of_another_checkpoint() -> None:
    """Another seed is refused."""
    write()
    outcome = write("--dry-run", "--seed", "9")
    assert (outcome.exit_code, "the seed (3 there, 9 here), as" in outcome.stderr) == (1, True)


def test_a_dry_run_says_what_is_kept(folder: Path) -> None:
    """Files that are complete are marked, in words and as data."""
    write(*THREE)
    (folder / "out" / NAMES[1]).unlink()
    files = write("--dry-run", *THREE).stdout.splitlines()[:-1]
    assert [each.endswith("  would be kept") for each in files] == [True, False, True]
    (data,) = lines(write("--dry-run", "--json", *THREE))
    assert [each["kept"] for each in data["files"]] == [True, False, True]
    assert data["seed"] == 3


def test_replace(folder: Path) -> None:
    """Values that were trained are refused, by --dry-run too, and set aside with --replace."""
    library = pytest.importorskip("safetensors.numpy")
    write()
    path = folder / "out/model.safetensors"
    arrays = {name: array + 1 for name, array in library.load_file(path).items()}
    library.save_file(arrays, path, {"format": "pt"})
    dry, real = write("--dry-run"), write()
    assert (dry.exit_code, real.exit_code, dry.stderr) == (1, 1, real.stderr)
    assert "may have been trained since: model.safetensors. Nothing has been changed. " in real.stderr
    assert "give --replace to rename these files to ….replaced-1 and write them again.\n" in real.stderr
    assert "would replace one with other values" in write("--dry-run", "--replace").stdout
    assert write("--replace").exit_code == 0
    assert (folder / "out/model.safetensors.replaced-1").exists()


def test_already_complete() -> None:
    """A second run says first that there was nothing to do, and the seed."""
    write()
    first = write().stdout.splitlines()[0]
    assert first.startswith("out: already complete, checked in ")
    assert first.endswith(" s; seed 3")


@pytest.mark.parametrize(
    "arguments",
    [["recipe.toml"], ["--model", "m.json"], ["--rank", "0"], ["--world", "1"], ["--dry-run"], ["--format", "npz"]],
)
def test_finish_goes_alone(arguments: list[str]) -> None:
    """With options that it does not use, --finish is wrong usage."""
    outcome = testing.CliRunner().invoke(main, ["write", "--finish", "-o", "out", *arguments], prog_name="fanin")
    assert outcome.exit_code == 2
    name = "RECIPE" if arguments[0] == "recipe.toml" else arguments[0]
    assert f"--finish goes with --output and --json alone. Received: {name}." in outcome.stderr


def test_finish_of_one_rank(folder: Path) -> None:
    """For a single rank, the same command goes on."""
    write(*THREE)
    (folder / "out" / NAMES[1]).unlink()
    outcome = testing.CliRunner().invoke(main, ["write", "--finish", "-o", "out"], prog_name="fanin")
    assert outcome.stderr == f"1 of 3 files of out is missing: {NAMES[1]}. The same command goes on.\n"


def test_words_of_the_command(folder: Path) -> None:
    """Messages name the command's options, and none that it does not have."""
    more = write("--rank", "1", "--world", "2")
    assert "A smaller --max-shard-size makes more." in more.stdout
    (folder / "recipe.toml").write_text(RECIPE.replace('"*"', '"other"'))
    outcome = write()
    assert outcome.exit_code == 1
    assert "unmatched" not in outcome.stderr
    assert outcome.stderr.endswith('Add rules for them (the last one may be path = "*").\n')


FACTORIES = "number = 3\ndef wants(a): ...\ndef three(): return 3\n"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("no_such_module:make", "Received: no_such_module:make, but there is no module no_such_module in this folder"),
        ("odd_factories:number", "Received: odd_factories:number, which is of type int and cannot be called."),
        ("odd_factories:wants", "which needs arguments (missing a required argument: 'a'). Give a function without"),
        ("odd_factories:three", "--model must be a factory that returns a model. Received: odd_factories:three. "),
        ("no.json", "--model must be a file that can be read. Received: 'no.json' (No such file or directory)."),
    ],
)
def test_no_factories(model: str, message: str, folder: Path) -> None:
    """What is no factory, and no file, is one message without a traceback."""
    (folder / "odd_factories.py").write_text(FACTORIES)
    outcome = write(model=model)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert message in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert "Traceback" not in outcome.stderr
    assert "Errno" not in outcome.stderr
