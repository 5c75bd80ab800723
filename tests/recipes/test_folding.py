"""Plans that are folded into recipes: the same bytes for every parameter, by few rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import fanin
from fanin._core.streams import Stream
from fanin.distributions.weight import Weight
from fanin.models.parameters import Model, Parameter
from fanin.models.traits import Blocks, Traits, beside, kernel, torch_kernel
from fanin.recipes import PRESETS, Placement, Plan, Recipe, Rule
from fanin.recipes.folding import recipe_from
from fanin.recipes.folding.given import Given
from fanin.recipes.folding.numbers import Vocabulary
from fanin.recipes.folding.settings import Speller
from recipe_kit import FLOAT32, SEED, drawn, planned
from strategies import examples

Data = dict[str, Any]


def folded(plan: Plan, names: Any = None, **options: Any) -> Recipe:
    """The recipe of a plan, which is checked to give every parameter the plan's bytes, from a file, too."""
    recipe = recipe_from(plan, **options)
    for each in (recipe, Recipe.from_toml(recipe.to_toml())):
        check(plan, each.plan(plan.model, names=names))
    return recipe


def check(plan: Plan, again: Plan) -> None:
    """Two plans have the same bytes."""
    assert not again.problems
    for entry, other in zip(plan.entries, again.entries, strict=True):
        assert (entry.name, entry.kept, entry.seeds) == (other.name, other.kept, other.seeds)
        assert drawn(entry).tobytes() == drawn(other).tobytes()


def rules_of(recipe: Recipe) -> list[Data]:
    """A recipe's rules as data."""
    return recipe.as_dict()["rules"]


def normal(path: str, stddev: float) -> Data:
    """A rule for one path."""
    return {"path": path, "initializer": "random_normal", "stddev": stddev}


def transformer(layers: int = 3, width: int = 8, **configs: float) -> Model:
    """A described transformer of PyTorch."""

    def linear(path: str, rows: int, columns: int, layer: str = "Linear") -> list[Parameter]:
        weight = torch_kernel((rows, columns))
        within = ("Net", "Block") if "." in path else ("Net",)
        return [
            Parameter(f"{path}.weight", (rows, columns), FLOAT32, layer, within=within, traits=weight),
            Parameter(f"{path}.bias", (rows,), FLOAT32, layer, within=within, traits=beside(weight)),
        ]

    parameters = [
        Parameter("embed.weight", (11, width), FLOAT32, "Embedding", traits=kernel((11, width), role="embedding"))
    ]
    for number in range(layers):
        parameters += linear(f"h.{number}.attn", 3 * width, width)
        parameters += linear(f"h.{number}.proj", width, width)
        parameters += [Parameter(f"h.{number}.norm.weight", (width,), FLOAT32, "LayerNorm", traits=Traits("scale"))]
        parameters += [Parameter(f"h.{number}.norm.bias", (width,), FLOAT32, "LayerNorm", traits=Traits("offset"))]
    return Model(tuple([*parameters, *linear("head", 11, width)]), "Net", configs={"": configs} if configs else {})


def by_path(model: Model, settings: Any) -> Plan:
    """The plan of a rule for each parameter, whose settings a function gives."""
    return Recipe([{"path": each.path, **settings(each)} for each in model.parameters], seed=SEED).plan(model)


def as_gpt2(layers: int, stddev: float = 0.02) -> Any:
    """What GPT-2 gives a parameter, in numbers."""

    def settings(each: Parameter) -> Data:
        if each.role in ("kernel", "embedding"):
            scale = stddev / (2 * layers) ** 0.5 if ".proj." in each.path else stddev
            return {"initializer": "random_normal", "stddev": scale}
        return {"initializer": "ones" if each.role == "scale" else "zeros"}

    return settings


