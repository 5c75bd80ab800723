"""Plans: what stands in their way, what they say of themselves, as data and in words, and how two of them differ."""

import json
from typing import Any

import pytest

import fanin
from fanin.models.names import selector
from fanin.recipes import Comparison, Plan, PlanError
from recipe_kit import GATES, KERNEL, NORMAL, planned


class Still(fanin.SeededInitializer):
    """One with a seed, on which nothing depends."""

    def distribution(self, shape: Any, dtype: Any = None) -> Any:
        """Ones."""
        return fanin.Ones().distribution(shape, dtype)

    def get_config(self) -> dict[str, Any]:
        """The seed."""
        return {"seed": self.seed}


def test_equal_seeds() -> None:
    """Parameters of one name have the same random words, and the plan says so; zeros have none."""
    plan = planned([{"path": "z*", "initializer": "zeros"}, NORMAL], "a", "b", "c", "z1", "z2", names={"*": "n"})
    assert plan.equal_seeds == (("a", "b", "c"),)
    assert "\nequal seeds: a, b, c\n" in f"{plan}\n"
    assert not planned([NORMAL], "a", "b").equal_seeds
    assert not planned([{"path": "*", "initializer": Still()}], "a", "b", names={"*": "n"}).equal_seeds


STACK = "with `stacked = 1` if its first axis is a stack of kernels."


def test_everything_that_stands_in_the_way() -> None:
    """One error has all problems and all parameters without a rule, and says what to do."""
    odd = {"path": "odd.w", "shape": [2, 2], "layer": "Odd"}
    rules = [
        {"path": "odd.*", "initializer": "he_normal"},
        {"path": "q", "initializer": "random_normal", "stddev": "1 / (rank - 1)"},
        {"path": "cut", "block": "a", "initializer": "zeros"},
        {"path": "never", "initializer": "zeros", "name": "spare"},
        {"path": "avg", "initializer": "glorot_normal"},
        {"path": "flat", "initializer": "orthogonal"},
        {"path": "thirds", "initializer": "zeros", "blocks": ["a", "b"]},
        {"path": "turned", "initializer": "zeros", "layout": [1, 0]},
    ]
    cut = {"path": "cut", "shape": [4], "blocks": ["a", "b", "c"]}
    rest = [{"path": f"rest.{number}.w", "shape": [2, 3]} for number in range(25)]
    other = ({"path": f"other{number}", "shape": [1], "layer": "Other"} for number in range(22))
    plan = planned(
        rules, odd, "q", {**cut, "shape": [6]}, "avg", "flat", "thirds", *rest, *other, {**cut, "path": "turned"}
    )
    layout = 'or, if it is a kernel, `layout = "torch"` or `layout = "keras"`, ' + STACK
    problems = (
        "odd.w, in rule 1: HeNormal needs the fans of a parameter of a layer of type Odd, and they are not known. "
        f"Write `fan_in = …` into rule 1, {layout}",
        "q, in rule 2: '1 / (rank - 1)' cannot be evaluated here (division by zero), with rank = 1.",
        "cut, in rule 3: no rule matches its blocks b, c.",
        "avg, in rule 5: GlorotNormal needs the fans of a parameter of no known layer, and they are not known. "
        f"Write `fan_in = …` and `fan_out = …` into rule 5, {layout}",
        "flat, in rule 6: The tensor to initialize must be at least two-dimensional. Received: shape=(3,) of rank 1.",
        "thirds, in rule 7: the last axis of (3,) cannot be split into the blocks a, b.",
        "turned, in rule 8: `layout` must have each of the tensor's 1 axes once. Received: layout=(1, 0). "
        "It says where Keras's axes are, as in `tensor.permute(layout)`.",
    )
    assert plan.problems == problems
    assert plan.unused == ("rule 4 “spare”",)
    rows = ["rest.[0-24].w 2×3, no known layer", *(f"other{number} 1, Other" for number in range(19)), "and 3 more"]
    missing = "No rule matches 47 of 54 parameters:" + "".join(f"\n    {row}" for row in rows)
    missing += (
        '\n    Add rules for them (the last one may be path = "*"), or leave them as they are with unmatched="keep".'
    )
    for unmatched, complaints in (("error", [*problems, missing]), ("keep", problems)):
        with pytest.raises(PlanError) as caught:
            plan.check(unmatched)  # pyright: ignore[reportArgumentType]
        assert str(caught.value) == "\n  ".join(
            ["The recipe does not fit a list of shapes; nothing has been written.", *complaints]
        )
    with pytest.raises(ValueError, match=r'^`unmatched` must be "error" or "keep"\. Received: unmatched=\'drop\'\.$'):
        plan.check("drop")  # pyright: ignore[reportArgumentType]
    for remark in ("unused: rule 4 “spare”", "unmatched: rest.[0-24].w", *(f"problem: {each}" for each in problems)):
        assert f"\n{remark}\n" in f"{plan}\n"


