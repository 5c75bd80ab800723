"""The planner: which rule counts, which seed, fans and names, and what fused parameters and parts of them get."""

import re
from typing import Any

import numpy as np
import pytest

import fanin
from fanin.recipes import Blocks, Model, Options, Parameter, Part, Recipe, Traits
from fanin.recipes.execution import Execution
from recipe_kit import FLOAT32, GATES, HE, KERNEL, NORMAL, SEED, drawn, planned, spawned


def test_what_expressions_know() -> None:
    """Fans, rank, size, the model's configuration and what the parameter's layer says."""
    text = "fan_in + 10 * fan_out + 100 * rank + 1000 * size + config.hidden + groups"
    parameter = Parameter("w", (2, 3), FLOAT32, traits=Traits("kernel", (1, 0), 3, 2, numbers={"groups": 4}))
    model = Model((parameter,), "a model", {"": {"hidden": 0.5}})
    recipe = Recipe([{"path": "*", "initializer": "random_normal", "stddev": text}])
    assert recipe.plan(model).entries[0].stddev == 3 + 20 + 200 + 6000 + 0.5 + 4
    own = Recipe([{"path": "*", "initializer": "random_normal", "stddev": "fan_in", "fan_in": "2 * fan_in + 1"}])
    assert own.plan(model).entries[0].stddev == 7


def test_seeds() -> None:
    """A parameter's seed is a function of the recipe's and of its name alone, and its bytes are the initializer's."""
    torch = {"path": "a.w", "shape": [5, 4], "role": "kernel", "layout": "torch"}
    conv = {"path": "c.w", "shape": [6, 2, 3, 3], "role": "kernel", "layout": "torch"}
    keras = {"path": "b/w:0", "shape": [4, 5], **KERNEL}
    plan = planned([HE], torch, conv, keras)
    assert [entry.path for entry in plan.entries] == ["a.w", "c.w", "b.w"]
    for entry, shape, axes in zip(
        plan.entries, [(4, 5), (3, 3, 2, 6), (4, 5)], [(1, 0), (3, 2, 0, 1), (0, 1)], strict=True
    ):
        assert entry.seeds == (fanin.HeNormal(seed=SEED).spawn(entry.path).seed,) == (entry.placements[0].seed,)
        assert entry.initializer == fanin.HeNormal(entry.seeds[0])
        assert drawn(entry).tobytes() == spawned(entry.path, shape).transpose(axes).tobytes()
        assert entry.name == entry.path
    for other in (planned([HE], keras, torch), planned([HE], torch, "x", keras), planned([NORMAL, HE], torch, keras)):
        assert other.entry("a.w").seeds == plan.entry("a.w").seeds
    assert len({entry.seeds for entry in plan.entries}) == 3
    assert Recipe([HE], seed=8).plan([torch]).entries[0].seeds != plan.entries[0].seeds


def test_blocks() -> None:
    """A rule for one block, and another one for the rest; each block that is drawn by itself has its own fans."""
    fused = {"path": "w", "shape": [4, 12], "blocks": GATES, **KERNEL}
    forget = {"path": "*", "block": "forget", "initializer": "glorot_uniform"}
    (entry,) = planned([forget, HE], fused).entries
    whole = spawned("w", (4, 12))
    whole[:, 3:6] = spawned("w[forget]", (4, 3), fanin.GlorotUniform)
    assert drawn(entry).tobytes() == whole.tobytes()
    assert entry.rule == "rule 2, rule 1"
    assert entry.description == "input, candidate, output: HeNormal(); forget: GlorotUniform()"
    assert not planned([forget, HE], fused).unused

    (entry,) = planned([{**forget, "block": "*"}], {**fused, "layout": "torch", "shape": [12, 4]}).entries
    blocks = [spawned(f"w[{gate}]", (4, 3), fanin.GlorotUniform) for gate in GATES]
    assert drawn(entry).tobytes() == np.concatenate(blocks, 1).T.tobytes()
    assert [each.label for each in entry.placements] == list(GATES)
    assert len(entry.seeds) == 4

    rule = {"path": "*", "blocks": ["q", "k"], "initializer": "glorot_uniform"}
    (entry,) = planned([rule, NORMAL], {"path": "w", "shape": [6, 4], "role": "kernel", "layout": "torch"}).entries
    blocks = [spawned(f"w[{name}]", (4, 3), fanin.GlorotUniform) for name in "qk"]
    assert drawn(entry).tobytes() == np.concatenate(blocks, 1).T.tobytes()

    (entry,) = planned(
        [{"path": "*", "block": "[!f]*", "initializer": "keep"}, {**forget, "block": "*"}], fused
    ).entries
    kept = drawn(entry)
    assert not entry.kept
    assert kept[:, 3:6].tobytes() == spawned("w[forget]", (4, 3), fanin.GlorotUniform).tobytes()
    assert {*kept[:, :3].flat, *kept[:, 6:].flat} == {99.0}


