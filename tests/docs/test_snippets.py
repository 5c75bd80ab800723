"""Every block of code in the pages: what runs it, or why nothing does.

Sessions of Python (`>>>`) are run by `test_documentation.py`, consoles (`$`) by `test_commands.py`. This file runs the
rest: scripts of Python, recipes, lists of shapes, and the commands of `sh` blocks.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import doc_pages
import fanin
from doc_pages import Block, blocks
from page_commands import commands
from timm_models import without_operators

LANGUAGES = {"python", "pycon", "console", "sh", "bash", "toml", "json", "text"}
BLOCKS = [block for path in doc_pages.PAGES for block in blocks(path)]
RUN = [block for block in BLOCKS if not block.reason and block.language != "text"]
SCRIPTS = [block for block in RUN if block.language == "python" and not block.is_session]
SHELL = [block for block in BLOCKS if block.language in ("sh", "bash")]
EXTRAS = tomllib.loads((doc_pages.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
# Of a small model of language, in the place of the pages' large ones.
SIZES = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
# What the pages call package.module.
FACTORY = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.fc, self.c_proj = nn.LayerNorm(8), nn.Linear(8, 32), nn.Linear(32, 8)

def factory(layers=2):
    return nn.ModuleDict({"wte": nn.Embedding(100, 8), "h": nn.ModuleList(Block() for _ in range(layers))})

def small():
    return factory()

def large():
    return factory(3)

def save():
    from safetensors.torch import save_file
    torch.manual_seed(1)
    for name in ("model", "before", "after"):
        save_file(factory().state_dict(), f"{name}.safetensors")
"""


def named(found: list[Block]) -> Any:
    """A parameter for each block."""
    return pytest.mark.parametrize("block", found, ids=str)


@named(BLOCKS)
def test_languages(block: Block) -> None:
    """Every block says what it is in, so that something runs it; `text` is what nothing can run."""
    assert block.language in LANGUAGES


@pytest.mark.parametrize("path", doc_pages.PAGES, ids=doc_pages.name_of)
def test_every_page_has_an_example_that_runs(path: Path) -> None:
    """No page is without an example that runs."""
    assert [block for block in RUN if block.page == doc_pages.name_of(path)]


# Scripts of Python


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the scripts take for granted: a configuration of a small model, a mesh, functions of PyTorch."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    import fanin.torch

    distributed = torch.distributed
    store = tmp_path_factory.mktemp("store") / "store"
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield {
        "AutoModelForCausalLM": transformers.AutoModelForCausalLM,
        "config": transformers.LlamaConfig(**SIZES),
        "conv": torch.nn.Conv2d(3, 8, 3),
        "fanin": fanin,
        "fully_shard": distributed.fsdp.fully_shard,
        "mesh": distributed.device_mesh.init_device_mesh("cpu", (1,)),
        "timm": SimpleNamespace(create_model=small_model),
        "torch": torch,
    }
    distributed.destroy_process_group()


def small_model(name: str) -> Any:
    """A model of timm's, in the place of a larger one that timm has as well."""
    with pytest.MonkeyPatch.context() as patch, without_operators():
        patch.syspath_prepend(os.environ.get("FANIN_TIMM", "."))  # timm is apart from the other packages
        timm = pytest.importorskip("timm")
        assert name in timm.list_models()
        return timm.create_model("vit_tiny_patch16_224")


