"""Rules that set a scale and that no parameter uses: `initialize` warns of them, and the report has them."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fanin.recipes import Model, Options, Parameter, PlanError, Recipe, Traits
from fanin.recipes.execution import Execution
from recipe_kit import FLOAT32, NORMAL, planned

REST = {"path": "*", "initializer": "zeros"}
MODEL = Model((Parameter("a.w", (2, 2), FLOAT32, "Dense"), Parameter("b.w", (2,), FLOAT32)), "a\x1bmodel")


def warned(rules: list[dict[str, Any]], *, complete: bool = True, **options: Any) -> list[str]:
    """What an execution for the model warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        execution = Execution(replace(MODEL, complete=complete), Recipe(rules), Options(**options))
    unmet = execution.report().plan.unmet
    assert bool(caught) == (bool(unmet) and complete)
    for label in unmet:
        assert f"used by no parameter: {label}" in str(execution.report())
    return [str(each.message) for each in caught]


@pytest.mark.parametrize(
    "condition",
    [{"path": "*.c_proj"}, {"regex": "c.*"}, {"layer": "Conv"}, {"within": ["X"]}, {"path": "q", "rank": 2}],
)
def test_rules_of_names(condition: dict[str, Any]) -> None:
    """A random initializer whose paths or layers the model does not have."""
    (said,) = warned([{"name": "residual", **NORMAL, "path": "q"} | condition, REST])
    assert said.startswith(r"No parameter of a\x1bmodel uses rule 1 “residual”. What it is meant for may have another")


def test_rules_that_come_too_late() -> None:
    """An earlier rule takes all that a later one is meant for."""
    (said,) = warned([{"path": "*", "initializer": "he_normal", "fan_in": 3, "fan_out": 3}, {**NORMAL, "path": "a.*"}])
    assert "uses rule 2." in said


@pytest.mark.parametrize(
    "rule",
    [
        {"path": "q", "initializer": "zeros"},
        {"path": "q", "initializer": "constant", "value": 3},
        {"path": "q", "initializer": "keep"},
        {"role": "recurrent_kernel", "initializer": "orthogonal"},
        {"path": "q", "initializer": "random_normal", "optional": True},
        {"path": "b*", "initializer": "random_normal"},
        {"path": ["*", "q"], "layer": "*", "rank": 7, "initializer": "random_normal"},
    ],
)
def test_other_rules(rule: dict[str, Any]) -> None:
    """Constants, roles, which a recipe may have for other models, optional or used rules, and catch-alls."""
    assert warned([rule, REST]) == []


@pytest.mark.parametrize("options", [{"only": "b*"}, {"skip": "a*"}])
def test_the_whole_model_counts(options: dict[str, Any]) -> None:
    """A rule for parameters that `only` or `skip` leaves out is met all the same."""
    assert warned([{**NORMAL, "path": "a*"}, REST], **options) == []


def test_models_that_are_not_built() -> None:
    """Their parameters are not known, and so nothing is said."""
    assert warned([{**NORMAL, "path": "q"}, REST], complete=False) == []


def test_nothing_is_written_before() -> None:
    """Where warnings are errors, the model is as it was; a recipe that does not fit says that first."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="uses rule 1"):
            Execution(MODEL, Recipe([{**NORMAL, "path": "q"}, REST]), Options())
        with pytest.raises(PlanError):
            Execution(MODEL, Recipe([{**NORMAL, "path": "q"}]), Options())


def test_plans_say_it() -> None:
    """In Python and in JSON; `unused` has the others, too."""
    plan = planned([{**NORMAL, "path": "q"}, {"role": "scale", "initializer": "ones"}, NORMAL], "a")
    assert (plan.unused, plan.unmet) == (("rule 1", "rule 2"), ("rule 1",))
    assert plan.as_dict()["unmet_rules"] == ["rule 1"]
    assert np.array_equal(plan.entries[0].make(), planned([NORMAL], "a").entries[0].make())


def test_tables_say_it() -> None:
    """In the words of the warning, and apart from rules that a model need not use."""
    rules = [{**NORMAL, "path": "q"}, {"role": "scale", "initializer": "ones"}, REST]
    (said,) = warned(rules)
    remarks = Recipe(rules).plan(MODEL).table().split("\n\n")[1].splitlines()
    assert remarks[1:] == [f"warning: {said}", "unused: rule 2"]


def test_tables_of_models_that_are_not_built() -> None:
    """Their rules are unused so far."""
    plan = Recipe([{**NORMAL, "path": "q"}, REST]).plan(replace(MODEL, complete=False))
    assert plan.table().endswith("\nunused: rule 1")


def test_the_fans_that_count() -> None:
    """A rule's own, those of blocks, and those of a layout, in the entry and in the table."""
    kernel = {"path": "w", "shape": [64, 192], "role": "kernel", "layout": "keras", "blocks": ["q", "k", "v"]}
    cases: list[tuple[dict[str, Any], tuple[float, float], str]] = [
        ({"path": "*"}, (64, 192), "64→192"),
        ({"path": "*", "block": "*"}, (64, 64), "64→64"),
        ({"path": "*", "fan_in": 1000}, (1000, 192), "1000→192"),
        ({"path": "*", "fan_out": "fan_out / 5"}, (64, 38.4), "64→38.4"),
    ]
    for rule, fans, text in cases:
        plan = planned([{**rule, "initializer": "he_normal"}], kernel)
        assert plan.entries[0].fans == fans
        assert f"  {text}  " in plan.table()
        assert plan.entries[0].as_dict()["fans"] == list(fans)
    traits = Traits("other", fan_in=3)
    plan = planned([{"path": "*", "initializer": "he_normal"}], Parameter("w", (2, 3), FLOAT32, traits=traits))
    assert (plan.entries[0].fans, "  3→?  " in plan.table()) == (None, True)


def test_all_seeds_count() -> None:
    """A row of two parameters of four blocks each has eight seeds."""
    kernel = {"shape": [4, 8], "role": "kernel", "layout": "keras", "blocks": ["a", "b", "c", "d"]}
    rules = [{"path": "*", "block": "*", "initializer": "he_normal"}]
    assert "8 seeds" in planned(rules, *({"path": f"h.{n}.w", **kernel} for n in range(2))).table()
