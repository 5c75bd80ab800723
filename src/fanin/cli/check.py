"""`fanin check`: whether a checkpoint has the bits that it should have, or else what its tensors are."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from fanin.cli.base import (
    MODEL_HELP,
    RECIPE_HELP,
    SEED_NEEDS_RECIPE,
    Refusal,
    model_argument,
    recipe_argument,
    recorded_by_torch,
    refusing,
    visible_lines,
)

if TYPE_CHECKING:
    from fanin.models.parameters import Model
    from fanin.recipes import Plan

_MODEL_SAYS_MORE = (
    "If the recipe is made for this model, give it --model: a file has neither layers nor a configuration."
)


@click.command(
    short_help="Check that a checkpoint was initialized as intended.",
    epilog="""\b
Exit codes: 0 nothing is wrong, 1 there are findings, or files are damaged, 2 wrong usage.
JSON keys of the last line of a comparison of bits: event (checked), path, format, source, ok, tensors,
  exact, by_digest, findings, unchecked, bytes, seconds, audit; of a finding: name, problem, message,
  differing, index, position, expected, stored.
JSON keys of the last line of an audit: event (audited), name, format, source, seed, ok, conclusion, counts, tensors,
  missing, broken_files, notes, bytes, seconds; of a tensor: name, shape, dtype, role, layer, expected,
  expected_stddev, verdict, reason, fits, problems, statistics.

\b
Examples:
  fanin check model.safetensors
  fanin check model.safetensors --model package.module:factory
  fanin check out/
  fanin check model.safetensors --recipe recipe.toml --model package.module:factory
""",
)
@click.argument("path", type=click.Path(exists=True))
@click.option(
    "--recipe",
    metavar="RECIPE",
    help=f"What the values should be, bit for bit: {RECIPE_HELP}.  [default: what fanin.json says, if it is there]",
)
@click.option(
    "--model",
    metavar="MODEL",
    help=f"{MODEL_HELP} Without a recipe, its own code says what its tensors should be.  [default: the names and "
    "shapes in PATH]",
)
@click.option("--seed", type=int, help="A seed that replaces the recipe's.")
@click.option("--under", metavar="KEY", help="What the names to check begin with, such as model.")
@click.option("--audit", "as_audit", is_flag=True, help="Say what each tensor is, also with a recipe or fanin.json.")
@click.option("--all", "every", is_flag=True, help="Show repeated blocks one by one.")
@click.option("--json", "as_json", is_flag=True, help="Print an event on each line, as JSON.")
def check(
    path: str,
    recipe: str | None,
    model: str | None,
    seed: int | None,
    under: str | None,
    as_audit: bool,
    every: bool,
    as_json: bool,
) -> None:
    """Check the checkpoint PATH: a file of weights, or a folder of such files.

    With a recipe, or fanin.json beside the files, every value is made again, and the bits are compared. Without, each
    tensor is measured, and the verdict says what it is: consistent with an initializer, trained, suspicious or broken.

    PATH is a file of safetensors, .npz, PyTorch (.pt, .pth, .bin) or Keras (.h5, .keras), or a folder of such files or
    of torch.distributed.checkpoint. Code in a file is never run.
    """
    with refusing():
        from fanin import checkpoints
        from fanin.recipes import PlanError

        if recipe is None and seed is not None:
            raise click.UsageError(SEED_NEEDS_RECIPE)
        try:
            plan = None if recipe is None else _planned(path, recipe, model, seed)
            is_known = plan is not None or (model is None and checkpoints.has_manifest(path))
            if is_known and not as_audit:
                ok = _checked(path, plan, under, every, as_json)
            else:
                described = _expected(model) if plan is None else None
                ok = _audited(path, plan, described, under, every, as_json)
        except PlanError as error:
            if model is None:
                raise Refusal(f"{error}\n{_MODEL_SAYS_MORE}") from error
            raise
        except checkpoints.CheckpointError as error:
            if as_json:
                _tell({"event": "error", "message": str(error)})
            click.echo(visible_lines(str(error)), err=True)
            sys.exit(1)
    if not ok:
        sys.exit(1)


def _tell(event: dict[str, Any]) -> None:
    click.echo(json.dumps(event))


def _planned(path: str, recipe: str, model: str | None, seed: int | None) -> Plan:
    """The plan of a recipe for a model, or for the names and shapes in the checkpoint."""
    from fanin import checkpoints

    found = recipe_argument(recipe, seed)
    return found.plan(checkpoints.model_of(path) if model is None else model_argument(model, found))


def _expected(model: str | None) -> Model | None:
    """The model whose own code says what its tensors should be."""
    from fanin.models.arguments import described_argument

    return None if model is None else described_argument(model, recorded_by_torch)


def _checked(path: str, plan: Plan | None, under: str | None, every: bool, as_json: bool) -> bool:
    """Compares the bits, and prints what is found; of tensors that differ, also what they are."""
    from fanin import checkpoints
    from fanin.audits import audit
    from fanin.report import terminal_width

    report = checkpoints.check(path, plan, under=under, progress=_tell if as_json else None)
    wrong = [each.name for each in report.findings if each.problem == "values"]
    audited = audit(path, plan, under=under or "", only=wrong, exact=report.exact) if wrong else None
    if as_json:
        _tell({"event": "checked", **report.as_dict(), "audit": None if audited is None else audited.as_dict()})
    else:
        click.echo(str(report))
        if audited is not None:
            click.echo(f"\nWhat they are instead:\n\n{audited.text(terminal_width(), fold=not every)}")
    return bool(report)


def _audited(path: str, plan: Plan | None, model: Model | None, under: str | None, every: bool, as_json: bool) -> bool:
    """Prints what each tensor is."""
    from fanin.audits import audit
    from fanin.report import terminal_width

    found = audit(path, plan, model=model, under=under or "", progress=_tell if as_json else None)
    if as_json:
        _tell({"event": "audited", **found.as_dict()})
    else:
        click.echo(found.text(terminal_width(), fold=not every))
    return bool(found)
