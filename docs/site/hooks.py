"""What mkdocs does beside rendering docs/: pages that are made from other files, and links that leave docs/.

The pages read well on GitHub, too, so they link to files of the repository. On the site these files are pages:
`CONTRIBUTING.md`, `CHANGELOG.md`, and what is in `examples/`, which is shown on one page. What only the site
has is in a comment, `<!-- site: … -->`.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import json
import posixpath
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
# A file of the repository, from its root → the page that it is on the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples": "examples.md",
}
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
FIGURE = "image/png"  # the type of what a cell draws
# How much more a page counts in search than others: first what explains a word, last tables that only name it.
BOOSTS = {
    "initializers.md": 8.0,
    "layouts.md": 8.0,
    "choosing.md": 4.0,
    "api/initializers.md": 4.0,
    "index.md": 2.0,
    "guide.md": 2.0,
    "benchmarks.md": 0.01,
    "changelog.md": 0.1,
    "recordings.md": 0.1,
}
NAMED = re.compile(r"\[`?([\w./]+\.md)`?\](?=\(([^)\s#:]+\.md))")
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(#[^)\s]*)?(?=\))")
FENCE = re.compile(r"^```python\n(?=>>> )(.*?)\n+^```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(
    r'<picture>\s*<source [^>]*srcset="(?P<dark>[^"]+)">\s*'
    r'<img alt="(?P<text>[^"]*)" src="(?P<light>[^"]+)">\s*</picture>'
)
HEADING = re.compile(r"^# (.+)$", re.MULTILINE)
CELL = re.compile(r"<td[^>]*>.*?</td>", re.DOTALL)
CODE = re.compile(r"(?<=<code>)[^<]+(?=</code>)")
# Where a name or a call may go on in the next line: after a point, a parenthesis, a comma or an underscore.
BREAK = re.compile(r"""(?<=[A-Za-z\d)])((?<!\d)\.|[_(,])(?=[\w"'])""")
ON_SITE = re.compile(r"<!-- site: (.*?) -->", re.DOTALL)
TABS = re.compile(r"^<!-- tabs -->\n(.*?)^<!-- /tabs -->$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made from other files."""
    made: dict[str, str | bytes] = {
        "contributing.md": _at_home((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")),
        "changelog.md": _at_home((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")),
        "examples.md": "\n".join(_examples()),
        "commands.md": "\n".join(_commands()),
        **_figures(),
        **_tools(),
    }
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **kwargs: Any) -> str:
    """Makes what GitHub reads what the theme reads: links to pages, with their titles, pictures, sessions and tabs."""
    folder = posixpath.dirname(page.file.src_uri)
    _describe(page, markdown)
    markdown = ON_SITE.sub(r"\1", markdown)
    markdown = LINK.sub(lambda link: _inside(link, folder), markdown)
    markdown = NAMED.sub(lambda link: f"[{_title(files, posixpath.join(folder, link[2])) or link[1]}]", markdown)
    markdown = PICTURE.sub(_both, markdown)
    markdown = FENCE.sub(r"```pycon\n\1\n```", markdown)
    return TABS.sub(lambda block: _tabs(block[1]), markdown)


def _describe(page: Page, markdown: str) -> None:
    """Gives a page what front matter would say, if GitHub did not show it: its name, and its weight in search."""
    if heading := HEADING.search(markdown):
        page.meta["title"] = heading[1].replace("`", "")
    if boost := BOOSTS.get(page.file.src_uri):
        page.meta["search"] = {"boost": boost}


def on_page_content(html: str, **kwargs: Any) -> str:
    """Lets code in tables go on in the next line, so that more of a table is seen on a narrow screen."""
    return CELL.sub(lambda cell: CODE.sub(lambda code: BREAK.sub(r"\1<wbr>", code[0]), cell[0]), html)


def _inside(link: re.Match[str], folder: str) -> str:
    """A link to a file of the repository, as a link to the page that it is on the site."""
    path = posixpath.normpath(posixpath.join("docs", folder, link[1]))
    page, anchor = PAGES.get(path), link[2] or ""
    if path.startswith("docs/"):
        page = path.removeprefix("docs/")
    if posixpath.dirname(path) == "examples":
        page, anchor = PAGES["examples"], f"#{posixpath.basename(path).replace('.', '')}"
    return link[0] if page is None else posixpath.relpath(page, folder or ".") + anchor


def _title(files: Files, path: str) -> str | None:
    """What the navigation calls a page."""
    file = files.get_file_from_path(posixpath.normpath(path))
    title = None if file is None or file.page is None else file.page.title
    return None if title is None else str(title)


def _at_home(markdown: str) -> str:
    """A page of the repository's root, with its links as they are from docs/."""
    return LINK.sub(lambda link: posixpath.relpath(link[1], "docs") + (link[2] or ""), markdown)


def _both(picture: re.Match[str]) -> str:
    """A picture of both schemes, as two of which the theme shows one: a reader may choose another than the system's."""
    return "\n".join(f"![{picture['text']}]({picture[scheme]}#only-{scheme})" for scheme in ("light", "dark"))


def _tabs(markdown: str) -> str:
    """Sections under headings of the fourth level, as tabs."""
    _, *parts = re.split(r"^#### (.*)\n", markdown, flags=re.MULTILINE)
    return "\n".join(
        f"/// tab | {title}\n\n{body.strip()}\n\n///\n" for title, body in zip(parts[::2], parts[1::2], strict=True)
    )


def _examples() -> Iterator[str]:
    """The page that shows what is in `examples/`: the notebook with what it shows, the scripts, and a recipe."""
    yield "# Examples\n\nA notebook, then scripts of fewer than 40 lines, which run by themselves.\n"
    for path in NOTEBOOKS:
        yield f"## {path.name}\n"
        for cell in _cells(path):
            yield from _shown(cell, path.stem)
    for path in sorted((ROOT / "examples").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        module = ast.parse(source)
        code = "\n".join(source.splitlines()[module.body[0].end_lineno :]).strip()
        yield f"## {path.name}\n\n{ast.get_docstring(module)}\n\n```python\n{code}\n```\n"
    recipe = (ROOT / "examples/recipe.toml").read_text(encoding="utf-8").strip()
    yield f"## recipe.toml\n\nA recipe to start from.\n\n```toml\n{recipe}\n```\n"


def _cells(path: Path) -> list[dict[str, Any]]:
    """The cells of a notebook."""
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def _shown(cell: dict[str, Any], name: str) -> Iterator[str]:
    """A cell of a notebook: its text, with headings below that of the notebook, or its code and what it shows."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield re.sub(r"^(?=#+ )", "##", source, flags=re.MULTILINE) + "\n"
        return
    yield f"```python\n{source}\n```\n"
    for output in cell["outputs"]:
        if FIGURE in output.get("data", {}):
            yield f"![What this code draws]({_figure(cell, name)})\n"
        else:
            text = output.get("text") or output["data"]["text/plain"]
            yield f"```text\n{''.join(text).rstrip()}\n```\n"


def _figure(cell: dict[str, Any], name: str) -> str:
    """Where the site has the figure of a notebook's cell."""
    return f"examples/{name}-{cell['execution_count']}.png"


def _figures() -> dict[str, bytes]:
    """The figures of the notebooks, as files of the site."""
    return {
        _figure(cell, path.stem): base64.b64decode(output["data"][FIGURE])
        for path in NOTEBOOKS
        for cell in _cells(path)
        for output in cell.get("outputs", [])
        if FIGURE in output.get("data", {})
    }


def _commands() -> Iterator[str]:
    """The page with the help of every command."""
    from fanin.cli import main

    yield "# Commands\n\n`pip install 'fanin[cli]'` adds `fanin`; `python -m fanin` is the same.\n"
    yield from _helps(click.Context(main, info_name="fanin", terminal_width=88, **main.context_settings))


def _helps(context: click.Context) -> Iterator[str]:
    """The help of a command and of those below it."""
    yield f"## {context.command_path}\n\n```text\n{context.get_help()}\n```\n"
    for name, command in sorted(getattr(context.command, "commands", {}).items()):
        yield from _helps(click.Context(command, info_name=name, parent=context, **command.context_settings))


def _tools() -> dict[str, str]:
    """The pages that fanin itself makes, as files of the site: each stands alone."""
    import fanin

    return {"explore.html": fanin.theory.explorer(), "sample-report.html": _report()}


def _report() -> str:
    """The report of a small transformer in which three things have gone wrong."""
    import numpy as np

    import fanin

    recipe = fanin.Recipe.preset("gpt2", seed=42)
    plan = recipe.plan(list(_shapes(blocks=6, width=128)))
    arrays: dict[str, Any] = {entry.path: entry.make() for entry in plan.entries}
    arrays["h.2.mlp.c_fc.weight"] *= 2
    arrays["h.4.mlp.c_fc.weight"][:, 256:] = arrays["h.4.mlp.c_fc.weight"][:, :256]
    arrays["h.5.attn.c_proj.weight"][7, 11] = float("nan")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # the report names the file as it was given
        np.savez("gpt2.npz", **arrays)
        return fanin.audit("gpt2.npz", plan, spectra=True).to_html()


def _shapes(blocks: int, width: int) -> Iterator[dict[str, Any]]:
    """The parameters of a transformer, by GPT-2's names."""
    kernels = {"attn.c_attn": 3 * width, "attn.c_proj": width, "mlp.c_fc": 4 * width, "mlp.c_proj": width}
    yield {"path": "wte.weight", "shape": [1000, width], "role": "embedding", "layout": "keras"}
    for block in range(blocks):
        for name, outputs in kernels.items():
            inputs = 4 * width if name == "mlp.c_proj" else width
            path = f"h.{block}.{name}"
            yield {"path": f"{path}.weight", "shape": [inputs, outputs], "role": "kernel", "layout": "keras"}
            yield {"path": f"{path}.bias", "shape": [outputs], "role": "bias"}
        for name in ("ln_1", "ln_2"):
            yield {"path": f"h.{block}.{name}.weight", "shape": [width], "role": "scale"}
            yield {"path": f"h.{block}.{name}.bias", "shape": [width], "role": "offset"}
