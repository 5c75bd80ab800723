"""The notebook of `examples/`, run in a fresh kernel: what it claims, and what it shows.

FANIN_WRITE_NOTEBOOK=1 scripts/test tests/docs/test_notebook.py stores the outputs of today in it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
for package in ("ipykernel", "sklearn", "torch", "matplotlib"):
    pytest.importorskip(package)

EXAMPLES = Path(__file__).parents[2] / "examples"
PATH = EXAMPLES / "my_network_does_not_train.ipynb"
TIME = re.compile(r"\bin [\d.e-]+ s\b")
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[-+]\d+)?")


def read() -> Any:
    """The notebook as it is stored."""
    return nbformat.read(PATH, 4)


@pytest.fixture(scope="module")
def ran() -> Any:
    """The notebook after a run in a fresh kernel, which begins in its folder."""
    notebook = read()
    with pytest.MonkeyPatch.context() as patch:
        if paths := os.environ.get("PYTHONPATH"):  # which may be relative, and the kernel begins in another folder
            patch.setenv("PYTHONPATH", os.pathsep.join(map(os.path.abspath, paths.split(os.pathsep))))
        patch.setenv("PYTHONWARNINGS", "ignore")
        resources = {"metadata": {"path": str(EXAMPLES)}}
        client = nbclient.NotebookClient(
            notebook, timeout=300, kernel_name="python3", resources=resources, record_timing=False
        )
        client.execute()
    if os.environ.get("FANIN_WRITE_NOTEBOOK"):
        nbformat.write(notebook, PATH)
    return notebook


def cell_with(notebook: Any, text: str) -> Any:
    """The cell of code that has a text."""
    [found] = [cell for cell in notebook.cells if cell.cell_type == "code" and text in cell.source]
    return found


def shown(cell: Any) -> str:
    """What a cell printed, and the tables that it shows, as text without times."""
    texts = []
    for output in cell.outputs:
        data = output.get("data", {})
        texts.append(output.get("text") or data.get("text/html") or "")
    return TIME.sub("in … s", "".join(texts))


def percent(text: str) -> int:
    """The accuracy in a text."""
    [found] = re.findall(r"accuracy (\d+)%", text)
    return int(found)


def test_as_it_came_it_guesses(ran: Any) -> None:
    """The network learns nothing: its loss is that of guessing among ten digits."""
    text = shown(cell_with(ran, 'losses = {"as it came"'))
    assert "loss 2.30 at first, 2.30 at the end" in text
    assert percent(text) < 20


def test_the_copies_are_found(ran: Any) -> None:
    """The audit names the layers that have the same values."""
    text = shown(cell_with(ran, "audit[name].verdict.reason"))
    assert "blocks.0.0.weight: It has the values of 'blocks.1.0.weight'" in text
    assert "stem.0.weight: Its first 64 numbers are those of 'blocks.0.0.weight'" in text


def test_the_seed_alone_does_not_help(ran: Any) -> None:
    """With a seed that is set once, nothing is wrong with any tensor, and the network still guesses."""
    text = shown(cell_with(ran, 'losses["seeded once"] = fit(model)'))
    assert "40 tensors: 40 consistent" in text
    assert percent(text) < 20


def test_the_probe_sees_it_vanish(ran: Any) -> None:
    """Signal and gradient vanish, by the factor that theory gives."""
    text = shown(cell_with(ran, "for verdict in probed.verdicts"))
    factors = [float(each) for each in re.findall(r"(?:signal|gradient) vanishes: × ([\d.]+) a layer", text)]
    assert factors == pytest.approx([0.16, 0.16], abs=0.01)


def test_he_normal_trains(ran: Any) -> None:
    """With He's weights, nothing vanishes, and the accuracy is good."""
    assert "vanishes: False" in shown(cell_with(ran, "any("))
    assert percent(shown(cell_with(ran, 'losses["he_normal"] = fit(model)'))) > 90


def test_the_bits_are_checked(ran: Any) -> None:
    """The check at the end finds every bit that it expects."""
    text = shown(cell_with(ran, "recipe.plan(again)"))
    assert "40 tensors: 40 exact" in text
    assert "all equal, bit for bit: True" in text


def test_figures_are_stored() -> None:
    """Three cells show a figure, each on a background of its own, for those who read it in the dark."""
    figures = [data for cell in read().cells for output in cell.get("outputs", []) if (data := output.get("data", {}))]
    assert sum("image/png" in data for data in figures) == 3


def test_no_cell_complains(ran: Any) -> None:
    """Nothing is written to stderr: no warning."""
    assert [output for cell in ran.cells for output in cell.get("outputs", []) if output.get("name") == "stderr"] == []


def test_outputs_are_those_of_today(ran: Any) -> None:
    """The stored texts are what the cells show now: the same words, and numbers that are as good as equal.

    Training on another processor rounds otherwise, so accuracies and losses may differ a little.
    """
    for now, stored in zip(ran.cells, read().cells, strict=True):
        if now.cell_type == "code":
            assert NUMBER.sub("#", shown(now)) == NUMBER.sub("#", shown(stored)), now.source
            numbers = [[float(each) for each in NUMBER.findall(shown(cell))] for cell in (now, stored)]
            assert numbers[0] == pytest.approx(numbers[1], rel=0.1, abs=0.03), now.source


def test_it_was_run_in_order() -> None:
    """The stored cells were run once, from first to last."""
    counts = [cell.execution_count for cell in read().cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_the_recipe_fits_networks_with_norms(ran: Any) -> None:
    """Whoever copies the recipe for a network with norms gets a plan without gaps."""
    import torch

    import fanin

    source = cell_with(ran, "recipe = fanin.Recipe(").source.partition("model = ")[0]
    names: dict[str, Any] = {"fanin": fanin}
    exec(source, names)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 2))
    names["recipe"].plan(model).check()