def test_gpt2() -> None:
    """A model's rules are found: by layer and leaf, with the exception in front, its number by the number of layers."""
    recipe = folded(by_path(transformer(), as_gpt2(3)))
    assert {"path": "*.proj.weight", "initializer": "random_normal", "stddev": "0.02 / sqrt(2 * n_layers)"} in rules_of(
        recipe
    )
    linear = {"layer": ["Embedding", "Linear"], "path": "*.weight", "initializer": "random_normal", "stddev": 0.02}
    assert linear in rules_of(recipe)
    assert len(recipe.rules) == 4


def test_comments() -> None:
    """The file says of each rule how many parameters it is for, and which number of the configuration its own is."""
    text = folded(by_path(transformer(initializer_range=0.02), as_gpt2(3))).to_toml()
    assert "# 5 of 21 parameters\n# config.initializer_range is also 0.02\n[[rules]]\n" in text
    assert 'stddev = "config.initializer_range"' in text


def test_descriptions() -> None:
    """The recipe has the plan's seed, and the description and the sources that are given."""
    recipe = folded(by_path(transformer(), as_gpt2(3)), description="a model", sources=["its code"])
    assert (recipe.seed, recipe.description, recipe.sources) == (SEED, "a model", ("its code",))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_trivial_numbers_of_a_configuration(value: float) -> None:
    """That a number is zero or one does not mean a number of the configuration that is the same."""
    model = transformer(initializer_factor=value)
    recipe = folded(by_path(model, lambda each: {"initializer": "random_normal", "stddev": value}))
    assert "config" not in recipe.to_toml()


def test_a_twin_tells_chance_from_rule() -> None:
    """At another size, a number is found to be fixed, and another to follow a number that no name gives away."""

    def settings(width: int) -> Any:
        return lambda each: {
            "initializer": "random_normal",
            "stddev": 0.02 if each.role == "bias" else 1 / width**0.5,
        }

    small, large = transformer(width=4, init_range=0.02, n_wide=4), transformer(width=9, init_range=0.03, n_wide=9)
    plan, twin = by_path(small, settings(4)), by_path(large, settings(9))
    recipe = folded(plan, twin=twin)
    check(twin, recipe.plan(large))
    assert {rule["stddev"] for rule in rules_of(recipe)} == {0.02, "1 / sqrt(config.n_wide)"}


def test_a_twin_of_more_layers() -> None:
    """The recipe is that of both sizes, whose layers differ in number."""
    small, large = transformer(3, initializer_range=0.02), transformer(5, 6, initializer_range=0.01)
    plan, twin = by_path(small, as_gpt2(3)), by_path(large, as_gpt2(5, 0.01))
    recipe = folded(plan, twin=twin)
    check(twin, recipe.plan(large))
    assert "config.initializer_range / sqrt(2 * n_layers)" in recipe.to_toml()


def test_a_twin_that_is_another_model() -> None:
    """Where no rule fits both sizes, the recipe is the plan's, and the file says what differs in the twin."""
    plan = by_path(transformer(), lambda each: {"initializer": "zeros"})
    twin = by_path(transformer(), lambda each: {"initializer": "ones" if each.path == "head.bias" else "zeros"})
    recipe = folded(plan, twin=twin)
    assert recipe.to_toml().startswith("# At the other size, head.bias would get something else.\n")


@pytest.mark.parametrize("name", [each for each in PRESETS if each not in ("t5", "mup")])
def test_presets(name: str) -> None:
    """What a preset gives a model can be folded."""
    rest = {"path": "*", "initializer": "zeros"}
    recipe = Recipe.preset(name, seed=1)
    folded(Recipe([*recipe.rules, rest], 1, constants=recipe.constants).plan(transformer()))


def test_a_preset_with_constants() -> None:
    """Its constants become numbers."""
    folded(Recipe.preset("mup", seed=1, base_width=4).plan(transformer()))