def test_html() -> None:
    """A notebook's table has nothing in it that a path could bring."""
    text = planned([{**NORMAL, "path": "a<b*", "name": "<i>"}], "a<b>&.w", "<script>")._repr_html_()
    assert "a&lt;b&gt;&amp;.w" in text
    assert "unmatched: &lt;script&gt;" in text
    assert "<script>" not in text
    assert "<i>" not in text
    assert text.count("<tr>") == text.count("</tr>") == 3


def test_plain_data(tmp_path: Any) -> None:
    """A plan is JSON, without numbers that JSON does not have, and reads back as it was."""
    fused = {"path": "w", "shape": [4, 12], "blocks": GATES, "tied": ["v"], **KERNEL}
    plan = planned(
        [{"path": "w", "block": "*", "initializer": "he_normal"}, {"path": "k", "initializer": "keep"}], fused, "k", "u"
    )
    text = plan.to_json(tmp_path / "plan.json")
    assert (tmp_path / "plan.json").read_text(encoding="utf-8") == text
    data = json.loads(text, parse_constant=pytest.fail)
    assert data == plan.as_dict()
    assert (data["parameters"], data["elements"], data["bytes"]) == (3, 54, 216)
    assert data["unmatched"] == ["u"]
    stddev, seeds = plan.entries[0].stddev, list(plan.entries[0].seeds)
    assert list(data["entries"][0].items()) == [
        *[("path", "w"), ("name", "w"), ("shape", [4, 12]), ("dtype", "float32"), ("layout", "keras"), ("layer", "")],
        *[("role", "kernel"), ("rule", "rule 1"), ("initializer", f"{', '.join(GATES)}: HeNormal()")],
        *[("fans", [4, 3]), ("mean", 0.0), ("stddev", stddev), ("seeds", seeds), ("tied", ["v"]), ("problem", "")],
    ]
    assert not plan.compare(data)
    assert str(plan.compare(plan)) == "The plans are the same."


def test_compare() -> None:
    """What another plan adds, removes and changes, also where it was read from JSON."""
    before = planned([NORMAL], "a", "b", "c")
    after = planned([{**NORMAL, "stddev": 2}], "b", {"path": "c", "shape": [4]}, "d", names={"b": "e"})
    for other in (after, json.loads(after.to_json())):
        comparison = before.compare(other)
        assert comparison
        assert (comparison.added, comparison.removed, list(comparison.changed)) == (("d",), ("a",), ["b", "c"])
        assert comparison.changed["c"]["shape"] == ([3], [4])
        assert {*comparison.changed["c"]} == {"shape", "initializer", "stddev"}
        assert {*comparison.changed["b"]} == {"name", "initializer", "stddev", "seeds"}
        lines = str(comparison).splitlines()
        assert lines[:2] == ["- a", "+ d"]
        assert "~ c: shape [3] → [4]" in lines
    assert before.compare(planned([NORMAL], "a", "b")).removed == ("c",)
    assert before.compare(planned([NORMAL], "a", "b", "c", "d")).added == ("d",)
    for bad in ({}, [1], {"entries": [3]}):
        with pytest.raises(ValueError, match=r"the JSON that `fanin plan --json` makes\. Received: (dict|list)\.$"):
            before.compare(bad)  # pyright: ignore[reportArgumentType]


