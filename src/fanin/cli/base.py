"""What the commands share: the errors of wrong usage, and the arguments that are recipes and models."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click

from fanin._core.messages import shown, suggestion, visible

if TYPE_CHECKING:
    from fanin.models.parameters import Model
    from fanin.recipes import Plan, Recipe

STANDARD_INPUT = "-"  # in place of a file
TOML_INPUT = "standard input (TOML)"  # a recipe on standard input, in messages
# What --model takes, in the help of every command that has it.
MODEL_HELP = (
    "The model: package.module:function, a factory, which is called on the meta device, so that it needs no memory, "
    "and returns the model (of JAX also what fanin.jax.layers_of returns); a .safetensors file; or a list of shapes "
    "(.json or .toml; - for JSON from standard input)."
)
SEED_NEEDS_RECIPE = (
    "--seed needs a --recipe. `fanin recipe from package.module:factory > recipe.toml` makes one of a model's own code."
)
RECIPE_HELP = "a .toml or .yaml file, the name of a preset, or - for TOML from standard input"


def visible_lines(text: str) -> str:
    """A text with its line ends, but without other control characters."""
    return "\n".join(map(visible, text.split("\n")))


class Refusal(click.ClickException):
    """The error for wrong usage: its message goes to stderr, and the exit code is 2."""

    exit_code = 2

    def format_message(self) -> str:
        """The message, without control characters."""
        return visible_lines(self.message)


# What people call commands, from the names of functions and of other tools' commands.
_OTHER_NAMES = {
    "audit": "check",
    "compare-checkpoints": "diff",
    "compare_checkpoints": "diff",
    "verify": "check",
    "inspect": "show",
    "init": "write",
    "initialize": "write",
}


class Commands(click.Group):
    """The commands, with a hint for those that have another name."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """The command that the arguments begin with."""
        name = args[0] if args else ""
        if name in _OTHER_NAMES and self.get_command(ctx, name) is None:
            ctx.fail(f"No such command {name!r}. Did you mean {_OTHER_NAMES[name]!r}?")
        return super().resolve_command(ctx, args)


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Turns the library's errors into a message and exit code 2, and its warnings into lines on stderr."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warned
            yield
    except BrokenPipeError:  # the reader has stopped reading
        raise
    except (TypeError, ValueError, MemoryError, ImportError) as error:
        raise Refusal(str(error)) from error
    except OSError as error:
        raise Refusal(
            f"{error.filename} cannot be used: {error.strerror}." if error.filename else str(error)
        ) from error


def _warned(message: Warning | str, *_: Any, **__: Any) -> None:
    """Shows a warning without the line of Python that it comes from, which is none of the user's."""
    click.echo(visible_lines(f"Warning: {message}"), err=True)


def recipe_argument(text: str, seed: int | None) -> Recipe:
    """The recipe that a preset's name, a file or the standard input is."""
    from pathlib import Path

    from fanin.recipes import PRESETS, Recipe

    if text == STANDARD_INPUT:
        recipe = Recipe.from_toml(standard_input(), name=TOML_INPUT)
    elif text in PRESETS:
        recipe = Recipe.preset(text)
    elif Path(text).is_file():
        recipe = Recipe.load(text)
    else:
        rule = f"RECIPE must be a file, - or one of the presets, {', '.join(PRESETS)}"
        raise Refusal(f"{rule}. Received: {shown(text)}.{suggestion(text, PRESETS)}")
    return recipe if seed is None else recipe.with_seed(seed)


def model_argument(text: str, recipe: Recipe) -> Model:
    """The description of a model that is given as a file, a factory or the standard input.

    If the recipe asks a model's own code, a factory is called where that code is recorded.
    """
    from fanin.models.arguments import described_argument
    from fanin.models.files import describe_text

    if text == STANDARD_INPUT:
        return describe_text(standard_input(), "standard input")
    return described_argument(text, recorded_by_torch if recipe.is_as_written else None)


def planned_argument(recipe: str, model: str, seed: int | None) -> Plan:
    """The plan of a recipe for a model."""
    found = recipe_argument(recipe, seed)
    return found.plan(model_argument(model, found))


def check_page(file: str) -> None:
    """Raises an error if no page can be written there, before anything is computed.

    Args:
        file: what -o says.
    """
    import os
    from pathlib import Path

    from fanin.report.pages import PAGE_ENDS, is_page

    path = Path(file)
    if not is_page(path):
        raise Refusal(f"-o must be a file that ends in {' or '.join(PAGE_ENDS)}. Received: {shown(file)}.")
    if not path.parent.is_dir():
        raise Refusal(f"-o must be a file in a folder that exists. Received: {shown(file)}.")
    if path.is_dir():
        raise Refusal(f"-o must be a file. Received: {shown(file)}, a folder.")
    if not os.access(path.parent, os.W_OK):
        raise Refusal(f"-o must be a file in a folder that can be written to. Received: {shown(file)}.")


def recorded_by_torch() -> AbstractContextManager[Any]:
    """The context in which PyTorch's models are recorded; only for a factory that has loaded PyTorch."""
    from fanin.torch import recording

    return recording()


def standard_input() -> str:
    """What standard input has to say."""
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refusal(f"Standard input must be UTF-8 ({error}).") from None