@pytest.mark.parametrize("name", ["gpt2", "torch", "keras", "vit"])
def test_a_module_of_pytorch(name: str) -> None:
    """Ties, statistics and fused parameters of a module."""
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        layers = [
            torch.nn.Conv2d(3, 4, 3, groups=1), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 4),
            torch.nn.LSTM(4, 4), torch.nn.GRU(4, 4), torch.nn.Embedding(5, 4, padding_idx=1),
            torch.nn.MultiheadAttention(4, 2),
        ]  # fmt: skip
        module = torch.nn.Sequential(*layers)
        module[3].weight = module[2].weight
    recipe = Recipe.preset(name, seed=1).extend([{"layer": ["LSTM", "GRU"], "initializer": "glorot_uniform"}])
    folded(recipe.plan(module))


def test_subclasses() -> None:
    """A rule for a layer's type also matches types that derive from it, of which others come first."""
    model = Model(
        tuple(
            Parameter(f"{path}.w{number}", (2, 3), FLOAT32, layer, bases)
            for number in range(2)
            for path, layer, bases in (("a", "Linear", ()), ("b", "Other", ("Linear",)))
        ),
        "m",
    )
    recipe = folded(by_path(model, lambda each: {"initializer": "ones" if each.layer == "Other" else "zeros"}))
    assert len(recipe.rules) == 2


def test_ties() -> None:
    """Any path of a tied parameter meets a rule's condition."""
    weights = [
        Parameter("embed.weight", (2, 3), FLOAT32, "Embedding", tied=("head.weight",)),
        Parameter("other.weight", (2, 3), FLOAT32, "Linear"),
        Parameter("more.head.weight", (2, 3), FLOAT32, "Linear"),
    ]
    folded(by_path(Model(tuple(weights), "m"), lambda each: {"initializer": "ones" if each.tied else "zeros"}))


def test_kept() -> None:
    """Parameters that a plan keeps are kept."""
    recipe = folded(planned([{"path": "a", "initializer": "keep"}, {"path": "*", "initializer": "ones"}], "a", "b"))
    assert {"path": "a", "initializer": "keep"} in rules_of(recipe)


STATISTICS = Model(
    tuple(
        Parameter(f"{number}.{leaf}", (3,), FLOAT32, "BatchNorm", traits=Traits(role))
        for number in range(2)
        for leaf, role in (("weight", "scale"), ("running_mean", "mean"), ("running_var", "variance"))
    ),
    "m",
)


def test_statistics() -> None:
    """Statistics that start as usual need no rule."""
    recipe = folded(Recipe([{"role": "scale", "initializer": "ones"}], seed=SEED).plan(STATISTICS))
    assert len(recipe.rules) == 1


def test_statistics_that_start_otherwise() -> None:
    """Others get rules that name their role."""
    rules = [{"role": "mean", "path": "1.*", "initializer": "ones"}, {"role": "scale", "initializer": "zeros"}]
    folded(Recipe(rules, seed=SEED).plan(STATISTICS))


def test_names() -> None:
    """A plan may draw under other names, which the recipe is then given, too."""
    plan = planned([{"path": "*", "initializer": "random_normal"}], "a.w", "a.v", names={"a.*": "b.*"})
    folded(plan, names={"a.*": "b.*"})


@pytest.mark.parametrize(
    "blocks", [Blocks(), Blocks.of("q", "k", "v"), Blocks.of("q", "k", "v", keras=("k", "q", "v"))]
)
@pytest.mark.parametrize("kinds", [("he_normal",) * 3, ("ones", "zeros", "zeros"), ("he_normal", "he_normal", "ones")])
def test_blocks(blocks: Blocks, kinds: tuple[str, ...]) -> None:
    """Blocks that are drawn by themselves, of a layer that the table knows or not."""
    traits = Traits("kernel", (0, 1), 4, 6, blocks=blocks)
    model = Model(tuple(Parameter(f"h.{number}.qkv", (4, 6), FLOAT32, traits=traits) for number in range(2)), "m")
    rules = [
        {"path": "*", "block": block, "blocks": ["q", "k", "v"], "initializer": kind}
        for block, kind in zip("qkv", kinds, strict=True)
    ]
    recipe = folded(Recipe(rules, seed=SEED).plan(model))
    assert len(recipe.rules) == len(set(kinds))