@pytest.mark.filterwarnings("ignore")  # of libraries
@named(SCRIPTS)
def test_scripts(block: Block, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A script without prompts ends well, with a small model in the place of a large one."""
    import transformers

    whole = transformers.AutoConfig.for_model
    monkeypatch.setattr(transformers.AutoConfig, "for_model", lambda name: whole(name, **SIZES))
    monkeypatch.setattr(transformers, "LlamaConfig", lambda **_: names["config"])
    above = [
        each for each in SCRIPTS if each.page == block.page and each.line < block.line and "config =" in each.source
    ]
    scope = dict(names)
    for each in [*above, block]:
        exec(compile("\n" * (each.line - 1) + each.source, each.page, "exec"), scope)


# Recipes and lists of shapes


@named([block for block in RUN if block.language == "toml"])
def test_recipes(block: Block) -> None:
    """A recipe on a page is one without mistakes."""
    assert fanin.Recipe.from_toml(block.source).rules


@named([block for block in RUN if block.language == "json"])
def test_shapes(block: Block) -> None:
    """A list of shapes on a page is one that a plan can be made of."""
    shapes = json.loads(block.source)
    assert len(fanin.Recipe([{"path": "*", "initializer": "zeros"}]).plan(shapes).entries) == len(shapes)


# Commands


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands name: factories of models, files of weights, a recipe, a checkpoint."""
    for package in ("click", "rich", "torch", "safetensors"):
        pytest.importorskip(package)
    found = tmp_path_factory.mktemp("commands")
    for path in (found / "package/module.py", found / "mypackage/models.py"):
        path.parent.mkdir()
        path.write_text(FACTORY)
    (found / "llama.py").write_text(f"{FACTORY}\nmodel = factory\n")
    bin_folder = commands(found / "bin")
    shutil.copy(doc_pages.ROOT / "examples/recipe.toml", found / "recipe.toml")
    shapes = [{"path": "fc.kernel", "shape": [8, 4], "role": "kernel", "layout": "keras"}]
    (found / "model.json").write_text(json.dumps(shapes))
    (bin_folder / "make-recipe").write_text("#!/bin/sh\nfanin recipe new --preset keras\n")
    (bin_folder / "make-recipe").chmod(0o755)
    run(found, "python -c 'from package.module import save; save()'")
    run(found, "fanin recipe from package.module:factory > own.toml")
    run(found, "fanin write own.toml --model package.module:factory -o out")
    return found


def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """A command that has ended well, or with the exit code of one that found something."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]), "OMP_NUM_THREADS": "1"}
    environment["PATH"] = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), f"{command}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, f"{command}\n{done.stderr}"
    return done


def lines(block: Block, start: str) -> list[str]:
    """The commands of a block that begin with a word, alone or after `&&`."""
    whole = re.sub(r"\\\n", "", block.source)
    parts = [part.strip() for line in whole.splitlines() for part in line.split("&&")]
    return [part for part in parts if re.match(rf"(\S+ \| )?{start}\b", part)]


@named([block for block in SHELL if not block.reason and lines(block, "fanin")])
def test_commands_of_fanin(block: Block, folder: Path) -> None:
    """Commands of `sh` blocks run, one after another."""
    for command in lines(block, "fanin"):
        run(folder, command)


@named([block for block in BLOCKS if block.reason])
def test_blocks_that_are_not_run(block: Block) -> None:
    """What needs more than there is here is at least well-formed: Python's grammar, arguments that fanin takes."""
    if block.language == "python":
        compile(block.source, block.page, "exec")
        return
    pytest.importorskip("click")
    from fanin.cli import main

    assert lines(block, "fanin")
    for command in lines(block, "fanin"):
        name, *arguments = shlex.split(command)[1:]
        main.commands[name].make_context(name, arguments)


@named(SHELL)
def test_other_commands(block: Block) -> None:
    """Scripts exist and can be run, extras are in pyproject.toml, and nothing else is asked for but what CI runs."""
    known = ("fanin", "pip install", "scripts/", "torchrun", "pytest", "python -m venv", "source .venv/bin/activate")
    for command in lines(block, r"\S"):
        assert command.startswith(("#SBATCH", "make-recipe", *known)), command
        words = shlex.split(command, comments=True)
        if command.startswith("scripts/"):
            assert os.access(doc_pages.ROOT / words[0], os.X_OK)
        if words[:1] == ["torchrun"]:
            assert (doc_pages.ROOT / words[-1]).is_file()
        for extra in re.findall(r"(?:\.|fanin)\[([\w,]+)\]", command):
            assert set(extra.split(",")) <= set(EXTRAS)


# The help of commands


def helps(command: Any, path: tuple[str, ...] = ("fanin",)) -> Iterator[tuple[tuple[str, ...], str]]:
    """The words of a command and of those below it, each with its help."""
    import click

    yield path, command.get_help(click.Context(command, info_name=" ".join(path), terminal_width=200))
    for name, below in getattr(command, "commands", {}).items():
        yield from helps(below, (*path, name))


@pytest.fixture(scope="module")
def texts() -> dict[tuple[str, ...], str]:
    """The help of every command."""
    pytest.importorskip("click")
    from fanin.cli import main

    return dict(helps(main))


def examples(text: str) -> list[str]:
    """The commands that a help ends with."""
    return re.findall(r"^    (\S.*)$", text.partition("Examples:")[2], re.MULTILINE)


def test_every_help_has_examples_and_exit_codes(texts: dict[tuple[str, ...], str]) -> None:
    """Of every command, its help shows how it is called and what its exit codes mean; groups show examples."""
    groups = {words[:-1] for words in texts}
    assert len(texts) >= 12
    for words, text in texts.items():
        assert examples(text), words
        assert words in groups or "Exit codes: 0 " in text, words


def test_no_help_sends_to_another(texts: dict[tuple[str, ...], str]) -> None:
    """A help says itself what an option takes, by a word for it and a sentence."""
    for words, text in texts.items():
        assert "As for `" not in text, words
        assert not re.search(r"--\w+ TEXT", text), words


def test_examples_of_the_first_help(texts: dict[tuple[str, ...], str], folder: Path, tmp_path: Path) -> None:
    """What `fanin --help` and `fanin recipe --help` show works as it stands, one after another."""
    copy = shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("out", "*.toml"))
    found = [*examples(texts[("fanin",)]), *examples(texts[("fanin", "recipe")])]
    assert {"show", "recipe", "plan", "write", "check", "report"} <= {each.split()[1] for each in found}
    for command in found:
        assert run(copy, command).returncode == 0, command
