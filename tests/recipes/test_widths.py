"""Tables that fit a width, and lists in which repeated blocks share a line; planning in linear time."""

import time
from typing import Any

import pytest

from fanin.models.lists import described_list
from fanin.recipes import PlanError, Recipe, Report
from fanin.recipes.tables import folded_lines, folded_paths
from recipe_kit import HE, NORMAL, planned

PLAN = planned(
    [{"path": "*", "initializer": "truncated_normal", "stddev": 0.02, "name": "a rule of some length"}],
    *({"path": f"model.encoder.layers.{n}.{leaf}.weight", "shape": [64, 64], "role": "kernel", "layout": "torch"}
      for n in range(12) for leaf in ("query", "key", "value")),
)  # fmt: skip


def rows(width: int | None) -> list[str]:
    """The lines of the table, without the remarks."""
    return PLAN.table(width=width).partition("\n\n")[0].splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 400])
def test_no_row_is_wider(width: int) -> None:
    """Columns are left out, in order, and the last line says which."""
    assert max(map(len, rows(width))) <= width
    left_out = rows(width)[-1].removeprefix("left out: ").split(", ")
    order = ["layout", "dtype", "layer", "seed", "role", "fans", "shape"]
    assert width == 400 or {*left_out} == {*order[: len(left_out)]}


def test_without_a_width() -> None:
    """Everything is there; so is it where there is room."""
    assert rows(None) == rows(400)
    assert rows(None)[0].split()[1:] == [
        *("shape", "dtype", "layout", "layer", "role", "rule", "initializer", "fans", "std", "seed")
    ]


def test_texts_are_shortened_in_the_middle() -> None:
    """To eight characters at least, so that the beginning and the end of a path stay."""
    assert rows(10)[1].split("  ")[0] == "mode…ght"
    assert "…" in rows(60)[1]
    assert "…" not in rows(400)[1]


@pytest.mark.parametrize("width", [60, 80, 120, None])
def test_characters_of_other_widths(width: int | None) -> None:
    """Chinese characters take two columns of a terminal, and accents that combine none: columns stay in line."""
    paths = ["層" * 30 + ".重み", "e\u0301" * 30 + ".w", "a" * 30 + ".w"]
    table = planned([{**NORMAL, "name": "規則"}], *paths).table(width=width).partition("\n\n")[0]
    lines = [line.replace("e\u0301", "e").replace("\u0301", "") for line in table.splitlines()[:4]]
    ends = {sum(2 if each > "\u2e80" else 1 for each in line.partition("Random")[0]) for line in lines[1:]}
    assert len(ends) == 1
    assert width is None or max(sum(2 if each > "\u2e80" else 1 for each in line) for line in lines) <= width


def test_folded_lists() -> None:
    """Paths of repeated blocks with the same text share a line."""
    texts = {f"h.{n}.w": "a" for n in range(3)} | {"h.3.w": "b", "x": "a"}
    assert folded_lines(texts) == [("h.[0-2].w", "a"), ("h.3.w", "b"), ("x", "a")]
    assert folded_paths({"a.0": 1, "a.2": 1}) == [("a.[0,2]", ["a.0", "a.2"])]


def test_errors_are_folded() -> None:
    """One line for the same problem of many blocks, and for parameters that would be equal."""
    plan = planned([HE], *({"path": f"layers.{n}.w", "shape": [4, 4]} for n in range(66)))
    with pytest.raises(PlanError) as caught:
        plan.check()
    assert len(str(caught.value).splitlines()) == 2
    assert "layers.[0-65].w, in rule 1: HeNormal needs the fans" in str(caught.value)
    assert len(plan.problems) == 66
    equal = planned([NORMAL], *(f"layers.{n}.w" for n in range(66)), names=lambda _: "same")
    assert equal.complaints() == ["layers.[0-65].w would have the same values: names must differ."]


def test_reports_are_folded() -> None:
    """One line for what was kept, restored or waits for the same reason."""
    several: dict[str, Any] = {
        "kept": {f"h.{n}.w": "selected by `skip`" for n in range(99)},
        "buffers": {f"h.{n}.table": "by reset_buffers" for n in range(99)},
        "waiting": tuple(f"h.{n}" for n in range(99)),
    }
    assert str(Report(PLAN, **several)).splitlines()[1:] == [
        "kept: h.[0-98].w (selected by `skip`)",
        "restored: h.[0-98].table (by reset_buffers)",
        "waiting to be built: h.[0-98]",
    ]


def entries(count: int) -> list[dict[str, Any]]:
    """Parameters of a transformer, ten to a block."""
    return [
        {"path": f"model.layers.{n // 10}.m{n % 10}.weight", "shape": [64, 64], "role": "kernel", "layout": "torch"}
        for n in range(count)
    ]


def test_planning_is_linear() -> None:
    """Four times the parameters take about four times as long, with names, choices and a table."""

    def seconds(count: int) -> float:
        model = described_list(entries(count))
        recipe = Recipe.preset("llama").extend([{"path": [e["path"] for e in entries(count)], "initializer": "ones"}])
        best = float("inf")
        for _ in range(3):
            begin = time.process_time()
            recipe.plan(model, names={entry["path"]: f"n/{entry['path']}" for entry in entries(count)}).table()
            best = min(best, time.process_time() - begin)
        return best

    assert seconds(8000) < 8 * seconds(2000)


def test_a_missing_block_is_no_matter() -> None:
    """Blocks that are no product of ranges are folded in linear time, too."""
    begin = time.process_time()
    assert len(planned([NORMAL], *(f"a.{n}.b.{n % 7}.w" for n in range(9000))).table().splitlines()) > 9000
    assert time.process_time() - begin < 10