def test_kept_blocks() -> None:
    """Blocks that are kept, while others are drawn."""
    traits = Traits("kernel", (0, 1), 4, 6, blocks=Blocks.of("q", "k", "v"))
    model = Model((Parameter("qkv", (4, 6), FLOAT32, traits=traits),), "m")
    rules = [
        {"path": "*", "block": each, "initializer": kind}
        for each, kind in zip("qkv", ("keep", "ones", "keep"), strict=True)
    ]
    folded(Recipe(rules, seed=SEED).plan(model))


def test_fused_parameters_drawn_whole() -> None:
    """A fused parameter, whose blocks Keras has in another order, by a rule that is not about blocks."""
    traits = Traits(
        "kernel", (0, 1), 4, 6, blocks=Blocks.of("reset", "update", "candidate", keras=("update", "reset", "candidate"))
    )
    model = Model((Parameter("gru", (4, 6), FLOAT32, traits=traits),), "m")
    (rule,) = folded(Recipe([{"path": "*", "initializer": "glorot_uniform"}], seed=SEED).plan(model)).rules
    assert not rule.by_block


@pytest.mark.parametrize("rows", [[], [0], [1, 3]])
def test_zero_rows(rows: list[int]) -> None:
    """Rows that are zero, where the layer table knows others."""
    traits = replace(kernel((6, 3), role="embedding"), zero_rows=(1,))
    model = Model((Parameter("w", (6, 3), FLOAT32, "Embedding", traits=traits), Parameter("v", (2,), FLOAT32)), "m")
    rules = [{"path": "w", **normal("w", 0.02), "zero_rows": rows}, {"path": "v", "initializer": "ones"}]
    recipe = folded(Recipe(rules, seed=SEED).plan(model))
    assert any(rule.zero_rows == tuple(rows) for rule in recipe.rules)


@pytest.mark.parametrize("settings", [{"layout": "torch"}, {"layout": [1, 2, 0]}, {"layout": "torch", "stacked": 1}])
def test_layouts(settings: Data) -> None:
    """The order of axes that a plan's recipe says, and the fans that follow from it."""
    model = [{"path": f"h.{number}.w", "shape": [3, 4, 5]} for number in range(2)]
    folded(planned([{"path": "*", "initializer": "glorot_uniform", **settings}], *model))


def test_own_fans() -> None:
    """Fans of a rule's own become numbers."""
    folded(planned([{"path": "*", "initializer": "he_normal", "fan_in": 7, "fan_out": 5}], "a", "b"))


@pytest.mark.parametrize("stddev", [0.02, "0.02 / sqrt(2 * (depth + 1))"])
def test_stacks(stddev: float | str) -> None:
    """Stacks of layers, whose layers may have numbers of their own."""
    traits = Traits("kernel", (0, 1, 2), 4, 5, stacked=1)
    model = Model((Parameter("blocks.w", (3, 4, 5), FLOAT32, traits=traits),), "m")
    rules = [{"path": "*", "initializer": "random_normal", "stddev": stddev}]
    (rule,) = rules_of(folded(Recipe(rules, seed=SEED).plan(model)))
    assert rule["stddev"] == stddev


def test_stacks_of_named_layers() -> None:
    """Stacks whose layers have names of their own."""
    traits = Traits("kernel", (0, 1, 2), 4, 5, stacked=1)
    model = Model((Parameter("blocks.w", (3, 4, 5), FLOAT32, traits=traits),), "m")
    names = {"blocks.w": "blocks.{layer}.w"}
    folded(Recipe([{"path": "*", "initializer": "random_normal"}], seed=SEED).plan(model, names=names), names=names)


