"""Plans: which rule counts, which seed, which bytes go where in any piece, and what a plan says of itself."""

import json
import re
from collections.abc import Sequence
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import fanin
from fanin._parameters import Parameter, Part, selector
from fanin.plans import Entry, Found, Plan, PlanError
from fanin.recipes import Recipe
from strategies import examples

SEED = 7
NORMAL = {"path": "*", "initializer": "random_normal"}
HE = {"path": "*", "initializer": "he_normal"}
GATES = ("input", "forget", "candidate", "output")
KERNEL = {"role": "kernel", "layout": "keras"}
FLOAT32 = np.dtype(np.float32)


def planned(rules: Sequence[dict[str, Any]], *model: Any, names: Any = None, **options: Any) -> Plan:
    """The plan of a recipe for a list: of dicts, of paths of vectors, or of described parameters."""
    recipe = Recipe(rules, seed=SEED, **options)
    if isinstance(model[0], Parameter):
        return recipe.plan_of(Found(model, "a model"), names=names)
    return recipe.plan([{"path": each, "shape": [3]} if isinstance(each, str) else each for each in model], names=names)


def drawn(entry: Entry) -> np.ndarray:
    """All values of a parameter."""
    array = np.full(entry.parameter.shape, 99, entry.parameter.dtype)
    entry.fill(array)
    return array


def spawned(name: str, shape: tuple[int, ...], cls: Any = fanin.HeNormal) -> np.ndarray:
    """What the initializer of a name draws."""
    return cls(seed=SEED).spawn(name)(shape)


CONDITIONS = {
    "first": ([{"path": "a.*"}, {"path": "*"}], 1),
    "second": ([{"path": "b*"}, {"path": "*"}], 2),
    "glob over dots": ([{"path": "a*w"}], 1),
    "glob of all": ([{"path": "b.w"}, {"path": "*.w"}], 2),
    "part of a path": ([{"path": "b.w"}, {"path": "a.b"}, {"path": "w"}], None),
    "slashes": ([{"path": "a/*/w"}], 1),
    "one of several": ([{"path": ["c", "a.b.w"]}], 1),
    "a tie": ([{"path": "tied.w"}], 1),
    "classes": ([{"path": "a.[!b].w"}, {"path": "a.?.w"}], 2),
    "regex": ([{"regex": r"a\.b"}, {"regex": r"a\.(b|c)\.\w"}], 2),
    "regex of a tie": ([{"regex": r"tied\.w"}], 1),
    "layer": ([{"layer": "Line"}, {"layer": "Lin*"}], 2),
    "layer's case": ([{"layer": "linear"}, {"layer": ["a", "Linear"]}], 2),
    "role": ([{"role": "bias"}, {"role": ["bias", "kernel"]}], 2),
    "rank": ([{"rank": 1}, {"rank": [1, 3]}, {"rank": 2}], 3),
    "within": ([{"within": "Linear"}, {"within": "Atten*"}], 2),
    "all": ([{"path": "*", "rank": 1}, {"path": "*", "role": "kernel", "layer": "x"}, {"path": "*", "rank": 2}], 3),
    "block": ([{"path": "*", "block": "forget"}, {"rank": 2}], 2),
    "none": ([{"path": "q"}], None),
}


@pytest.mark.parametrize("name", list(CONDITIONS))
def test_conditions(name: str) -> None:
    """The first rule all of whose conditions are met counts."""
    conditions, number = CONDITIONS[name]
    rules = [{**each, "initializer": "constant", "value": place} for place, each in enumerate(conditions, 1)]
    parameter = Parameter("a.b.w", (2, 3), FLOAT32, "Linear", ("Model", "Attention"), "kernel", tied=("tied.w",))
    entry = planned(rules, parameter).entries[0]
    assert (entry.rule, entry.matched) == (f"rule {number}" if number else "", number is not None)
    assert {*drawn(entry).flat} == {number or 99.0}


