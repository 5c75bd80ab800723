"""`initialize` and models that are built: what it chooses, refuses and leaves alone, and what goes on working."""

from __future__ import annotations

import pathlib
import tempfile
from typing import Any

import numpy as np
import pytest

import fanin
from fanin.recipes import PlanError, RecipeError
from keras_kit import SEED, Kit, differ, drawn, normal, ones, preset, raised, rounded, same
from keras_models import MODELS, PATHS, everything, picture, small

KERNELS = fanin.Recipe([{"role": "kernel", "initializer": "he_normal"}], seed=SEED)


def test_plans_of_models(kit: Kit) -> None:
    """`Recipe.plan` takes a model, and shows what `initialize` then does."""
    model = small(kit)
    plan = preset().plan(model)
    assert sorted(entry.path for entry in plan.entries) == sorted(PATHS)
    assert plan.model.name == "small"
    assert {entry.parameter.layer for entry in plan.entries} == {"Dense", "LayerNormalization"}
    assert plan.entry("encoder.fc.kernel").parameter.within == ("Sequential", "Sequential")
    report = kit.initialize(model)
    assert not report.plan.compare(plan)
    assert (sorted(report.filled), report.kept, report.waiting) == (sorted(PATHS), {}, ())
    assert report.nbytes == plan.nbytes == 4 * sum(values.size for values in kit.arrays(model))


CHOICES: list[tuple[dict[str, Any], list[str]]] = [
    ({"only": "encoder.*"}, PATHS[:4]),
    ({"only": "encoder/*"}, PATHS[:4]),
    ({"only": ["*/kernel", "head.bias"]}, [PATHS[0], PATHS[4], *PATHS[6:]]),
    ({"skip": "*fc*"}, [*PATHS[2:4], *PATHS[6:]]),
    ({"skip": ("encoder/*", "decoder/*")}, PATHS[6:]),
    ({"only": "*.fc.*", "skip": "decoder/fc/bias"}, [*PATHS[:2], PATHS[4]]),
    ({"only": "?ncoder.fc.[bk]*"}, PATHS[:2]),
]


@pytest.mark.parametrize(("options", "filled"), CHOICES, ids=[str(options) for options, _ in CHOICES])
def test_chosen_weights(options: dict[str, Any], filled: list[str], kit: Kit) -> None:
    """`only` and `skip` choose by globs, with dots or slashes; the others stay, and the report says why."""
    model = small(kit)
    before = kit.by_path(model)
    report = kit.initialize(model, normal(), **options)
    assert sorted(report.filled) == sorted(filled)
    for path, values in kit.by_path(model).items():
        same(values, drawn(path, values.shape, "RandomNormal") if path in filled else before[path])
        if path not in filled:
            wanted = "only" not in options or (path == "decoder.fc.bias" and "skip" in options)
            assert report.kept[path] == ("selected by `skip`" if wanted else "not selected by `only`")
    assert set(report.kept) == set(PATHS) - set(filled)


@pytest.mark.parametrize("pattern", ["encoder.fc.kernal", ["head.*", "encoder.fc.kernal"]], ids=["one", "several"])
@pytest.mark.parametrize("option", ["only", "skip"])
def test_patterns_that_match_nothing(option: str, pattern: Any, kit: Kit) -> None:
    """A pattern of a built model that matches none of its weights is an error, and nothing is written."""
    model = small(kit)
    before = kit.arrays(model)
    message = raised(ValueError, lambda: kit.initialize(model, **{option: pattern}))
    assert message == (
        f"`{option}` must match parameters of the model. Received: 'encoder.fc.kernal', which matches none. "
        "Did you mean 'encoder.fc.kernel'?"
    )
    same(kit.arrays(model), before)


