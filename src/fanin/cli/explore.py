"""`fanin explore`: the page that shows what an initializer does to a deep network."""

from __future__ import annotations

import click

from fanin.cli.base import check_page, refusing


@click.command(
    short_help="Write a page that shows what an initializer does to a deep network.",
    epilog="""\b
Exit codes: 0 the page is written, 2 wrong usage, or it cannot be written.

\b
Examples:
  fanin explore -o explorer.html
  fanin explore -o explorer.html && xdg-open explorer.html
""",
)
@click.option(
    "-o",
    "--output",
    "file",
    required=True,
    metavar="FILE",
    type=click.Path(),
    help="The page, which ends in .html or .htm.",
)
def explore(file: str) -> None:
    """Write a page with sliders for initializer, activation, fans, depth, gain and dtype, which shows what they do.

    It is one file, which needs no network. Open it in a browser. Its address keeps what is chosen, so that it can be
    shared.
    """
    check_page(file)
    with refusing():
        from fanin.report.pages import write_page
        from fanin.theory import explorer

        write_page(explorer(), file)
    click.echo(f"{file}: open it in a browser.")
