"""Screenshots of fanin's pages in Chromium: the report of a checkpoint with two faults, and the explorer."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fanin

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/support"))

WIDTH = 1120
_HEIGHTS = {"report": 960, "explorer": 848}
_BLOCKS, _SIZE, _TOKENS = 6, 192, 2048


def report() -> str:
    """The report of a small GPT-2, of which a layer has the values of another one, and one is 1.5 times too large."""
    from safetensors.numpy import save_file

    plan = fanin.Recipe.preset("gpt2").with_seed(42).plan(_gpt2())
    tensors = {entry.path: entry.make() for entry in plan.entries}
    tensors["h.4.mlp.c_fc.weight"] = tensors["h.3.mlp.c_fc.weight"].copy()
    tensors["h.1.attn.c_proj.weight"] *= 1.5
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # the report names the path as it is given
        save_file(tensors, "gpt2.safetensors")
        return fanin.audit("gpt2.safetensors", plan).to_html()


def _gpt2() -> list[dict[str, Any]]:
    """The parameters of a GPT-2, as transformers names them."""
    size = _SIZE
    parameters = [_parameter("wte", "embedding", _TOKENS, size), _parameter("wpe", "embedding", 256, size)]
    for block in range(_BLOCKS):
        for name, inputs, outputs in (
            ("attn.c_attn", size, 3 * size),
            ("attn.c_proj", size, size),
            ("mlp.c_fc", size, 4 * size),
            ("mlp.c_proj", 4 * size, size),
        ):
            parameters.append(_parameter(f"h.{block}.{name}", "kernel", inputs, outputs))
            parameters.append(_parameter(f"h.{block}.{name}", "bias", outputs))
        for norm in ("ln_1", "ln_2"):
            parameters.append(_parameter(f"h.{block}.{norm}", "scale", size))
            parameters.append(_parameter(f"h.{block}.{norm}", "bias", size))
    return [*parameters, _parameter("ln_f", "scale", size), _parameter("ln_f", "bias", size)]


def _parameter(layer: str, role: str, *shape: int) -> dict[str, Any]:
    """A parameter as data."""
    return {"path": f"{layer}.{'bias' if role == 'bias' else 'weight'}", "shape": shape, "role": role}


def explorer() -> str:
    """The explorer, as it opens."""
    from fanin.theory import explorer

    return explorer()


PAGES: Mapping[str, Callable[[], str]] = {"report": report, "explorer": explorer}


def take(name: str, folder: Path) -> list[Path]:
    """Takes the screenshots of a page in both schemes, as NAME-light.png and NAME-dark.png.

    Args:
        name: "report" or "explorer".
        folder: where to put them.

    Returns:
        The files.
    """
    from browsers import chromium, opened

    made = []
    with tempfile.TemporaryDirectory() as temporary, chromium() as browser:
        page = Path(temporary) / f"{name}.html"
        page.write_text(PAGES[name](), encoding="utf-8")
        for scheme in ("light", "dark"):
            with opened(browser, page, width=WIDTH, height=_HEIGHTS[name], scheme=scheme) as shown:
                shown.page.wait_for_timeout(500)
                made.append(folder / f"{name}-{scheme}.png")
                shown.page.screenshot(path=str(made[-1]))
    return made
