"""`fanin compare`: what initializers do to signals and gradients through depth."""

from __future__ import annotations

from typing import Any

import click

from fanin._core.messages import shown
from fanin.cli.base import Refusal, refusing

_FORMATS = (".png", ".svg", ".pdf")


@click.command(
    short_help="Compare what initializers do to signals and gradients through depth.",
    epilog="""\b
Exit codes: 0 done, 2 wrong usage.
JSON keys: activation, block, depth, width, batch, networks, seed, dtype, bias_stddev, unit_gain,
  critical_stddev, rows; of a row: name, initializer, gain, weight_stddev, verdict, ok,
  signal_change, gradient_change, signal_factor, gradient_factor, theory, simulation.

\b
Examples:
  fanin compare he_normal glorot_uniform --activation relu --depth 30 --width 256
  fanin compare he_normal:0.5 he_normal --activation gelu --block pre_norm --theory
  fanin compare lecun_normal orthogonal --activation tanh --plot signal.svg
""",
)
@click.argument("names", metavar="NAME[:GAIN]...", nargs=-1, required=True)
@click.option("--activation", default="relu", show_default=True, metavar="NAME", help="Such as gelu, silu or tanh.")
@click.option("--param", type=float, help="The activation's parameter, such as the slope of leaky_relu.")
@click.option("--depth", type=int, default=30, show_default=True, help="The number of blocks.")
@click.option("--width", type=int, default=256, show_default=True, help="The number of units of a layer.")
@click.option(
    "--block",
    default="plain",
    show_default=True,
    metavar="BLOCK",
    help="plain, layer_norm, rms_norm, batch_norm, residual, residual_scaled, rezero, pre_norm, pre_norm_scaled or "
    "post_norm.",
)
@click.option("--batch", type=int, default=64, show_default=True, help="The number of inputs of a simulated network.")
@click.option("--networks", type=int, default=8, show_default=True, help="The number of simulated networks.")
@click.option("--seed", type=int, default=0, show_default=True, help="What weights and inputs follow from.")
@click.option("--dtype", default="float32", show_default=True, metavar="DTYPE", help="float32 or float64.")
@click.option("--bias-stddev", type=float, default=0.0, show_default=True, help="The standard deviation of biases.")
@click.option("--theory", is_flag=True, help="Theory alone: no network is simulated.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--plot", "picture", metavar="FILE", type=click.Path(dir_okay=False, writable=True), help="A .png, .svg or .pdf."
)
def compare(
    names: tuple[str, ...],
    activation: str,
    param: float | None,
    theory: bool,
    as_json: bool,
    picture: str | None,
    **options: Any,
) -> None:
    """Compare what initializers do to a signal on its way through a deep network, and to the gradient on its way back.

    NAME is the name of an initializer, and GAIN multiplies its weights. Theory is that of infinite width; beside it
    stand simulated networks of the given width.
    """
    import json

    with refusing():
        if picture is not None:
            _check_picture(picture)
        from fanin.report import terminal_width
        from fanin.theory import activation as activation_of
        from fanin.theory import compare as compared

        chosen = [_named(each) for each in names]
        report = compared(chosen, activation_of(activation, param), simulate=not theory, **options)
        if picture is not None:
            report.plot("light").savefig(picture)
    if as_json:
        click.echo(json.dumps(report.as_dict()))
        return
    click.echo(report.table().text(terminal_width()))
    click.echo()
    for row in report.rows:
        click.echo(row.sentence)


def _named(text: str) -> str | tuple[str, float]:
    """The name of an initializer, or its name and gain."""
    name, colon, gain = text.partition(":")
    if not colon:
        return name
    try:
        return name, float(gain)
    except ValueError:
        raise Refusal(f"GAIN must be a number, as in he_normal:0.5. Received: {shown(text)}.") from None


def _check_picture(file: str) -> None:
    """Raises an error if no figure can be written there, before anything is computed."""
    from pathlib import Path

    from fanin.report import plots

    if not file.lower().endswith(_FORMATS):
        raise Refusal(f"--plot must be a file that ends in {', '.join(_FORMATS)}. Received: {shown(file)}.")
    if not Path(file).parent.is_dir():
        raise Refusal(f"--plot must be a file in a folder that exists. Received: {shown(file)}.")
    plots.check()