def blocks(stddev: float = 0.1, names: Any = None, count: int = 12) -> Plan:
    """A plan of repeated blocks."""
    return planned([{**NORMAL, "stddev": stddev}], *(f"h.{n}.w" for n in range(count)), "w", names=names)


@pytest.mark.parametrize(
    ("after", "lines"),
    [
        (blocks(count=14), ["+ h.[12-13].w"]),
        (blocks(count=10), ["- h.[10-11].w"]),
        (
            blocks(1 / 3),
            [
                f"~ {path}: {change}"
                for path in ("h.[0-11].w", "w")
                for change in (
                    "initializer RandomNormal(mean=0, stddev=0.1) → RandomNormal(mean=0, stddev=0.333333)",
                    "stddev 0.1 → 0.333333",
                )
            ],
        ),
        (
            blocks(names={"h.*": "x.*"}),
            ["~ h.[0-11].w: name h.·.w → x.·.w", "~ h.[0-11].w: seeds 12 → 12 others"],
        ),
        (
            planned([{**NORMAL, "stddev": 0.1}], *({"path": f"h.{n}.w", "shape": [4]} for n in range(12)), "w"),
            ["~ h.[0-11].w: shape [3] → [4]"],
        ),
    ],
    ids=["added", "removed", "numbers", "names", "shapes"],
)
def test_compare_folds(after: Plan, lines: list[str]) -> None:
    """The lines of repeated blocks are one, and numbers have six digits."""
    assert str(blocks().compare(after)).splitlines() == lines


def test_compare_what_is_almost_equal() -> None:
    """Numbers that are equal to six digits have all of theirs."""
    first, second = ({"entries": [{"path": "w", "fans": [3.0, 4 / 3 + more]}]} for more in (0, 1e-9))
    assert str(Comparison.of(first, second)) == "~ w: fans [3.0, 1.3333333333333333] → [3.0, 1.3333333343333333]"


def test_entries_and_choices() -> None:
    """Entries by any of their paths, and plans of some of them."""
    plan = planned([NORMAL], "a.weight", {"path": "b.weight", "shape": [2], "tied": ["t.weight"]})
    assert plan.entry("t.weight") is plan.entry("b.weight") is plan.entries[1]
    with pytest.raises(KeyError, match=r"No parameter 'a\.wieght'\. Did you mean 'a\.weight'\?"):
        plan.entry("a.wieght")
    paths = ["a.weight", "b.weight", "t.weight"]
    assert [entry.path for entry in plan.chosen(selector("only", "t.*", paths)).entries] == ["b.weight"]
    with pytest.raises(
        ValueError, match=r"^`skip` must match parameters of the model\. Received: 'b\.wieght', which matches"
    ):
        selector("skip", ["a.*", "b.wieght"], paths)


def test_one_of_each() -> None:
    """A single parameter of a single byte is no plural, in any text."""
    model = [{"path": "w", "shape": [1], "dtype": "int8"}]
    plan = fanin.Recipe([{"path": "*", "initializer": "zeros"}]).plan(model)
    assert repr(plan) == "<Plan of 1 parameter of a list of shapes, seed 0>"
    assert plan.table().splitlines()[-1] == "a list of shapes: 1 parameter, 1 element, 1 byte, seed 0"
    (complaint,) = fanin.Recipe([{"path": "v", "initializer": "zeros"}]).plan(model).complaints()
    assert complaint.startswith("No rule matches 1 of 1 parameter:")