def test_another_order_of_blocks() -> None:
    """Blocks that are stored in another order than Keras's have the values that they have there."""
    stored, keras = ("reset", "update", "new"), ("update", "reset", "new")
    parameter = Parameter("w", (9, 4), FLOAT32, traits=Traits("kernel", (1, 0), 4, 9, blocks=Blocks(stored, keras)))
    whole = spawned("w", (4, 9), fanin.GlorotUniform)
    rule = {"path": "*", "initializer": "glorot_uniform"}
    (entry,) = planned([rule], parameter).entries
    assert drawn(entry).tobytes() == np.concatenate([whole[:, 3:6], whole[:, :3], whole[:, 6:]], 1).T.tobytes()
    assert len(entry.seeds) == 1
    (entry,) = planned([{**rule, "block": "*"}], parameter).entries
    blocks = [spawned(f"w[{name}]", (4, 3), fanin.GlorotUniform) for name in stored]
    assert drawn(entry).tobytes() == np.concatenate(blocks, 1).T.tobytes()


def test_parts() -> None:
    """Parameters that are blocks of one tensor elsewhere have its values, also where a rule is for one block."""
    fused = {"path": "cell.kernel", "shape": [4, 12], "blocks": GATES, **KERNEL}
    parts = [
        Parameter(
            f"cell.{gate}",
            (4, 3),
            FLOAT32,
            traits=Traits("kernel", (0, 1), 4, 3, part=Part("cell.kernel", gate, GATES)),
        )
        for gate in GATES
    ]
    rule = {"path": "cell.kernel", "initializer": "glorot_uniform"}
    forget = {"path": "*", "block": "forget", "initializer": "he_normal"}
    for rules in ([rule], [forget, rule], [{**forget, "block": "*"}]):
        plan = planned(rules, *parts)
        together = np.concatenate([drawn(entry) for entry in plan.entries], 1)
        assert together.tobytes() == drawn(planned(rules, fused).entries[0]).tobytes()
        assert not plan.equal_seeds
    assert (
        drawn(planned([rule], fused).entries[0]).tobytes()
        == spawned("cell.kernel", (4, 12), fanin.GlorotUniform).tobytes()
    )


def test_zero_rows() -> None:
    """The padding of an embedding is zero whatever is drawn, and does not count in its moments."""
    parameter = Parameter("w", (6, 3), FLOAT32, traits=Traits("embedding", (0, 1), 6, 3, zero_rows=(2,)))
    (entry,) = planned([NORMAL], parameter).entries
    expected = spawned("w", (6, 3), fanin.RandomNormal)
    expected[2] = 0
    assert drawn(entry).tobytes() == expected.tobytes()
    assert entry.stddev == fanin.RandomNormal().distribution((6, 3)).moments.stddev
    piece = np.empty((3, 2), np.float32)
    entry.fill(piece, (slice(1, 4), slice(1, 3)))
    assert piece.tobytes() == expected[1:4, 1:3].tobytes()


def test_column_axes() -> None:
    """Decompositions see the matrix that several axes are elsewhere; all others draw the same words anyway."""
    parameter = Parameter("w", (4, 2, 3), FLOAT32, traits=Traits("kernel", (0, 1, 2), 4, 6, column_axes=2))
    for cls in (fanin.Orthogonal, fanin.RandomNormal):
        (entry,) = planned([{"path": "*", "initializer": cls.__name__}], parameter).entries
        expected = spawned("w", (4, 6), cls).reshape(4, 2, 3)
        assert drawn(entry).tobytes() == expected.tobytes()
        piece = np.empty((2, 1, 2), np.float32)
        entry.fill(piece, np.s_[1:3, 1:2, 1:3])
        assert piece.tobytes() == expected[1:3, 1:2, 1:3].tobytes()


def test_names() -> None:
    """Mappings with globs, names of blocks, and functions; wrappers' components go out of names, too."""
    model = ({"path": "enc.0.w", "shape": [4, 6], "blocks": ["q", "k"], **KERNEL}, "enc.0.b", "x")
    mapping = {"enc.*.w[q]": "q/*", "enc.*.w": "encoder/*/w/kernel", "enc.*.b": "encoder/*/b/kernel"}
    plan = planned([{"path": "*", "block": "*", "initializer": "normal"}, NORMAL], *model, names=mapping)
    assert [entry.name for entry in plan.entries] == ["encoder.0.w.kernel", "encoder.0.b.kernel", "x"]
    assert [each.name for each in plan.entries[0].placements] == ["q.0", "encoder.0.w.kernel[k]"]
    assert drawn(plan.entry("enc.0.b")).tobytes() == spawned("encoder.0.b.kernel", (3,), fanin.RandomNormal).tobytes()
    plan = planned([{**NORMAL, "path": "ENC*"}], *model, names=lambda each: f"_orig_mod/{each.path.upper()}:0")
    assert [(entry.name, entry.matched) for entry in plan.entries] == [
        ("ENC.0.W", True),
        ("ENC.0.B", True),
        ("X", False),
    ]


