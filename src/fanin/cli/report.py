"""`fanin report`: what a checkpoint is, or what a recipe gives a model, as a page."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fanin._core.messages import plural, shown, visible
from fanin.cli.base import (
    MODEL_HELP,
    SEED_NEEDS_RECIPE,
    STANDARD_INPUT,
    Refusal,
    check_page,
    planned_argument,
    recipe_argument,
    recorded_by_torch,
    refusing,
    visible_lines,
)

if TYPE_CHECKING:
    from fanin.audits import Audit
    from fanin.recipes import Plan
    from fanin.report.charts import Chart

_RECIPES = (".toml", ".yaml", ".yml")  # the ends of the names of recipe files
_OF_CHECKPOINTS = ("--recipe", "--under", "--probe")


@click.command(
    short_help="Write a page about a checkpoint or a plan.",
    epilog="""\b
Exit codes: 0 nothing is wrong, 1 there are findings, or files are damaged, 2 wrong usage.

A page or picture that is there is replaced, when the new one is whole.

\b
Examples:
  fanin report model.safetensors -o report.html
  fanin report out/ --model package.module:factory -o report.html --png figures
  fanin report model.safetensors --recipe recipe.toml --probe probe.json -o report.html
  fanin report gpt2 --model model.json -o plan.html
""",
)
@click.argument("target", metavar="PATH|RECIPE")
@click.option("--recipe", metavar="RECIPE", help="What the values of a checkpoint should be, bit for bit.")
@click.option(
    "--model",
    metavar="MODEL",
    help=f"{MODEL_HELP} Of a checkpoint, the model's own code says what its tensors should be, unless a recipe does.",
)
@click.option("--seed", type=int, help="A seed that replaces the recipe's.")
@click.option("--under", metavar="KEY", help="What the names to judge begin with, such as model.")
@click.option("--probe", metavar="FILE", help="The JSON of a probe's as_dict(): signal and gradient by depth.")
@click.option("-o", "--output", required=True, metavar="FILE", help="The page, which ends in .html or .htm.")
@click.option("--png", "folder", metavar="DIR", help="Write the charts there as well, as PNG and SVG (matplotlib).")
def report(target: str, output: str, folder: str | None, **options: Any) -> None:
    """Write a page about a checkpoint, or about what a recipe gives a model: one file, which needs no network.

    What stands first is a recipe if it is -, the name of a preset, or ends in .toml, .yaml or .yml; it needs --model.
    Otherwise it is the path of a checkpoint: a file of weights, or a folder of such files.
    """
    with refusing():
        from fanin.checkpoints import CheckpointError
        from fanin.report.pictures import check_folder

        is_recipe = _is_recipe(target)
        _check_options(is_recipe, target, **options)
        check_page(output)
        _check_inputs(output, target, options)
        if folder is not None:
            check_folder(folder)
        try:
            ok = (_of_plan if is_recipe else _of_checkpoint)(target, output, folder, **options)
        except CheckpointError as error:
            click.echo(visible_lines(str(error)), err=True)
            sys.exit(1)
    if not ok:
        sys.exit(1)


def _is_recipe(target: str) -> bool:
    """Whether an argument is a recipe, and no checkpoint."""
    from fanin.recipes import PRESETS

    if target in PRESETS and Path(target).exists():
        raise Refusal(
            f"PATH|RECIPE must be one of both. Received: {shown(target)}, which is a preset and a path: write "
            f"{shown(f'./{target}')} for the path."
        )
    return target == STANDARD_INPUT or target in PRESETS or target.lower().endswith(_RECIPES)


def _check_options(
    is_recipe: bool,
    target: str,
    *,
    recipe: str | None,
    model: str | None,
    seed: int | None,
    under: str | None,
    probe: str | None,
) -> None:
    """Raises an error for options that do not go with what the report is about."""
    if not is_recipe:
        if seed is not None and recipe is None:
            raise click.UsageError(SEED_NEEDS_RECIPE)
        if not Path(target).exists():
            rule = "PATH|RECIPE must be a checkpoint that is there, a preset, or a recipe that ends in .toml or .yaml"
            raise Refusal(f"{rule}. Received: {shown(target)}.")
        return
    if model is None:
        raise click.UsageError(f"{shown(target)} is a recipe, which needs a --model.")
    for name, given in zip(_OF_CHECKPOINTS, (recipe, under, probe), strict=True):
        if given is not None:
            raise click.UsageError(f"{name} goes with a checkpoint. Received: the recipe {shown(target)}.")
    if target == model == STANDARD_INPUT:
        raise Refusal("Only one of RECIPE and --model can be -, the standard input.")


def _check_inputs(output: str, target: str, options: Mapping[str, Any]) -> None:
    """Raises an error if the page would replace what it is made from."""
    for name, given in (
        ("PATH|RECIPE", target),
        *((f"--{name}", options[name]) for name in ("recipe", "model", "probe")),
    ):
        if given is not None and Path(output).exists() and Path(given).exists() and Path(output).samefile(given):
            raise Refusal(f"-o must not be what the page is made from. Received: {shown(output)}, which is {name}.")


def _of_plan(target: str, output: str, folder: str | None, *, model: str, seed: int | None, **_: Any) -> bool:
    """Writes the page of a plan, and says whether its recipe fits."""
    plan = planned_argument(target, model, seed)
    plan.to_html(output)
    _write_pictures({each.name: each for each in plan.charts()}, folder)
    for each in plan.complaints():
        click.echo(visible_lines(each), err=True)
    click.echo(f"{visible(output)}: {_summary(plan)}")
    return not plan.complaints()


def _summary(plan: Plan) -> str:
    """What a plan is, in a sentence."""
    count, unused = len(plan.entries), len(plan.unused)
    verdict = "The recipe does not fit." if plan.complaints() else "Every one gets its values."
    more = f" {unused:,} {plural(unused, 'rule')} not used." if unused else ""
    return f"{count:,} {plural(count, 'parameter')} of {visible(plan.model.name)}, seed {plan.seed}. {verdict}{more}"


def _of_checkpoint(target: str, output: str, folder: str | None, *, probe: str | None, **options: Any) -> bool:
    """Writes the page of a checkpoint, and says whether nothing is wrong."""
    from fanin.theory.charts import probe_charts, probe_data

    probed = None if probe is None else probe_data(_read(probe))
    audit = _audited(target, **options)
    audit.to_html(output, probe=probed)
    _write_pictures(audit.pictures(None if probed is None else probe_charts(probed)), folder)
    for name, why in audit.broken_files.items():
        click.echo(f"{visible(name)}: {visible(why)}", err=True)
    if audit.missing:
        count = len(audit.missing)
        click.echo(f"{count:,} {plural(count, 'parameter')} of the model missing", err=True)
    for each in audit.notes:
        click.echo(f"note: {visible(each)}", err=True)
    click.echo(f"{visible(output)}: {audit.summary()}")
    return bool(audit)


def _audited(target: str, *, recipe: str | None, model: str | None, seed: int | None, under: str | None) -> Audit:
    """What the tensors of a checkpoint are, with their singular values."""
    from fanin.audits import audit
    from fanin.models.arguments import described_argument

    chosen = None if recipe is None else recipe_argument(recipe, seed)
    described = None if model is None else described_argument(model, recorded_by_torch)
    return audit(target, chosen, model=described, under=under or "", spectra=True)


def _read(file: str) -> Any:
    """The data in a file of JSON."""
    import json

    try:
        return json.loads(Path(file).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        rule = "--probe must be the JSON of a probe's as_dict()"
        raise Refusal(f"{rule}. Received: {shown(file)} ({error}).") from None


def _write_pictures(charts: Mapping[str, Chart], folder: str | None) -> None:
    """Writes charts into a folder, if one is given."""
    if folder is not None:
        from fanin.report.pictures import write_pictures

        write_pictures(charts, folder)
