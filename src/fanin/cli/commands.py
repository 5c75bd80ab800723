"""The commands: one function for each, which imports what it needs when it runs."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from fanin import __version__
from fanin._core.messages import shown, suggestion
from fanin.cli.base import (
    MODEL_HELP,
    STANDARD_INPUT,
    Commands,
    Refusal,
    planned_argument,
    refusing,
    standard_input,
    visible_lines,
)
from fanin.cli.check import check
from fanin.cli.compare import compare
from fanin.cli.diff import diff
from fanin.cli.explore import explore
from fanin.cli.recipes import recipe
from fanin.cli.report import report

if TYPE_CHECKING:
    from rich.console import Console

    from fanin.initializers import Initializer


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Exit codes: 0 all is well, 1 something is wrong, 2 wrong usage. `fanin COMMAND --help` has more examples.

\b
Examples:
  fanin show he_normal --shape 3x3x64x128 --seed 1
  fanin recipe new --preset gpt2 > recipe.toml
  fanin plan recipe.toml --model package.module:factory
  fanin write recipe.toml --model package.module:factory -o out/
  fanin check out/
  fanin check model.safetensors --model package.module:factory
  fanin report model.safetensors -o report.html
""",
)
@click.version_option(__version__, message="fanin %(version)s")
def main() -> None:
    """Neural-network weight initializers: the values of Keras 2 as functions of seed and index."""


for _command in (check, compare, diff, explore, recipe, report):
    main.add_command(_command)


@main.command(
    short_help="Draw an array and measure it against theory.",
    epilog="""\b
Exit codes: 0 the array agrees with theory, 1 it does not, 2 wrong usage.
JSON keys: initializer, arguments, shape, dtype, kind, parameters, count, bytes,
  agrees, statistics, histogram, sparkline, python; with --list: initializers.

\b
Examples:
  fanin show he_normal --shape 3x3x64x128 --seed 1 --dtype bfloat16
  fanin show variance_scaling --set scale=2 --set mode=fan_out --shape 784x256 --json
""",
)
@click.argument("name", required=False)
@click.option("--shape", metavar="SHAPE", help="Such as 3x3x64x128 or 3,3,64,128; () or scalar for rank 0.")
@click.option("--dtype", metavar="DTYPE", help="Such as bfloat16.  [default: fanin.config.floatx]")
@click.option("--seed", type=int, help="Without it, a seed is drawn and shown.")
@click.option("--set", "settings", metavar="ARG=VALUE", multiple=True, help="An argument of NAME; repeatable.")
@click.option("--list", "listing", is_flag=True, help="Show the initializers and their arguments instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(
    name: str | None,
    shape: str | None,
    dtype: str | None,
    seed: int | None,
    settings: tuple[str, ...],
    listing: bool,
    as_json: bool,
) -> None:
    """Draw the array that initializer NAME makes and measure it against theory."""
    import json

    with refusing():
        if listing:
            _list(name, as_json)
            return
        if name is None or shape is None:
            raise click.UsageError("Give the NAME of an initializer and a --shape, or --list.")
        from fanin.audits import inspections as reports

        cls = _class(name)
        initializer = cls(**_arguments(cls, [*settings, *([] if seed is None else [f"seed={seed}"])]))
        report = reports.inspect(initializer, _shape(shape), dtype)
    if as_json:
        click.echo(json.dumps(report.as_dict()))
    else:
        with _printing() as console:
            reports.render(report, console)
    if not report.agrees:
        click.echo(f"The array does not agree with theory: {'; '.join(report.complaints())}.", err=True)
        sys.exit(1)