def test_paths_with_wildcards() -> None:
    """The characters of globs in paths stand for themselves."""
    paths = ["a[0].w", "a0.w", "a*.w", "axx.w", "a?.w", "ab.w", "[a].w", "a.w", "[!a].w", "b.w"]
    model = Model(tuple(Parameter(path, (2,), FLOAT32) for path in paths), "m")
    rules = [
        {"regex": "".join(f"[{each}]" if each in "*?." else f"\\{each}" if each in "[]!" else each for each in path)}
        | {"initializer": "constant", "value": number}
        for number, path in enumerate(paths)
    ]
    folded(Recipe(rules, seed=SEED).plan(model))


def test_dtypes() -> None:
    """Numbers are those of the dtype that is drawn in: float64's have all their digits."""
    shapes = [{"path": each, "shape": [3, 2], "dtype": each} for each in ("float64", "bfloat16", "float16", "float32")]
    recipe = folded(planned([normal("*", 0.1 + 1e-12)], *shapes))
    assert {rule["stddev"] for rule in rules_of(recipe)} == {0.1, 0.1 + 1e-12}


@pytest.mark.parametrize("value", [0, 1, -1, True, 2**40, -0.0, 0.1, float("inf"), float("nan")])
def test_constants(value: Any) -> None:
    """Constants of every kind of number."""
    dtype = "bool" if value is True else "int64" if isinstance(value, int) else "float32"
    folded(
        planned([{"path": "*", "initializer": "constant", "value": value}], {"path": "a", "shape": [3], "dtype": dtype})
    )


# ---------------------------------------------------------------- what no rule can say


def written(parameter: Parameter, name: str, seed: int) -> tuple[Placement, ...]:
    """A model's own code, which draws the first row by itself."""
    found = []
    for number, rows in enumerate([(0, 1), (1, parameter.shape[0])]):
        initializer = fanin.RandomNormal(stddev=0.5 + number, seed=seed).spawn(f"{name}#{number}")
        shape = (rows[1] - rows[0], *parameter.shape[1:])
        weight = Weight(initializer.distribution(shape), Stream(initializer.settled_seed()))
        target = (rows, *((0, length) for length in shape[1:]))
        found.append(Placement(f"{name}#{number}", initializer, weight, target, (0,) * len(shape), f"row {number}"))
    return tuple(found)


ODD = [f"h.{number}.odd" for number in range(3)]
PARTLY_WRITTEN = [{"path": "*.odd", "initializer": "as_written"}, normal("*", 0.02)]


def partly_written() -> Plan:
    """A plan in which a model's own code makes some parameters."""
    paths = [*ODD, *(f"h.{number}.w" for number in range(3))]
    model = Model(tuple(Parameter(path, (3, 2), FLOAT32) for path in paths), "m", written=written)
    return Recipe(PARTLY_WRITTEN, seed=SEED).plan(model)


def test_as_written() -> None:
    """Regions that are drawn in another way than any rule can say are left to the model's own code."""
    assert {"path": "*.odd", "initializer": "as_written"} in rules_of(folded(partly_written()))


def test_without_own_code() -> None:
    """Without such code, a plan that rules cannot say is refused; its parameters are listed."""
    plan = partly_written()
    plan = replace(plan, model=replace(plan.model, written=None))
    with pytest.raises(
        ValueError, match=r"^A rule must be able to say each weight of a plan\. Received: a plan of m with\n  h\."
    ):
        recipe_from(plan)


class Mine(fanin.RandomNormal):
    """A class of one's own, which no file can name."""


def test_classes_of_ones_own() -> None:
    """Initializers that no file can name are refused, too."""
    plan = Recipe([{"path": "*", "initializer": Mine(stddev=0.1)}], seed=SEED).plan([{"path": "w", "shape": [2]}])
    with pytest.raises(ValueError, match="A rule must be able to say"):
        recipe_from(plan)


def test_problems() -> None:
    """A plan with problems, or parameters without a rule, is refused."""
    plan = planned([{"path": "a", "initializer": "he_normal"}], "a", "b")
    with pytest.raises(ValueError, match="A plan can be folded") as caught:
        recipe_from(plan)
    said = str(caught.value)
    assert said.startswith("A plan can be folded if each of its parameters is drawn or kept. Received: a plan of")
    assert "\n  b: no rule matches it" in said
    assert "\n  a: a, in rule 1: HeNormal needs the fans" in said