def test_names_of_blocks() -> None:
    """A key that names no block says nothing of blocks but through the name of the whole."""
    model = {"path": "w", "shape": [4, 6], "blocks": ["q", "k"]}
    for names in ({"w": "v.w"}, {"*": "v.w"}, {"*w*": "*v.w*"}, {"*": "v.*"}):
        plan = planned([{"path": "*", "block": "*", "initializer": "normal"}], model, names=names)
        assert [each.name for each in plan.entries[0].placements] == ["v.w[q]", "v.w[k]"]


MAP = "`names` must map paths to names, and a name can have at most as many * as its path. Received: "
NAMES = (
    ({"a": "*"}, ValueError, MAP + "'a': '*'."),
    ({"a": 3}, ValueError, MAP + "'a': 3."),
    (["a"], TypeError, "`names` must be a mapping of paths to names, or a function of a parameter. Received: names …"),
    (lambda each: 3, TypeError, "`names` must return a string. Received: 3 for 'a'."),
)


@pytest.mark.parametrize(("names", "error", "message"), NAMES, ids=["stars", "number", "list", "function"])
def test_bad_names(names: Any, error: type[Exception], message: str) -> None:
    """What is no map of names."""
    with pytest.raises(error) as caught:
        planned([NORMAL], "a", names=names)
    assert str(caught.value).startswith(message.rstrip("…"))


def test_without_a_rule() -> None:
    """Running statistics have their start, unless a rule says another; what stays as it is is not touched."""
    model = ({"path": "n.running_mean", "shape": [2]}, {"path": "n.running_var", "shape": [2]}, "w", "kept")
    counter = {"path": "n.num_batches_tracked", "shape": [], "dtype": "int64"}
    rules = [{"path": "kept", "initializer": "keep"}]
    plan = planned(rules, *model, counter)
    assert [drawn(entry).tolist() for entry in plan.entries] == [[0, 0], [1, 1], [99] * 3, [99] * 3, 0]
    assert [entry.rule for entry in plan.entries] == ["its default initial value"] * 2 + [
        "",
        "rule 1",
        "its default initial value",
    ]
    assert [entry.path for entry in plan.unmatched] == ["w"]
    assert (plan.entry("kept").kept, plan.entry("kept").description, plan.entry("w").kept) == (
        True,
        "stays as it is",
        False,
    )
    plan.check(unmatched="keep")
    (entry,) = planned([{"role": "variance", "initializer": "constant", "value": 2}], model[1]).entries
    assert drawn(entry).tolist() == [2, 2]


def test_start_of_an_odd_dtype() -> None:
    """A start that a dtype does not have is a problem of the plan, as a rule's is."""
    plan = planned([NORMAL | {"path": "q"}], {"path": "running_mean", "shape": [2], "dtype": "bool"})
    assert plan.problems[0].startswith("running_mean")


def test_fans_in_rules() -> None:
    """The fans that nobody knows are those that a rule or the list says; a mode asks for its own alone."""
    model = {"path": "w", "shape": [4, 6]}
    expected = fanin.HeNormal().distribution((8, 1)).moments.stddev
    assert planned([{**HE, "fan_in": "2 * 4"}], model).entries[0].stddev == expected
    assert planned([HE], {**model, "fan_in": 8, "fan_out": 3}).entries[0].stddev == expected
    assert planned([{**HE, "layout": "torch"}], {**model, "shape": [4, 8]}).entries[0].stddev == expected
    assert planned([{**HE, "layout": "keras"}], {**model, "shape": [8, 4]}).entries[0].stddev == expected


def test_one_fan_is_enough() -> None:
    """A mode asks for its own fan alone, whether a rule or the list says it."""
    for rule, more in (({**HE, "fan_in": 8}, {}), (HE, {"fan_in": 8})):
        (entry,) = planned([rule], {"path": "w", "shape": [4, 6], **more}).entries
        assert (entry.problem, entry.stddev) == ("", fanin.HeNormal().distribution((8, 1)).moments.stddev)


@pytest.mark.parametrize("value", [0, -3, float("inf"), float("nan"), "0 * size", "-3"])
def test_impossible_fans(value: Any) -> None:
    """A fan that is no positive number is a mistake or a problem, not a start that nobody has asked for."""
    with pytest.raises(ValueError, match=r"fan_in"):
        planned([{**HE, "fan_in": value}], {"path": "w", "shape": [4, 6], **KERNEL}).check()