@main.command(
    short_help="Compare fanin's speed with the other installed libraries.",
    epilog="""\b
A tier is the code for one kind of processor: baseline for all, avx2 and avx512 where there are such instructions.

\b
Exit codes: 0 done, 1 a tier is not as fast as it should be (--check), 2 wrong usage.
JSON keys: machine, versions, results; of a result: group, case, threads, candidate, elements, rounds, seconds.

\b
Examples:
  fanin bench --group fill
  fanin bench --json bench.json
""",
)
@click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="GROUP",
    help="fill, fresh, small, layouts, orthogonal, frameworks, models or import; repeatable.  [default: all of them]",
)
@click.option("--quick", is_flag=True, help="Small sizes and few rounds: the figures mean little.")
@click.option("--json", "file", type=click.Path(dir_okay=False, writable=True), help="Write every round to a file.")
@click.option("--check", is_flag=True, help="Only check that each tier (see below) is faster than the one before.")
def bench(groups: tuple[str, ...], quick: bool, file: str | None, check: bool) -> None:
    """Time fanin and the other installed libraries, in interleaved rounds of one process; print medians and ratios."""
    with refusing():
        from pathlib import Path

        from fanin.cli import bench as benchmarks
    if check:
        wrong = benchmarks.check()
        for each in wrong:
            click.echo(f"A tier is not as fast as it should be: {each}.", err=True)
        if wrong:
            sys.exit(1)
        click.echo("Every tier is faster than the one before.")
        return
    for group in groups:
        if group not in benchmarks.GROUPS:
            known = benchmarks.GROUPS
            rule = f"--group must be one of {', '.join(known)}"
            raise Refusal(f"{rule}. Received: {shown(group)}.{suggestion(group, known)}")
    if file is not None and not Path(file).parent.is_dir():
        raise Refusal(f"--json must be a file in a folder that exists. Received: {shown(file)}.")
    measured = []
    click.echo(benchmarks.heading(benchmarks.machine(), benchmarks.versions()))
    for results in benchmarks.run(groups or benchmarks.GROUPS, quick=quick):
        measured += results
        click.echo(benchmarks.table(results))
    if file is not None:
        Path(file).write_text(benchmarks.as_json(measured) + "\n")