def test_corrections() -> None:
    """Rules that do not make a plan get others in front, for the paths where they differ."""
    plan = partly_written()
    given = Given(plan)
    assert list(given.items(Speller(Vocabulary({}, {}), asks=True)))
    rules = given.corrected([Rule(**normal("*", 0.03))])
    assert {rule.comment for rule in rules[:-1]} == {"for these alone"}
    check(plan, Recipe(rules, seed=SEED).plan(plan.model))


# ---------------------------------------------------------------- any plan

_NAMES = st.sampled_from(["a", "b", "0", "1", "2", "weight", "bias", "x[0]", "norm"])
_SETTINGS = st.one_of(
    st.sampled_from([{"initializer": each} for each in ("zeros", "ones", "keep", "as_written")]),
    st.builds(
        lambda mean, stddev: {"initializer": "random_normal", "mean": mean, "stddev": stddev},
        st.sampled_from([0.0, 0.5]) | st.floats(-3, 3, width=32),
        st.sampled_from(
            [0.02, 0.01, 0.5**0.5, 1 / 3, "1 / sqrt(fan_in)", "0.02 / sqrt(2 * n_layers)", "1 / (depth + 1)"]
        ),
    ),
    st.builds(
        lambda low, high: {"initializer": "random_uniform", "minval": low, "maxval": high},
        st.floats(-2, 0, width=32),
        st.sampled_from([0.5, 1.0, "1 / fan_out"]),
    ),
    st.sampled_from([{"initializer": "glorot_uniform"}, {"initializer": "he_normal", "zero_rows": [0]}]),
    st.just({"initializer": "truncated_normal", "stddev": 0.02, "blocks": ["q", "k"]}),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans of models in lists, each of whose parameters has a rule of its own."""
    paths = draw(
        st.lists(
            st.lists(_NAMES, min_size=2, max_size=4).map(lambda parts: f"h.{'.'.join(parts)}"),
            min_size=1,
            max_size=9,
            unique=True,
        )
    )
    layers = [draw(st.sampled_from(["", "Linear", "Norm"])) for _ in paths]
    shapes = [draw(st.sampled_from([(4, 4), (2, 6), (6, 2)])) for _ in paths]
    parameters = tuple(
        Parameter(path, shape, FLOAT32, layer, ("Linear",) if layer == "Norm" else (), traits=torch_kernel(shape))
        for path, layer, shape in zip(paths, layers, shapes, strict=True)
    )
    model = Model(parameters, "m", configs={"": {"initializer_range": 0.02}}, written=written)
    choices = draw(st.lists(_SETTINGS, min_size=1, max_size=3))
    rules = [{"path": path.replace("[", "[[]"), **draw(st.sampled_from(choices))} for path in paths]
    return Recipe(rules, seed=draw(st.integers(0, 9))).plan(model)


@hypothesis.given(plans())
@examples(60)
def test_any_plan(plan: Plan) -> None:
    """Every plan is folded into a recipe with its bytes."""
    hypothesis.assume(not plan.problems)
    folded(plan)


@hypothesis.given(plans(), st.integers(1, 3))
@examples(20)
def test_any_twin(plan: Plan, times: int) -> None:
    """A twin of whatever size changes no bytes of the plan's own recipe."""
    hypothesis.assume(not plan.problems)
    twin = replace(plan, entries=plan.entries[::times])
    folded(plan, twin=twin)


def test_parts_of_plans() -> None:
    """A plan of chosen parameters needs rules for those alone."""
    plan = by_path(transformer(), as_gpt2(3)).chosen(lambda each: each.role == "bias")
    recipe = recipe_from(plan)
    assert len(recipe.rules) == 1
    for entry in plan.entries:
        np.testing.assert_array_equal(drawn(entry), drawn(recipe.plan(plan.model).entry(entry.path)))