NO_MATCH = "`names` must match parameters of the model. Received: {!r}, which matches none."
UNKNOWN_NAMES = (
    ("enc.0.kernle", " Did you mean 'enc.0.kernel'?"),
    ("q.*.enc/*", ""),
    ("*.kernel[quary]", " Did you mean 'enc.0.kernel[query]'?"),
    ("enc.0.kernel[quary]", " Did you mean 'enc.0.kernel[query]'?"),
    ("enc.0.bias[query]", " Did you mean 'enc.0.kernel[query]'?"),
    ("tied", ""),
)


@pytest.mark.parametrize(("key", "hint"), UNKNOWN_NAMES)
def test_names_of_nothing(key: str, hint: str) -> None:
    """A key that matches no parameter and no block is refused, wherever else it may be meant for."""
    model = (
        {"path": "enc.0.kernel", "shape": [4, 6], "blocks": ["query", "value"], "tied": ["tied"], **KERNEL},
        "enc.0.bias",
    )
    with pytest.raises(ValueError, match=f"^{re.escape(NO_MATCH.format(key) + hint)}$"):
        planned([NORMAL], *model, names={"enc.*": "*", key: "x"})


def test_names_of_something() -> None:
    """A key counts that names a block of a rule, or one that another key comes before."""
    rule = {"path": "w", "initializer": "normal", "blocks": ["q", "k"], "layout": "keras"}
    plan = planned([rule], {"path": "w", "shape": [4, 6]}, names={"w": "v", "*": "u.*", "w[q]": "q", "*[k]": "*.k"})
    assert [each.name for each in plan.entries[0].placements] == ["q", "w.k"]


def test_names_in_incomplete_models() -> None:
    """Where layers are not built, a key may be meant for one of them."""
    model = Model((Parameter("a", (3,), FLOAT32),), "a model", complete=False)
    assert Recipe([NORMAL]).plan(model, names={"b.*": "c.*"}).entries[0].name == "a"


def test_names_with_a_prefix() -> None:
    """Keys are about the paths in the larger model."""
    model = Model((Parameter("a", (3,), FLOAT32),), "a model")
    options = Options(names={"enc.*": "x.*"}, prefix="enc")
    assert Execution(model, Recipe([NORMAL]), options).plan.entries[0].name == "x.a"
    with pytest.raises(ValueError, match=r"Received: 'a', which matches none\.$"):
        Execution(model, Recipe([NORMAL]), Options(names={"a": "x"}, prefix="enc"))


def test_the_geometric_mean_takes_the_fans_of_the_layer() -> None:
    """A grouped convolution's fans, which are not those of the last two axes; both must be known."""
    rule = {"path": "*", "initializer": "variance_scaling", "mode": "fan_geo_avg", "distribution": "uniform"}
    known = Parameter("w", (8, 2, 3), FLOAT32, traits=Traits("kernel", (2, 1, 0), 6, 12))
    (entry,) = Recipe([rule]).plan(Model((known,), "a model", {})).entries
    limit = np.float32(np.sqrt(3 / np.sqrt(6 * 12)))
    assert entry.placements[0].weight.distribution.bounds == (-limit, limit)
    unknown = Parameter("w", (8, 2, 3), FLOAT32, traits=Traits("other"))
    assert "fan_in" in Recipe([rule]).plan(Model((unknown,), "a model", {})).entries[0].problem


def test_axes_of_a_rule_outrank_the_fans_of_the_layer() -> None:
    """Experts that the layer table does not know: the rule names the axis that numbers them."""
    rule = {"path": "*", "initializer": "he_normal", "in_axis": 1, "out_axis": 2, "batch_axis": [0]}
    expected = spawned("w", (4, 6, 5), lambda seed: fanin.HeNormal(seed, batch_axis=0))
    for traits in (Traits("kernel", (0, 1, 2), 24, 5), Traits("other", (0, 1, 2))):
        parameter = Parameter("w", (4, 6, 5), FLOAT32, traits=traits)
        (entry,) = Recipe([rule], seed=SEED).plan(Model((parameter,), "a model", {})).entries
        assert entry.placements[0].weight.distribution.fan_in == 6
        assert drawn(entry).tobytes() == expected.tobytes()
    assert Recipe.from_toml(Recipe([rule]).to_toml()) == Recipe([rule])


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn"])
@pytest.mark.parametrize("name", ["sinusoidal", "rotary", "hippo", "dirac"])
def test_a_formula_is_that_of_float32_rounded(name: str, dtype: str) -> None:
    """A model of few bits is the float32 model, rounded, whatever its initializers."""
    model = {"path": "w", "shape": [9, 64], "layout": "keras"}
    (narrow,) = planned([{"path": "*", "initializer": name}], {**model, "dtype": dtype}).entries
    (single,) = planned([{"path": "*", "initializer": name}], model).entries
    assert drawn(narrow).tobytes() == drawn(single).astype(dtype).tobytes()