@main.command(
    short_help="Show what a recipe gives a model; nothing is drawn or written.",
    epilog="""\b
Exit codes: 0 the recipe fits the model, 1 it does not, 2 wrong usage,
  3 it fits, and the plan differs from the one to --compare with.

On a terminal, the table is made to fit: it leaves out columns, in the order layout, dtype, layer, seed, role, name,
fans, shape, and then shortens texts. --json has everything.

\b
Examples:
  fanin plan recipe.toml --model package.module:factory
  fanin plan gpt2 --model model.safetensors --seed 1 --json > plan.json
  fanin plan recipe.toml --model model.json --compare plan.json
  make-recipe | fanin plan - --model model.json
""",
)
@click.argument("recipe")
@click.option(
    "--model",
    "model",
    required=True,
    metavar="MODEL",
    help=MODEL_HELP,
)
@click.option("--seed", type=int, help="A seed that replaces the recipe's.")
@click.option(
    "--compare",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Show how the plan differs from an earlier one's JSON.",
)
@click.option("--all", "every", is_flag=True, help="Show repeated blocks one by one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(recipe: str, model: str, seed: int | None, compare: str | None, every: bool, as_json: bool) -> None:
    """Show what RECIPE gives each parameter of MODEL.

    RECIPE is a .toml or .yaml file, the name of a preset, or - for TOML from standard input.
    """
    import json

    with refusing():
        from fanin.recipes import Comparison
        from fanin.report import terminal_width

        if [recipe, model, compare].count(STANDARD_INPUT) > 1:
            raise Refusal("Only one of RECIPE, --model and --compare can be -, the standard input.")
        before = None if compare is None else _earlier(compare)
        made = planned_argument(recipe, model, seed)
        difference = None if before is None else Comparison.of(before, made)
    if difference is None:
        width = terminal_width()
        click.echo(made.to_json() if as_json else made.table(fold=not every, width=width), nl=not as_json)
    else:
        click.echo(json.dumps(difference.as_dict()) if as_json else str(difference))
    if made.problems or made.unmatched:
        click.echo("The recipe does not fit the model.", err=True)
        for each in made.complaints() if difference is not None else ():
            click.echo(f"  {each}", err=True)
        sys.exit(1)
    if difference:
        sys.exit(3)


def _earlier(file: str) -> Any:
    """The data of an earlier plan's JSON."""
    import json
    from pathlib import Path

    try:
        return json.loads(standard_input() if file == STANDARD_INPUT else Path(file).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        rule = "--compare must be the JSON of a plan, which `fanin plan --json` makes"
        raise Refusal(f"{rule}. Received: {shown(file)} ({error}).") from None


@main.command(
    short_help="Write the values of a recipe for a model to disk.",
    epilog="""\b
Exit codes: 0 this rank's files are written, 1 they cannot be (the recipe does not fit, no room, another checkpoint is
  there, …), 2 wrong usage.
JSON events and their keys: begin (rank, world, files, bytes, seed), progress (done, total, seconds), kept (file),
  file (file, size), done (folder, rank, world, seed, files, kept, replaced, missing, nbytes, seconds, digest, left; of
  --finish: files, seed, digest), dry-run (folder, format, seed, rank, world, size, free, files), error (message).

\b
Examples:
  fanin write llama --model package.module:factory -o out/ --dry-run
  fanin write recipe.toml --model model.json -o out/ --max-shard-size 2GB
  torchrun --nproc-per-node 4 --no-python fanin write recipe.toml --model model.json -o out/
  fanin write --finish -o out/
""",
)
@click.argument("recipe", required=False)
@click.option("--model", metavar="MODEL", help=MODEL_HELP)
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False), help="The folder to write to.")
@click.option("--seed", type=int, help="A seed that replaces the recipe's.")
@click.option("--format", metavar="FORMAT", help="safetensors or npz.  [default: safetensors]")
@click.option("--max-shard-size", metavar="SIZE", help="The most bytes of tensors in a file.  [default: 5GB]")
@click.option("--rank", type=int, help="The rank of this process.  [default: from torchrun or Slurm, else 0]")
@click.option("--world", type=int, help="The number of processes.  [default: from torchrun or Slurm, else 1]")
@click.option("--replace", is_flag=True, help="Set files aside whose values were changed since, and write them again.")
@click.option("--dry-run", is_flag=True, help="Check everything and show the files, but write nothing.")
@click.option("--finish", is_flag=True, help="Only make the index and manifest of what all ranks have written.")
@click.option("--json", "as_json", is_flag=True, help="Print an event on each line, as JSON.")
def write(output: str, finish: bool, as_json: bool, **options: Any) -> None:
    """Write the values that RECIPE gives MODEL to files, in bounded memory. The same command continues an ended run.

    RECIPE is a .toml or .yaml file, the name of a preset, or - for TOML from standard input.
    """
    import json

    def tell(event: dict[str, Any]) -> None:
        click.echo(json.dumps(event))

    with refusing():
        from fanin import checkpoints
        from fanin.checkpoints.command import finished, in_words_of_command
        from fanin.recipes import PlanError

        try:
            done, text = finished(output, options) if finish else _written(output, tell if as_json else None, **options)
        except (checkpoints.CheckpointError, PlanError) as error:
            message = in_words_of_command(str(error))
            if as_json:
                tell({"event": "error", "message": message})
            click.echo(visible_lines(message), err=True)
            sys.exit(1)
        except ValueError as error:
            raise Refusal(in_words_of_command(str(error))) from error
    if as_json:
        tell({"event": "dry-run" if options["dry_run"] else "done", **done})
    else:
        click.echo(text)


def _written(output: str, tell: Any, *, recipe: Any, model: Any, **options: Any) -> tuple[dict[str, Any], str]:
    """Writes, or shows what would be written: the report as data and as text."""
    import os
    from pathlib import Path

    from fanin import checkpoints
    from fanin.checkpoints.command import DryRun, Place, in_words_of_command

    if recipe is None or model is None:
        raise click.UsageError("Give a RECIPE and a --model, or --finish.")
    if recipe == model == STANDARD_INPUT:
        raise Refusal("Only one of RECIPE and --model can be -, the standard input.")
    place = Place.of(options["rank"], options["world"], os.environ)
    made = planned_argument(recipe, model, options["seed"])
    made.check()
    if made.warning:
        click.echo(in_words_of_command(made.warning), err=True)
    how = {each: options[each] for each in ("format", "max_shard_size") if options[each] is not None}
    if options["dry_run"]:
        run = DryRun.of(checkpoints.arrange(made, **how), place, Path(output), replace=options["replace"])
        return run.as_dict(), str(run)
    if place.origin and tell is None:
        click.echo(str(place), err=True)
    how |= {"rank": place.rank, "world": place.world, "replace": options["replace"]}
    report = checkpoints.write(made, output, progress=tell, **how)
    return report.as_dict(), in_words_of_command(str(report))