DEPTHS = {
    "h.3.w": (3, 5),
    "h.0.mlp.7.w": (0, 5),
    "encoder.block.3.layer.0.wq": (3, 4),
    "encoder.block.0.layer.1.wq": (0, 4),
    "decoder.block.0.layer.2.wq": (0, 1),
    "block_3.w": (3, 4),
    "fc_1.w": None,
    "fc_1.h.1.w": (1, 2),
    "conv_1.w": None,
    "alone_0.w": None,
    "h.4": None,
    "w_0": None,
    "wte": None,
}


def test_depths() -> None:
    """The outermost list of blocks counts; names with numbers are blocks where all of them are there."""
    others = ["h.4.x", "h.1.x", "encoder.block.1.x", "encoder.block.2.x", "fc_1.h.0.x", "conv_3.x"]
    others += ["h.2.x", "block_0.x", "block_1.x", "block_2.x"]
    rules = [{"path": "*.[wx]*", "initializer": "random_normal", "stddev": "depth + n_layers / 100"}]
    rules += [{"path": "*", "initializer": "random_normal", "stddev": "depth"}]
    plan = planned(rules, *DEPTHS, *others)
    for path, expected in DEPTHS.items():
        entry = plan.entry(path)
        if expected is None:
            assert "needs depth" in entry.problem
        else:
            assert (path, entry.initializer) == (
                path,
                fanin.RandomNormal(0.0, expected[0] + expected[1] / 100, entry.seeds[0]),
            )
    piece = planned(rules, "h.3.w", constants={"n_layers": 12}).entries[0]
    assert getattr(piece.initializer, "stddev", None) == 3.12


def test_what_expressions_know() -> None:
    """Fans, rank, size, the model's configuration and what the parameter's layer says."""
    text = "fan_in + 10 * fan_out + 100 * rank + 1000 * size + config.hidden + groups"
    parameter = Parameter("w", (2, 3), FLOAT32, axes=(1, 0), fans=(3, 2), known={"groups": 4})
    found = Found((parameter,), "a model", {"hidden": 0.5})
    recipe = Recipe([{"path": "*", "initializer": "random_normal", "stddev": text}])
    assert recipe.plan_of(found).entries[0].stddev == 3 + 20 + 200 + 6000 + 0.5 + 4
    own = Recipe([{"path": "*", "initializer": "random_normal", "stddev": "fan_in", "fan_in": "2 * fan_in + 1"}])
    assert own.plan_of(found).entries[0].stddev == 7


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
        assert entry.seeds == (fanin.HeNormal(seed=SEED).spawn(entry.path)._seed,) == (entry.draws[0].seed,)
        assert entry.initializer == fanin.HeNormal(entry.seeds[0])
        assert drawn(entry).tobytes() == spawned(entry.path, shape).transpose(axes).tobytes()
        assert entry.name == entry.path
    for other in (planned([HE], keras, torch), planned([HE], torch, "x", keras), planned([NORMAL, HE], torch, keras)):
        assert other.entry("a.w").seeds == plan.entry("a.w").seeds
    assert len({entry.seeds for entry in plan.entries}) == 3
    assert Recipe([HE], seed=8).plan([torch]).entries[0].seeds != plan.entries[0].seeds


@pytest.mark.parametrize(
    "path", ["_orig_mod.a.w", "a._fsdp_wrapped_module.w", "_orig_mod.a._checkpoint_wrapped_module.w"]
)
def test_wrappers(path: str) -> None:
    """What wrappers put into paths does not matter."""
    assert planned([NORMAL], path).entries == planned([NORMAL], "a.w").entries


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2), np.float32), np.zeros((9, 9), np.float32), np.zeros((4, 4), np.int32), np.zeros((4, 4))]
)
def test_arrays_that_do_not_fit(array: np.ndarray) -> None:
    """Arrays of another shape or dtype are not filled, whatever the size of their elements."""
    (entry,) = planned([NORMAL], {"path": "w", "shape": [4, 4]}).entries
    with pytest.raises((ValueError, TypeError)):
        entry.fill(array)
    assert not array.any()