# what is passed → what is raised, and its message
WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "only": ({"only": 3}, TypeError, "`only` must be a glob of paths, or several. Received: only=3."),
    "skip": ({"skip": 3}, TypeError, "`skip` must be a glob of paths, or several. Received: skip=3."),
    "unmatched": (
        {"unmatched": "skip"},
        ValueError,
        '`unmatched` must be "error" or "keep". Received: unmatched=\'skip\'.',
    ),
    "names": (
        {"names": 3},
        TypeError,
        "`names` must be a mapping of paths to names, or a function of a parameter. Received: names of type int.",
    ),
    "large seed": (
        {"seed": 2**63},
        RecipeError,
        "The recipe has a mistake.\n  `seed` must lie in [-2**63, 2**63 - 1]. Received: seed=9223372036854775808.",
    ),
    "seed of another type": (
        {"seed": "1"},
        RecipeError,
        "The recipe has a mistake.\n  `seed` must be an integer. Received: seed='1' (of type str).",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_options(case: str, kit: Kit) -> None:
    """What is no choice is an error that says what to pass, and nothing is written."""
    options, kind, expected = WRONG[case]
    model = small(kit)
    before = kit.arrays(model)
    assert raised(kind, lambda: kit.initialize(model, **options)) == expected
    same(kit.arrays(model), before)


@pytest.mark.parametrize("other", [[1], None, "Dense", {"w": np.ones(3)}], ids=["list", "NoneType", "type", "dict"])
def test_other_things_than_models(other: Any, kit: Kit) -> None:
    """What is no model is an error that says what to pass."""
    other = kit.L.Dense if other == "Dense" else other
    expected = f"`model` must be a model or layer of {kit.name}. Received: model of type {type(other).__name__}."
    assert raised(TypeError, lambda: kit.initialize(other)) == expected


@pytest.mark.parametrize(
    "recipe", [None, {"rules": []}, fanin.HeNormal(), 3], ids=["none", "dict", "initializer", "int"]
)
def test_other_things_than_recipes(recipe: Any, kit: Kit) -> None:
    """What is no recipe is an error that says what to pass, and nothing is written."""
    model = small(kit)
    before = kit.arrays(model)
    message = raised(TypeError, lambda: kit.ours.initialize(model, recipe))
    assert message.startswith("`recipe` must be a fanin.Recipe or the name of a preset. Received: ")
    assert message.endswith(f" (of type {type(recipe).__name__}).")
    same(kit.arrays(model), before)


HINTS = {
    "gpt": "Did you mean 'gpt2'?",
    "recipe.toml": "Load a file with Recipe.load(path).",
    "": "Load a file with Recipe.load(path).",
}


@pytest.mark.parametrize("name", HINTS)
def test_unknown_presets(name: str, kit: Kit) -> None:
    """A name that no preset has is an error with all of them, and what may have been meant."""
    model = small(kit)
    before = kit.arrays(model)
    assert raised(ValueError, lambda: kit.ours.initialize(model, name, seed=42)) == (
        "`recipe` must be a fanin.Recipe or the name of a preset: bert, flax, gpt2, keras, llama, mup, resnet, t5, "
        f"torch, vit. Received: {name!r}. {HINTS[name]}"
    )
    same(kit.arrays(model), before)


@pytest.mark.parametrize("late", [False, True], ids=["built", "unbuilt"])
def test_presets_by_name(late: bool, kit: Kit) -> None:
    """A preset's name with a seed is the preset with that seed, and without one the preset's own."""
    models = []
    for recipe, options in (
        ("keras", {"seed": 42}),
        (preset(seed=42), {}),
        (preset(seed=1), {"seed": 42}),
        ("keras", {}),
        (fanin.Recipe.preset("keras"), {}),
    ):
        models.append(MODELS["of sequentials"](kit))
        if not late:
            models[-1](ones(1, 4))
        kit.ours.initialize(models[-1], recipe, **options)
        models[-1](ones(1, 4))
    first, second, third, fourth, fifth = map(kit.arrays, models)
    same(first, second)
    same(first, third)
    same(fourth, fifth)
    differ(first, fourth)


def test_objects_like_models(kit: Kit) -> None:
    """An object that looks like a model is none."""
    fake = type("Sequential", (), {"built": True, "weights": []})()
    message = raised(TypeError, lambda: kit.initialize(fake))
    assert message == f"`model` must be a model or layer of {kit.name}. Received: model of type Sequential."


def test_unmatched_weights(kit: Kit) -> None:
    """Weights without a rule are an error before anything is written; by `unmatched="keep"` they stay."""
    model = small(kit)
    before = kit.by_path(model)
    message = raised(PlanError, lambda: kit.initialize(model, KERNELS))
    lines = message.splitlines()
    assert lines[:2] == [
        "The recipe does not fit small; nothing has been written.",
        "  No rule matches 5 of 8 parameters:",
    ]
    assert sorted(lines[2:7]) == sorted(
        f"    {path} {'2' if path.startswith('head') else '4'}, {'LayerNormalization' if 'norm' in path else 'Dense'}"
        for path in PATHS
        if not path.endswith("kernel")
    )
    assert lines[7:] == [
        '    Add rules for them (the last one may be path = "*"), or leave them as they are with unmatched="keep".'
    ]
    same(kit.by_path(model), before)
    assert len(kit.initialize(model, KERNELS, only="*.kernel").filled) == 3
    report = kit.initialize(model, KERNELS, unmatched="keep")
    assert sorted(report.filled) == sorted(path for path in PATHS if path.endswith("kernel"))
    assert report.kept == {path: "no rule matches it" for path in before if path not in report.filled}
    for path, values in kit.by_path(model).items():
        same(values, drawn(path, values.shape, "HeNormal") if path in report.filled else before[path])


def test_impossible_rules(kit: Kit) -> None:
    """A rule that cannot be carried out is an error before anything is written, whatever `unmatched` says."""
    model = small(kit)
    before = kit.arrays(model)
    recipe = fanin.Recipe([{"path": "*", "initializer": "he_normal"}], seed=SEED)
    message = raised(PlanError, lambda: kit.initialize(model, recipe, unmatched="keep"))
    assert "  encoder.norm.gamma, in rule 1: HeNormal needs the fans of a parameter of a layer of type Layer" in message
    same(kit.arrays(model), before)


def test_rules_that_keep(kit: Kit) -> None:
    """Weights that a rule keeps stay as they are, and the report has the rule."""
    model = small(kit)
    before = kit.by_path(model)
    rules: list[Any] = [
        {"path": "encoder.*", "initializer": "keep", "name": "ours"},
        {"path": "*", "initializer": "ones"},
    ]
    report = kit.initialize(model, fanin.Recipe(rules))
    assert report.kept == dict.fromkeys((path for path in before if path in PATHS[:4]), "rule 1 “ours”")
    for path, values in kit.by_path(model).items():
        same(values, before[path] if path in report.kept else np.ones_like(values))


def test_conditions_of_rules(kit: Kit) -> None:
    """Rules choose by the types of layers and of the layers around them, by rank, regular expression and number."""
    rules: list[Any] = [
        {"layer": "LayerNorm*", "role": "scale", "initializer": "constant", "value": 1},
        {"regex": r"(en|de)coder\.fc\.bias", "initializer": "constant", "value": 2},
        {"within": "Block", "rank": 2, "initializer": "constant", "value": "10 + depth + n_layers / 10"},
        {"role": "kernel", "initializer": "constant", "value": "fan_in / fan_out"},
        {"path": "*", "initializer": "constant", "value": 4},
    ]

    class Block(kit.L.Layer):
        def build(self, shape: Any) -> None:
            self.fc = kit.L.Dense(4, name="fc")
            self.fc.build(shape)
            super().build(shape)

        def call(self, inputs: Any) -> Any:
            return self.fc(inputs)

    model = small(kit, Block(name="block_0"), Block(name="block_1"))
    kit.initialize(model, fanin.Recipe(rules))
    values = {path: float(values.ravel()[0]) for path, values in kit.by_path(model).items()}
    assert values.pop("block_0.fc.kernel") == np.float32(10.2)
    assert values.pop("block_1.fc.kernel") == np.float32(11.2)
    assert [values[path] for path in PATHS] == [1, 2, 1, 4, 1, 2, 2, 4]
    assert values["block_0.fc.bias"] == 4


POLICIES = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64")


@pytest.mark.parametrize("policy", POLICIES)
def test_policies(policy: str, kit: Kit) -> None:
    """Weights keep the dtype that the policy gives them, and get the bytes of that dtype; others stay of theirs."""
    options = {"dtype": kit.policy(policy)}
    layers = [kit.L.Dense(5, name="fc", **options), kit.L.Dense(3, name="plain")]
    model = kit.sequential(*layers, shape=(4,))
    kit.initialize(model)
    dtype = "float32" if "mixed" in policy else policy
    values = kit.by_path(model)
    same(values["fc.kernel"], kit.held(drawn("fc.kernel", (4, 5), dtype=dtype)))
    same(values["plain.kernel"], drawn("plain.kernel", (5, 3)))
    same(values["fc.bias"], kit.held(fanin.Zeros()((5,), dtype)))
    assert layers[0].compute_dtype == policy.removeprefix("mixed_")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", [*MODELS, "picture"])
def test_models_of_16_bits_are_rounded_models(name: str, dtype: str, kit: Kit) -> None:
    """A model of a 16-bit dtype has the float32 model's weights, each rounded once, built before or later."""
    make = {**MODELS, "picture": picture}[name]
    inputs = ones(1, 6, 6, 3) if name == "picture" else ones(1, 4)
    expected = make(kit)
    expected(inputs)
    kit.initialize(expected, everything())
    wide = kit.by_name(expected)
    assert {values.dtype.name for values in wide.values()} == {"float32"}
    # tf_keras keeps those of BatchNormalization in float32.
    stay = {path for path in wide if kit.name == "tf_keras" and "batch_normalization" in path}
    for late in (False, True):
        with kit.global_policy(dtype), kit.ours.patch():  # for TensorFlow has no orthogonal matrices of bfloat16
            model = make(kit)
            if late:
                kit.initialize(model, everything())
            model(inputs)
        if not late:
            kit.initialize(model, everything())
        narrow = {path: values if path in stay else rounded(values, dtype) for path, values in wide.items()}
        same(kit.by_name(model), narrow)


def test_moving_statistics(kit: Kit) -> None:
    """Statistics that a model has gathered are set back, with what is normalized by them; a rule can keep them."""
    model = kit.sequential(kit.L.BatchNormalization(name="bn"), kit.L.Dense(2, name="fc"), shape=(4,))
    fresh = kit.by_path(model)
    kit.compile(model, 0.1).fit(ones(8, 4), ones(8, 2), verbose=0)
    trained = kit.by_path(model)
    moving = ["bn.moving_mean", "bn.moving_variance"]
    for path in moving:
        differ([trained[path]], [fresh[path]])
    rules: list[Any] = [{"role": ["mean", "variance"], "initializer": "keep"}, *preset().rules]
    kit.initialize(model, fanin.Recipe(rules))
    same([kit.by_path(model)[path] for path in moving], [trained[path] for path in moving])
    report = kit.initialize(model)
    same({path: kit.by_path(model)[path] for path in list(fresh)[:4]}, {path: fresh[path] for path in list(fresh)[:4]})
    assert [report.plan.entry(path).rule for path in moving] == ["its default initial value"] * 2
    adapted = kit.L.Normalization()
    adapted.adapt(np.arange(12.0, dtype="float32").reshape(3, 4))
    kit.initialize(adapted)
    values = kit.by_path(adapted)
    assert {path: values.ravel().tolist() for path, values in values.items()} == {
        "mean": [0.0] * 4,
        "variance": [1.0] * 4,
        "count": [0],
    }


def test_blocks_that_a_rule_keeps(kit: Kit) -> None:
    """They have the values that they had, and the others have new ones; the dtype makes no difference."""
    rules = [{"path": "*", "block": "forget", "initializer": "keep"}, {"path": "*", "initializer": "ones"}]
    for dtype in ("float32", "bfloat16"):
        layer = kit.L.LSTM(3, recurrent_initializer="glorot_uniform", dtype=dtype)
        layer.build((None, 2, 2))
        before = kit.by_path(layer)
        kit.initialize(layer, fanin.Recipe(rules))
        for path, values in kit.by_path(layer).items():
            expected = np.ones_like(before[path])
            expected[..., 3:6] = before[path][..., 3:6]
            same(values, expected)


def test_frozen_layers(kit: Kit) -> None:
    """Layers that are not trained are initialized as the others are, and stay untrained."""
    model, other = small(kit), small(kit)
    model.get_layer("encoder").trainable = False
    for each in (model, other):
        kit.initialize(each)
    same(kit.by_name(model), {name: kit.by_name(other)[name] for name in kit.by_name(model)})
    assert len(model.trainable_weights) == 4
    model.trainable = False
    kit.initialize(model, normal())
    same(kit.by_path(model)["head.kernel"], drawn("head.kernel", (4, 2), "RandomNormal"))


def test_dropout_goes_on(kit: Kit) -> None:
    """A model with Dropout drops the same in its next steps, whether it is initialized before them or not."""
    found = []
    for again in (False, True):
        kit.keras.utils.set_random_seed(5)
        model = small(kit, kit.L.Dropout(0.5, seed=7))
        kit.initialize(model)
        model(ones(2, 4), training=True)
        if again:
            kit.initialize(model)
        found.append(kit.array(model(ones(8, 4), training=True)))
    same(*found)


def state(kit: Kit, optimizer: Any) -> list[np.ndarray]:
    """The optimizer's own variables; in tf_keras a method returns them."""
    variables = optimizer.variables
    return [kit.array(each) for each in (variables() if kit.name == "tf_keras" else variables)]


def test_optimizers_keep_working(kit: Kit) -> None:
    """A compiled model is trained before and after, and its optimizer's own variables stay as they are."""
    found = []
    for trained in (False, True):
        model = kit.compile(small(kit), 0.01)
        if trained:
            model.fit(ones(8, 4), ones(8, 2), epochs=2, verbose=0)
        else:
            model.optimizer.build(model.trainable_variables)
        kept = state(kit, model.optimizer)
        kit.initialize(model)
        same(state(kit, model.optimizer), kept)
        found.append(kit.arrays(model))
        loss = model.evaluate(ones(8, 4), ones(8, 2), verbose=0)
        model.fit(ones(8, 4), ones(8, 2), epochs=40, verbose=0)
        assert model.evaluate(ones(8, 4), ones(8, 2), verbose=0) < loss
        differ(kit.arrays(model), found[-1])
    same(*found)


def test_functions_made_before(kit: Kit) -> None:
    """What was compiled before computes with the new weights: `predict` and calls are those of a new model."""
    model, new = small(kit), small(kit)
    for each in (model, new):
        each.predict(ones(3, 4), verbose=0)
    variables = [id(each) for each in model.weights]
    first = model.predict(ones(3, 4), verbose=0)
    kit.initialize(model)
    kit.initialize(new)
    assert [id(each) for each in model.weights] == variables
    same(model.predict(ones(3, 4), verbose=0), new.predict(ones(3, 4), verbose=0))
    same(kit.array(model(ones(3, 4))), kit.array(new(ones(3, 4))))
    differ([model.predict(ones(3, 4), verbose=0)], [first])


def test_files(kit: Kit) -> None:
    """A model is saved and loaded with its new weights, and what was loaded is initialized to the same ones."""
    model = small(kit)
    kit.initialize(model)
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "model.keras"))
        model.save(path)
        loaded = kit.keras.models.load_model(path)
        model.save_weights(str(pathlib.Path(folder, "model.weights.h5")))
        other = small(kit)
        other.load_weights(str(pathlib.Path(folder, "model.weights.h5")))
    same(kit.by_path(loaded), kit.by_path(model))
    same(kit.by_path(other), kit.by_path(model))
    kit.initialize(loaded, normal())
    differ(kit.arrays(loaded), kit.arrays(model))
    kit.initialize(loaded)
    same(kit.by_path(loaded), kit.by_path(model))


def test_single_layers(kit: Kit) -> None:
    """A layer by itself is a model, too; its weights' paths are their names."""
    layer = kit.L.Dense(3, name="anything")
    layer.build((None, 4))
    assert kit.initialize(layer).filled == ("kernel", "bias")
    same(kit.array(layer.kernel), drawn("kernel", (4, 3)))


def test_models_without_weights(kit: Kit) -> None:
    """There is nothing to do for a model without weights."""
    model = kit.sequential(kit.L.Flatten(), kit.L.ReLU(), shape=(2, 2))
    assert kit.initialize(model).filled == ()