_REQUIRED = "required"  # in place of the default of an argument that has none


def _list(name: str | None, as_json: bool) -> None:
    """Prints how each initializer is called and what it does, for all of them or the one with this name."""
    import inspect
    import json
    from textwrap import fill

    from rich.text import Text

    from fanin.initializers import CLASSES, NAMES
    from fanin.report import literal

    entries = [
        {
            "name": next(each for each, known in NAMES.items() if known is cls and each.islower()),
            "class": cls.__name__,
            "arguments": {
                each.name: _REQUIRED if each.default is each.empty else each.default
                for each in inspect.signature(cls).parameters.values()
            },
            "description": (cls.__doc__ or "").partition("\n")[0],
        }
        for cls in (CLASSES if name is None else [_class(name)])
    ]
    if as_json:
        click.echo(json.dumps({"initializers": entries}))
        return
    with _printing() as console:
        for entry in entries:
            arguments = ", ".join(
                each if value == _REQUIRED else f"{each}={literal(value)}" for each, value in entry["arguments"].items()
            )
            console.print(Text.assemble((entry["name"], "bold cyan"), f"({arguments})"), soft_wrap=True)
            description = fill(entry["description"], console.width, initial_indent="    ", subsequent_indent="    ")
            console.print(Text(description, "dim"), soft_wrap=True)


def _class(name: str) -> type[Initializer]:
    """The initializer class with this name, in any of its spellings."""
    from fanin.initializers import NAMES, Initializer, name_hint

    known = {each: cls for each, cls in NAMES.items() if cls is not Initializer}
    if name in known:
        return known[name]
    hint = name_hint(name, known) or " `fanin show --list` lists all names."
    raise Refusal(f"NAME must be the name of an initializer. Received: {shown(name)}.{hint}")


def _shape(text: str) -> tuple[int, ...]:
    """`3x3x64x128`, `3,3,64,128`, `(3, 3)`, `()` or `scalar` as a tuple. The library rejects negative lengths."""
    inside = re.sub(r"^\((.*?),?\s*\)$", r"\1", text.strip())
    if inside in ("", "scalar"):
        return ()
    try:
        return tuple(int(length) for length in re.split("[x,]", inside))
    except ValueError:
        raise Refusal(
            f"--shape must be whole numbers joined by x or commas, such as 3x3x64x128. Received: {shown(text)}."
        ) from None


def _arguments(cls: type[Initializer], settings: Iterable[str]) -> dict[str, Any]:
    """The arguments of a class from `name=value` pairs. The class itself checks the values."""
    import inspect

    allowed = list(inspect.signature(cls).parameters)
    arguments: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise Refusal(f"--set must be ARG=VALUE, such as stddev=0.02. Received: {shown(setting)}.")
        if name not in allowed:
            rule = f"ARG must be one of {', '.join(allowed)}" if allowed else "there are no arguments"
            raise Refusal(f"For {cls.__name__}, {rule}. Received: {shown(setting)}.{suggestion(name, allowed)}")
        if name in arguments:
            raise Refusal(
                f"An argument can be given only once. Received: {name}={shown(arguments[name])} and {shown(setting)}."
            )
        arguments[name] = _value(value)
    return arguments


def _value(text: str) -> Any:
    """A number, true, false, none or lists in JSON; anything else stays text."""
    import json

    words = {"none": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    for number in (int, float, complex):
        with contextlib.suppress(ValueError):
            return number(text)
    if text.startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(text)
    return text


@contextlib.contextmanager
def _printing() -> Iterator[Console]:
    """A console whose text goes to standard output all at once, with colors only on terminals that want them."""
    import os

    from rich.console import Console

    # rich by itself would still print bold text under NO_COLOR.
    plain = bool(os.environ.get("NO_COLOR"))
    console = Console(color_system=None if plain else "auto", highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        yield console
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(captured.get().encode(encoding, "replace").decode(encoding), nl=False, color=True)
