"""`fanin diff`: two checkpoints compared, as after a refactoring."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from fanin._core.messages import shown
from fanin.cli.base import Refusal, refusing, visible_lines


@click.command(
    short_help="Compare two checkpoints, tensor by tensor.",
    epilog="""\b
Exit codes: 0 every tensor has the same bytes, values or distribution in both (with --exact: the same bytes),
  1 it has not, or files are damaged, 2 wrong usage.
JSON keys of the last line: event (compared), a, b, same, exact, counts, tensors, bytes, seconds; of a tensor:
  name, relation (equal, equal-values, same-distribution, different, shape, unreadable, only-a or only-b),
  reason, differs, stddev_ratio, resolution, a, b; of a and b: name, shape, dtype, mean, stddev, low, high.

\b
Examples:
  fanin diff before.safetensors after.safetensors
  fanin diff before.pt after/ --rename 'model.*=*'
""",
)
@click.argument("a", type=click.Path(exists=True))
@click.argument("b", type=click.Path(exists=True))
@click.option(
    "--rename",
    "renames",
    metavar="GLOB=NAME",
    multiple=True,
    help="What names become in both, such as 'model.*=*'. The first that fits a name applies.",
)
@click.option("--exact", is_flag=True, help="Exit with 1 unless all bytes are the same.")
@click.option("--all", "every", is_flag=True, help="Show repeated blocks one by one.")
@click.option("--json", "as_json", is_flag=True, help="Print an event on each line, as JSON.")
def diff(a: str, b: str, renames: tuple[str, ...], exact: bool, every: bool, as_json: bool) -> None:
    """Compare the checkpoints A and B: which tensors have the same bytes or distribution, and in what others differ.

    A and B are files of safetensors, .npz, PyTorch (.pt, .pth, .bin) or Keras (.h5, .keras), or folders of such files
    or of torch.distributed.checkpoint. Code in a file is never run.
    """

    def tell(event: dict[str, Any]) -> None:
        click.echo(json.dumps(event))

    with refusing():
        from fanin.audits.comparing.comparison import compare_checkpoints
        from fanin.checkpoints import CheckpointError
        from fanin.report import terminal_width

        try:
            found = compare_checkpoints(a, b, rename=_rules(renames), progress=tell if as_json else None)
        except CheckpointError as error:
            if as_json:
                tell({"event": "error", "message": str(error)})
            click.echo(visible_lines(str(error)), err=True)
            sys.exit(1)
    if as_json:
        tell({"event": "compared", **found.as_dict()})
    else:
        click.echo(found.text(terminal_width(), fold=not every))
    if not (found.is_exact if exact else found):
        sys.exit(1)


def _rules(renames: tuple[str, ...]) -> dict[str, str]:
    """The rules that the options say."""
    rules: dict[str, str] = {}
    for each in renames:
        glob, equals, name = each.partition("=")
        if not equals or not glob:
            raise Refusal(f"--rename must be GLOB=NAME, such as 'model.*=*'. Received: {shown(each)}.")
        if glob in rules:
            raise Refusal(f"Each glob can be renamed once. Received: {shown(glob)} twice.")
        rules[glob] = name
    return rules