@st.composite
def parameters(draw: Any) -> dict[str, Any]:
    """Entries of lists: any shape, layout and dtype, of blocks or not."""
    shape = draw(st.lists(st.sampled_from([1, 2, 3, 4, 6, 9, 0]), max_size=4))
    layout = draw(st.sampled_from(["keras", "torch"]) | st.permutations(range(len(shape))))
    blocks = draw(st.sampled_from([[], [], ["a", "b"], ["a", "b", "c"]]))
    dtype = draw(st.sampled_from(["float32", "bfloat16", "float16", "float64"]))
    return {"path": "w", "shape": shape, "layout": layout, "dtype": dtype, "blocks": blocks}


@hypothesis.given(
    parameters(),
    st.sampled_from(["normal", "truncated_normal", "uniform", "he_uniform", "orthogonal", "ones", "identity"]),
    st.sampled_from([None, "*", "b", "keep"]),
    st.booleans(),
    st.data(),
)
@examples(400)
def test_regions(parameter: dict[str, Any], initializer: str, block: str | None, reverse: bool, data: Any) -> None:
    """Any region of a parameter has the bytes of the whole's, and nothing else is written."""
    rules: list[dict[str, Any]] = [{"path": "*", "initializer": initializer}]
    if block == "keep":
        rules.insert(0, {"path": "*", "initializer": "keep", "block": "a"})
    elif block is not None:
        rules.insert(0, {"path": "*", "initializer": "normal", "block": block})
    (entry,) = planned(rules, parameter).entries
    hypothesis.assume(not entry.problem)
    whole = drawn(entry)
    bounds = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in whole.shape]
    region = tuple(slice(*each) for each in bounds)
    shape = whole[region].shape
    array = np.full(shape[::-1], 99, whole.dtype).T if reverse else np.full(shape, 99, whole.dtype)
    entry.fill(array, region)
    assert array.tobytes() == whole[region].tobytes()
    kernel = whole.transpose(entry.parameter.kernel_axes)
    if not parameter["blocks"] or block is None:
        expected = fanin.get(initializer) if not entry.seeds else type(fanin.get(initializer))(seed=SEED)
        assert kernel.tobytes() == expected.spawn("w")(kernel.shape, whole.dtype).tobytes()
    elif block == "keep":
        assert {*kernel[..., : kernel.shape[-1] // len(parameter["blocks"])].ravel().tolist()} <= {99.0}


def test_blocks() -> None:
    """A rule for one block, and another one for the rest; each block that is drawn by itself has its own fans."""
    fused = {"path": "w", "shape": [4, 12], "blocks": GATES, **KERNEL}
    forget = {"path": "*", "block": "forget", "initializer": "glorot_uniform"}
    (entry,) = planned([forget, HE], fused).entries
    whole = spawned("w", (4, 12))
    whole[:, 3:6] = spawned("w[forget]", (4, 3), fanin.GlorotUniform)
    assert drawn(entry).tobytes() == whole.tobytes()
    assert entry.rule == "rule 2, rule 1"
    assert entry.what == "input, candidate, output: HeNormal(); forget: GlorotUniform()"
    assert not planned([forget, HE], fused).unused

    (entry,) = planned([{**forget, "block": "*"}], {**fused, "layout": "torch", "shape": [12, 4]}).entries
    blocks = [spawned(f"w[{gate}]", (4, 3), fanin.GlorotUniform) for gate in GATES]
    assert drawn(entry).tobytes() == np.concatenate(blocks, 1).T.tobytes()
    assert [draw.label for draw in entry.draws] == list(GATES)
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


def test_moments_of_blocks() -> None:
    """Mean and standard deviation of all elements, whichever block they are in."""
    rules = [
        {"path": "*", "block": name, "initializer": "constant", "value": value} for name, value in (("a", 1), ("b", 4))
    ]
    (entry,) = planned(rules, {"path": "w", "shape": [2, 6], "blocks": ["a", "b"]}).entries
    assert (entry.mean, entry.stddev) == (2.5, 1.5)
    (entry,) = planned([HE], {"path": "w", "shape": [8, 6], **KERNEL}).entries
    assert (entry.mean, entry.stddev) == (0.0, fanin.HeNormal().distribution((8, 6)).stddev)


def test_another_order_of_blocks() -> None:
    """Blocks that are stored in another order than Keras's have the values that they have there."""
    stored, keras = ("reset", "update", "new"), ("update", "reset", "new")
    parameter = Parameter(
        "w", (9, 4), FLOAT32, role="kernel", axes=(1, 0), fans=(4, 9), blocks=stored, keras_blocks=keras
    )
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
    known: dict[str, Any] = {"role": "kernel", "axes": (0, 1), "fans": (4, 3)}
    parts = [
        Parameter(f"cell.{gate}", (4, 3), FLOAT32, part=Part("cell.kernel", gate, GATES), **known) for gate in GATES
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
    parameter = Parameter("w", (6, 3), FLOAT32, role="embedding", axes=(0, 1), fans=(6, 3), zero_rows=(2,))
    (entry,) = planned([NORMAL], parameter).entries
    expected = spawned("w", (6, 3), fanin.RandomNormal)
    expected[2] = 0
    assert drawn(entry).tobytes() == expected.tobytes()
    assert entry.stddev == fanin.RandomNormal().distribution((6, 3)).stddev
    piece = np.empty((3, 2), np.float32)
    entry.fill(piece, (slice(1, 4), slice(1, 3)))
    assert piece.tobytes() == expected[1:4, 1:3].tobytes()


def test_matrix_shape() -> None:
    """Decompositions see the matrix that several axes are elsewhere; all others draw the same words anyway."""
    parameter = Parameter("w", (4, 2, 3), FLOAT32, role="kernel", axes=(0, 1, 2), fans=(4, 6), matrix_shape=(4, 6))
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
    mapping = {"enc.*.w[q]": "q/*", "enc.*.w": "encoder/*/w/kernel", "enc.*.b": "encoder/*/b/kernel", "y": "z"}
    plan = planned([{"path": "*", "block": "*", "initializer": "normal"}, NORMAL], *model, names=mapping)
    assert [entry.name for entry in plan.entries] == ["encoder.0.w.kernel", "encoder.0.b.kernel", "x"]
    assert [draw.name for draw in plan.entries[0].draws] == ["q.0", "encoder.0.w.kernel[k]"]
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
        assert [draw.name for draw in plan.entries[0].draws] == ["v.w[q]", "v.w[k]"]


MAP = "`names` must map paths to names, and a name can have as many * as its path. Received: "
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


def test_without_a_rule() -> None:
    """Running statistics have their start, unless a rule says another; what stays as it is is not touched."""
    model = ({"path": "n.running_mean", "shape": [2]}, {"path": "n.running_var", "shape": [2]}, "w", "kept")
    counter = {"path": "n.num_batches_tracked", "shape": [], "dtype": "int64"}
    rules = [{"path": "kept", "initializer": "keep"}]
    plan = planned(rules, *model, counter)
    assert [drawn(entry).tolist() for entry in plan.entries] == [[0, 0], [1, 1], [99] * 3, [99] * 3, 0]
    assert [entry.rule for entry in plan.entries] == ["its usual start"] * 2 + ["", "rule 1", "its usual start"]
    assert [entry.path for entry in plan.unmatched] == ["w"]
    assert (plan.entry("kept").kept, plan.entry("kept").what, plan.entry("w").kept) == (True, "stays as it is", False)
    plan.check(unmatched="keep")
    (entry,) = planned([{"role": "variance", "initializer": "constant", "value": 2}], model[1]).entries
    assert drawn(entry).tolist() == [2, 2]


def test_start_of_an_odd_dtype() -> None:
    """A start that a dtype does not have is a problem of the plan, as a rule's is."""
    plan = planned([NORMAL | {"path": "q"}], {"path": "running_mean", "shape": [2], "dtype": "bool"})
    assert plan.problems[0].startswith("running_mean")


ROLES = {
    "embedding": "a.embedding b.embeddings",
    "kernel": "a.kernel a/kernel:0",
    "recurrent_kernel": "a.recurrent_kernel",
    "bias": "a.bias bias",
    "scale": "a.gamma a.scale a.weight",
    "offset": "a.beta",
    "mean": "a.running_mean a.moving_mean",
    "variance": "a.running_var a.moving_variance",
    "count": "a.num_batches_tracked",
    "other": "a.w a.biases cls_token",
}


@pytest.mark.parametrize("role", list(ROLES))
def test_roles_of_names(role: str) -> None:
    """The roles that names say by themselves, where a list has none."""
    for path in ROLES[role].split():
        assert planned([NORMAL], path).entries[0].parameter.role == role
    assert planned([NORMAL], {"path": "a.weight", "shape": [2, 2]}).entries[0].parameter.role == "other"
    assert planned([NORMAL], {"path": "a.bias", "shape": [2], "role": "scale"}).entries[0].parameter.role == "scale"


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
        "odd.w, by rule 1: HeNormal needs the fans of a parameter of a layer of type Odd, which nobody knows. "
        f"Write `fan_in = …` into rule 1, {layout}",
        "q, by rule 2: '1 / (rank - 1)' has no value here (division by zero), with rank = 1.",
        "cut, by rule 3: no rule matches its blocks b, c.",
        "avg, by rule 5: GlorotNormal needs the fans of a parameter of no known layer, which nobody knows. "
        f"Write `fan_in = …` and `fan_out = …` into rule 5, {layout}",
        "flat, by rule 6: The tensor to initialize must be at least two-dimensional. Received: shape=(3,) of rank 1.",
        "thirds, by rule 7: the last axis of (3,) cannot be cut into the blocks a, b.",
        "turned, by rule 8: `layout` must have each of the tensor's 1 axes once. Received: layout=(1, 0). "
        "It says where Keras's axes are, as in `tensor.permute(layout)`.",
    )
    assert plan.problems == problems
    assert plan.unused == ("rule 4 “spare”",)
    rows = ["rest.[0-24].w 2×3, no known layer", *(f"other{number} 1, Other" for number in range(19)), "and 3 more"]
    missing = "No rule matches 47 of 54 parameters:" + "".join(f"\n    {row}" for row in rows)
    missing += '\n    Add rules for them (the last one may be path = "*"), or leave them: unmatched="keep".'
    for unmatched, complaints in (("error", [*problems, missing]), ("keep", problems)):
        with pytest.raises(PlanError) as caught:
            plan.check(unmatched)
        assert str(caught.value) == "\n  ".join(
            ["The recipe does not fit a list of shapes; nothing has been written.", *complaints]
        )
    with pytest.raises(ValueError, match=r'^`unmatched` must be "error" or "keep"\. Received: unmatched=\'drop\'\.$'):
        plan.check("drop")
    for remark in ("unused: rule 4 “spare”", "unmatched: rest.[0-24].w", *(f"problem: {each}" for each in problems)):
        assert f"\n{remark}\n" in f"{plan}\n"


def test_fans_in_rules() -> None:
    """The fans that nobody knows are those that a rule or the list says; a mode asks for its own alone."""
    model = {"path": "w", "shape": [4, 6]}
    expected = fanin.HeNormal().distribution((8, 1)).stddev
    assert planned([{**HE, "fan_in": "2 * 4"}], model).entries[0].stddev == expected
    assert planned([HE], {**model, "fan_in": 8, "fan_out": 3}).entries[0].stddev == expected
    assert planned([{**HE, "layout": "torch"}], {**model, "shape": [4, 8]}).entries[0].stddev == expected
    assert planned([{**HE, "layout": "keras"}], {**model, "shape": [8, 4]}).entries[0].stddev == expected


def test_one_fan_is_enough() -> None:
    """A mode asks for its own fan alone, whether a rule or the list says it."""
    for rule, more in (({**HE, "fan_in": 8}, {}), (HE, {"fan_in": 8})):
        (entry,) = planned([rule], {"path": "w", "shape": [4, 6], **more}).entries
        assert (entry.problem, entry.stddev) == ("", fanin.HeNormal().distribution((8, 1)).stddev)


@pytest.mark.parametrize("value", [0, -3, float("inf"), float("nan"), "0 * size", "-3"])
def test_impossible_fans(value: Any) -> None:
    """A fan that is no positive number is a mistake or a problem, not a start that nobody has asked for."""
    with pytest.raises(ValueError, match=r"fan_in"):
        planned([{**HE, "fan_in": value}], {"path": "w", "shape": [4, 6], **KERNEL}).check()


FOLDED = {
    "a range": (["l.0.w", "l.1.w", "l.2.w"], ["l.[0-2].w"]),
    "gaps": (["l.0.w", "l.1.w", "l.4.w", "l.6.w", "l.7.w"], ["l.[0-1,4,6-7].w"]),
    "one": (["l.3.w"], ["l.3.w"]),
    "nested": ([f"l.{i}.h.{j}.w" for i in range(2) for j in range(3)], ["l.[0-1].h.[0-2].w"]),
    "ragged": (["l.0.h.0.w", "l.0.h.1.w", "l.1.h.0.w"], ["l.0.h.[0-1].w", "l.1.h.0.w"]),
    "names": (["block_1.w", "block_2.w", "block_x.w", "_3.w"], ["block_[1-2].w", "block_x.w", "_3.w"]),
    "braces": (["{}.0.w", "{}.1.w", "{0}.w"], ["{}.[0-1].w", "{0}.w"]),
    "no dots": (["0", "1", "w"], ["[0-1]", "w"]),
    "zeros in front": (["l.01.w", "l.1.w"], ["l.01.w", "l.1.w"]),
}


@pytest.mark.parametrize("name", list(FOLDED))
def test_folding(name: str) -> None:
    """Parameters of repeated blocks are one row, where all but the seeds is the same."""
    paths, rows = FOLDED[name]
    plan = planned([NORMAL], *paths)
    table = plan.table().split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in table] == ["path", *rows]
    assert [line.split()[0] for line in plan.table(fold=False).split("\n\n")[0].splitlines()] == ["path", *paths]


WORDS = ["kernel", "rule 1", "RandomNormal(mean=0, stddev=0.001)"]


def test_table() -> None:
    """The table to the letter."""
    model = [{"path": f"layers.{number}.mlp.w1", "shape": [2, 3], "layer": "Dense", **KERNEL} for number in range(32)]
    model[3]["shape"] = [3, 3]
    plan = planned([{**NORMAL, "stddev": 0.001}], *model, {"path": "b", "shape": [], "dtype": "float64", "tied": ["c"]})
    seeds = [str(plan.entries[number].seeds[0]) for number in (3, 32)]
    assert [re.split(" {2,}", line) for line in plan.table().splitlines()[:4]] == [
        ["path", "shape", "dtype", "layout", "layer", "role", "rule", "initializer", "fans", "std", "seed"],
        ["layers.[0-2,4-31].mlp.w1", "2×3", "float32", "keras", "Dense", *WORDS, "2→3", "0.001", "31 seeds"],
        ["layers.3.mlp.w1", "3×3", "float32", "keras", "Dense", *WORDS, "3→3", "0.001", seeds[0]],
        ["b", "()", "float64", "other", *WORDS[1:], "0.001", seeds[1]],
    ]
    assert [line.find("  0.001  ") for line in plan.table().splitlines()[1:4]] == [plan.table().find("  std")] * 3
    assert "a list of shapes: 33 parameters, 196 elements, 788 bytes, seed 7" in plan.table().splitlines()
    assert "tied: b is also c" in plan.table().splitlines()
    assert (plan.size, plan.nbytes, plan.tied) == (196, 788, {"b": ("c",)})
    assert repr(plan) == "<Plan of 33 parameters of a list of shapes, seed 7>"


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
        *[("fans", [4, 12]), ("mean", 0.0), ("stddev", stddev), ("seeds", seeds), ("tied", ["v"]), ("problem", "")],
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
        with pytest.raises(
            ValueError, match=r"^A plan is compared with a plan, or with what its JSON was read to\. Received: "
        ):
            before.compare(bad)  # pyright: ignore[reportArgumentType]


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


# Entries of a list, and what is said of them.
ENTRIES: list[tuple[dict[str, Any], str]] = [
    ({"rol": 1}, "Unknown key 'rol'. Did you mean 'role'?"),
    ({"qqq": 1}, "Unknown key 'qqq'. There are path, shape, dtype, layer, role, layout, fan_in, fan_out, "),
    ({"role": "kernl"}, "Unknown role 'kernl'. Did you mean 'kernel'?"),
    ({"shape": 2}, "`shape` must be a sequence of non-negative integers. Received: shape=2. Write (2,)."),
    ({"shape": [-2]}, "`shape` must be a sequence of non-negative integers. Received: shape=[-2], which has -2 in it."),
    ({"dtype": "flaot32"}, "Cannot convert value 'flaot32' to a dtype. Did you mean 'float32'?"),
    (
        {"layout": "tourch"},
        "`layout` must be 'keras', 'torch' or a permutation of the axes. Received: layout='tourch'.",
    ),
    ({"layout": [0, 0]}, "`layout` must have each of the tensor's 2 axes once. Received: layout=[0, 0]."),
    ({"layer": 3}, "`layer` must be"),
    ({"role": ["kernel"]}, "`role` must be a string. Received: ['kernel']."),
    ({"fan_in": "x", "fan_out": 2}, "`fan_in` must be"),
    ({"tied": "abc"}, "`tied` must be"),
    ({"blocks": "ab"}, "`blocks` must be"),
    ({"blocks": ["a", "a"]}, "`blocks` must be"),
]
W = {"path": "w", "shape": [4, 4]}
LISTS: list[tuple[list[Any], str]] = [
    ([{"path": "w"}], "Entry 1 of the list, 'w': It must have a 'shape'."),
    ([W, {**W, "path": 3}], "Entry 2 of the list, 3: `path` must be a string. Received: 3."),
    ([W, {**W, "path": ""}], "Entry 2 of the list, '': `path` must not be empty."),
    ([W, {**W, "path": "_orig_mod.w"}], "Each path must be there once. Received: 'w' twice."),
    ([W, {"shape": [2]}], "Entry 2 of the list, '?': It must have a 'path'."),
    ([W, 3], "Entry 2 of the list must be a dict with `path` and `shape`. Received: 3."),
    ([], "A plan needs a model: "),
    *(([{**W, **entry}], f"Entry 1 of the list, 'w': {said}") for entry, said in ENTRIES),
]


@pytest.mark.parametrize(("model", "message"), LISTS, ids=[str(number) for number in range(len(LISTS))])
def test_bad_lists(model: list[Any], message: str) -> None:
    """What is no list of shapes, with the entry's number and path."""
    with pytest.raises((ValueError, TypeError)) as caught:
        Recipe([{"layer": "*", "initializer": "zeros"}]).plan(model)
    assert str(caught.value).startswith(message)
