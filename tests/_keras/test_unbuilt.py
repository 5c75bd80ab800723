"""`initialize` and models that are not built yet: their layers get their values as they are built."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fanin
from fanin._keras.initialize import _Waiting
from fanin.recipes import PlanError
from keras_kit import LIBRARIES, SEED, Kit, differ, drawn, normal, ones, preset, raised, same
from keras_models import MODELS, check_added, everything, sequential


def waiting() -> int:
    """How many models wait."""
    gc.collect()
    return len(_Waiting._models)


def in_function(kit: Kit, model: Any) -> Any:
    """Calls a model in a function that becomes a graph, where there are such."""
    if kit.backend != "tensorflow":
        return model(ones(3, 4))
    import tensorflow as tf

    return tf.function(lambda x: model(x))(tf.constant(ones(3, 4)))


LATE = pytest.mark.parametrize("late", [False, True], ids=["built", "unbuilt"])  # when it gets its recipe
# How a model is first run; what it returns is compared, if it returns something.
WAYS: dict[str, Callable[[Kit, Any], Any]] = {
    "called": lambda kit, model: kit.array(model(ones(3, 4))),
    "called for symbols": lambda kit, model: model(kit.keras.Input((4,))),
    "built": lambda kit, model: model.build((None, 4)),
    "predict": lambda kit, model: model.predict(ones(3, 4), verbose=0),
    "fit": lambda kit, model: kit.compile(model).fit(ones(3, 4), ones(3, 2), verbose=0),
    "function": in_function,
}


def is_built(library: str, name: str) -> bool:
    """Whether `build` builds the layers of a model; of one of the user's own Keras 3 does not."""
    return library == "tf_keras" or name not in ("of lists", "of built ones")


FIRST_RUNS = [
    (library, name, way)
    for library in LIBRARIES
    for name in MODELS
    for way in WAYS
    if way != "built" or is_built(library, name)
]


@pytest.mark.parametrize(("kit", "name", "way"), FIRST_RUNS, indirect=["kit"], ids=map("-".join, FIRST_RUNS))
def test_first_runs(name: str, way: str, kit: Kit) -> None:
    """Weights, and what the first run returns, are those of a model that was initialized after it was built."""
    make, run = MODELS[name], WAYS[way]
    expected = make(kit)
    expected(ones(3, 4))
    kit.initialize(expected, everything())
    model = make(kit)
    report = kit.initialize(model, everything())
    assert report.waiting
    assert set(report.filled) == set(kit.by_path(model))
    output = run(kit, model)
    found, theirs = kit.by_name(model), kit.by_name(expected)
    stay = [each for each in theirs if not (way == "fit" and "moving" in each)]
    assert list(found) == list(theirs)
    same({each: found[each] for each in stay}, {each: theirs[each] for each in stay})
    if way in ("called", "predict"):
        same(output, run(kit, expected))


def test_reports_of_unbuilt_models(kit: Kit) -> None:
    """The report names the layers that wait, and the plan has a note; once built, nothing waits."""
    model = kit.sequential(kit.L.Dense(3, name="first"), kit.L.Dense(2, name="second"), name="both")
    assert kit.plan(model).model.notes == ("3 layers are not built yet",)
    report = kit.initialize(model)
    assert (report.filled, report.kept, report.waiting) == ((), {}, ("both", "first", "second"))
    lines = str(report).splitlines()
    assert lines[0].startswith("both: 0 parameters initialized ("), lines
    assert lines[1:] == [f"waiting to be built: {name}" for name in report.waiting]
    model.build((None, 3))
    report = kit.initialize(model)
    assert report.waiting == report.plan.model.notes == ()
    assert report.filled == ("first.kernel", "first.bias", "second.kernel", "second.bias")


CHOICES: list[tuple[dict[str, Any], list[str]]] = [
    ({"only": "b.*"}, ["b.kernel", "b.bias"]),
    ({"only": ["*/kernel"], "skip": "a/*"}, ["b.kernel", "c.kernel"]),
    ({"skip": ["*.bias", "c.*", "nothing.*"]}, ["a.kernel", "b.kernel"]),
]


@pytest.mark.parametrize(("options", "filled"), CHOICES, ids=[str(options) for options, _ in CHOICES])
def test_chosen_of_unbuilt(options: dict[str, Any], filled: list[str], kit: Kit) -> None:
    """`only` and `skip` choose among weights that are not there yet; the others are those of their own initializers."""
    model = kit.sequential(*(kit.L.Dense(3, kernel_initializer="zeros", name=name) for name in "abc"))
    kit.initialize(model, normal(), **options)
    model.build((None, 3))
    for path, values in kit.by_path(model).items():
        same(values, drawn(path, values.shape, "RandomNormal") if path in filled else np.zeros_like(values))


KERNELS = fanin.Recipe([{"role": "kernel", "initializer": "he_normal"}], seed=SEED)


def test_unmatched_of_unbuilt(kit: Kit) -> None:
    """A weight without a rule is an error when it is made."""
    model = kit.sequential(kit.L.Dense(3, name="fc", bias_initializer="ones"), name="small")
    kit.initialize(model, KERNELS)
    assert raised(PlanError, lambda: model.build((None, 3))) == (
        "The recipe does not fit small; the layers that were built before have their values.\n"
        "  No rule matches 1 of 1 parameter:\n"
        "    fc.bias 3, Dense\n"
        '    Add rules for them (the last one may be path = "*"), or leave them as they are with unmatched="keep".'
    )


def test_kept_blocks_of_unbuilt(kit: Kit) -> None:
    """A block has no values to keep before its layer is built."""
    model = kit.L.LSTM(3)
    rules = [{"path": "*", "block": "forget", "initializer": "keep"}, {"path": "*", "initializer": "ones"}]
    kit.initialize(model, fanin.Recipe(rules))
    with pytest.raises(PlanError, match="keeps some of its blocks, which have no values before the model is built"):
        model.build((None, 2, 2))


def test_kept_of_unbuilt(kit: Kit) -> None:
    """By `unmatched="keep"`, a weight without a rule stays its initializer's."""
    model = kit.sequential(kit.L.Dense(3, name="fc", bias_initializer="ones"), name="small")
    kit.initialize(model, KERNELS, unmatched="keep")
    model.build((None, 3))
    same(kit.by_path(model)["fc.bias"], fanin.Ones()((3,)))
    same(kit.by_path(model)["fc.kernel"], drawn("fc.kernel", (3, 3), "HeNormal"))


def test_other_models_are_untouched(kit: Kit) -> None:
    """While a model waits, other layers and models have the weights of their own initializers."""
    model = sequential(kit)
    kit.initialize(model, normal())

    class Counting(kit.L.Layer):
        def build(self, shape: Any) -> None:
            self.seen = []
            self.one = self.add_weight(name="kernel", shape=(2, 2), initializer=self.made)
            self.built = True

        def made(self, shape: Any, dtype: Any = None) -> Any:
            self.seen.append(tuple(shape))
            return kit.ours.Ones()(shape, dtype)

    other = kit.sequential(kit.L.Dense(3, kernel_initializer=kit.ours.HeNormal(seed=3)), Counting(), shape=(3,))
    same(kit.arrays(other)[0], fanin.HeNormal(seed=3)((3, 3)))
    same(kit.array(other.layers[1].one), fanin.Ones()((2, 2)))
    assert other.layers[1].seen
    assert set(other.layers[1].seen) == {(2, 2)}
    alone = kit.L.Dense(3, kernel_initializer=kit.ours.HeNormal(seed=3))
    alone.build((None, 3))
    same(kit.array(alone.kernel), fanin.HeNormal(seed=3)((3, 3)))
    model(ones(1, 4))
    same(kit.by_name(model)["head.kernel"], drawn("head.kernel", (5, 2), "RandomNormal"))


def test_nothing_is_left_behind(kit: Kit) -> None:
    """Models that are gone wait no longer, whether they were built or not; `add_weight` is watched once."""
    before = waiting()
    models = [make(kit) for make in MODELS.values()]
    for number in range(len(models)):
        kit.initialize(models[number], everything())
    watched = kit.L.Layer.add_weight
    assert waiting() == before + len(models)
    models[0](ones(1, 4))
    kit.initialize(models[1], normal())
    assert waiting() <= before + len(models)
    assert kit.L.Layer.add_weight is watched
    assert watched.__doc__ == watched.__wrapped__.__doc__
    del models
    kit.keras.backend.clear_session()
    assert waiting() == before


def test_the_last_recipe_counts(kit: Kit) -> None:
    """A second recipe for a model that waits takes the place of the first."""
    model = sequential(kit)
    kit.initialize(model, normal())
    kit.initialize(model)
    model.build((None, 4))
    same(kit.by_name(model)["head.kernel"], drawn("head.kernel", (5, 2)))


def test_parts_that_wait_by_themselves(kit: Kit) -> None:
    """A layer that waits gets its own recipe's values wherever it is built, and its weights' names begin at it."""
    inner = kit.sequential(kit.L.Dense(3, name="fc"), name="inner")
    kit.initialize(inner)
    inputs = kit.keras.Input((3,))
    model = kit.keras.Model(inputs, kit.L.Dense(3, name="fc", kernel_initializer="ones")(inner(inputs)))
    same(kit.array(inner.layers[0].kernel), drawn("fc.kernel", (3, 3)))
    same(kit.array(model.layers[-1].kernel), fanin.Ones()((3, 3)))


@LATE
def test_layers_built_after_their_model(late: bool, kit: Kit) -> None:
    """A layer that is not built though its model is gets its values when it is built."""

    class Auxiliary(kit.keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.main = kit.L.Dense(3, name="main")
            self.extra = kit.L.Dense(3, name="extra", kernel_initializer="zeros")

        def build(self, shape: Any) -> None:
            self.main.build(shape)
            self.built = True

        def call(self, inputs: Any) -> Any:
            return self.main(inputs)

    model = Auxiliary()
    if not late:
        model(ones(1, 4))
    kit.initialize(model)
    model(ones(1, 4))
    assert model.built
    assert not model.extra.built
    model.extra(ones(1, 4))
    same(kit.by_path(model)["main.kernel"], drawn("main.kernel", (4, 3)))
    same(kit.by_path(model)["extra.kernel"], drawn("extra.kernel", (4, 3)))


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64"])
def test_policies_of_unbuilt(policy: str, kit: Kit) -> None:
    """The dtype of weights that are made later is that of the policy."""
    model = kit.sequential(kit.L.Dense(3, name="fc", dtype=kit.policy(policy)), shape=None)
    kit.initialize(model)
    model.build((None, 4))
    dtype = "float32" if "mixed" in policy else policy
    same(kit.by_path(model)["fc.kernel"], kit.held(drawn("fc.kernel", (4, 3), dtype=dtype)))


@LATE
def test_weights_by_keyword(late: bool, kit: Kit) -> None:
    """`add_weight` with all of its arguments by keyword; shapes of any kind; weights that are not trained."""

    def add(layer: Any) -> list[Any]:
        return [
            layer.add_weight(name="one", shape=(3, 4), initializer="zeros"),
            layer.add_weight(name="two", shape=[3, 4], initializer="zeros"),
            layer.add_weight(name="scalar", shape=(), initializer="zeros"),
            layer.add_weight(initializer="zeros", name="nothing"),
            layer.add_weight(name="half", shape=(5,), dtype="float16", initializer="zeros"),
            layer.add_weight(name="fixed", shape=(5,), initializer="zeros", trainable=False),
        ]

    names = ["one", "two", "scalar", "nothing", "half", "fixed"]
    check_added(kit, late, add, names, [*["float32"] * 4, "float16", "float32"])


@LATE
def test_late_weights_of_one_name(late: bool, kit: Kit) -> None:
    """Two weights of one name within a layer are drawn under two names, made before the recipe or after."""
    check_added(kit, late, lambda layer: [layer.add_weight(name="w", shape=(3, 4)) for _ in range(2)], ["w", "w#2"])


def test_late_weights_without_names(kit: Kit) -> None:
    """Weights without names get the same values, made before the recipe or after."""

    class Own(kit.L.Layer):
        def build(self, shape: Any) -> None:
            self.added = [self.add_weight(shape=(3, 4), initializer="zeros") for _ in range(2)]
            self.built = True

    found = []
    for late in (False, True):
        model = Own()
        if not late:
            model.build(None)
        kit.initialize(model, normal())
        if late:
            model.build(None)
        found.append(kit.arrays(model))
        differ(found[-1][:1], found[-1][1:])
    same(*found)


@pytest.mark.parametrize(("arguments", "options"), [(range(1, 13), {}), ((), {"colour": "red"})])
def test_wrong_calls_stay_wrong(arguments: Any, options: dict[str, Any], kit: Kit) -> None:
    """`add_weight` raises what it raised before any model waited."""
    kit.initialize(sequential(kit))
    layer, watched = kit.L.Layer(), kit.L.Layer.add_weight
    messages = [
        raised(TypeError, lambda call=call: call(layer, *arguments, **options))
        for call in (watched, watched.__wrapped__)
    ]
    assert messages[0] == messages[1]


def test_training_goes_on(kit: Kit) -> None:
    """A model that was first built by `fit` trains as one that was initialized after it was built."""
    found = []
    for late in (False, True):
        model = kit.compile(sequential(kit), 0.1)
        if not late:
            model.build((None, 4))
        kit.initialize(model, preset())
        model.fit(ones(6, 4), ones(6, 2), epochs=2, batch_size=3, shuffle=False, verbose=0)
        found.append(kit.arrays(model))
    same(*found)
    differ(found[0], [drawn("dense.kernel", (4, 5))])


def test_recipes_that_count_blocks(kit: Kit) -> None:
    """Numbers of blocks and fans in expressions are those of the whole model, built or not."""
    rules: list[Any] = [{"path": "*", "initializer": "constant", "value": "10 * depth + n_layers + fan_in / 100"}]
    for late in (False, True):
        layers = [kit.L.Dense(4, name=f"block_{number}", use_bias=False) for number in range(3)]
        model = kit.sequential(*layers)
        if not late:
            model.build((None, 4))
        kit.initialize(model, fanin.Recipe(rules))
        if late:
            model.build((None, 4))
        for number, layer in enumerate(layers):
            assert (kit.array(layer.kernel) == np.float32(10 * number + 3.04)).all()


def test_names_of_unbuilt(kit: Kit) -> None:
    """`names` counts for weights that are made later, too."""
    model = kit.sequential(kit.L.Dense(4, name="a0"), kit.sequential(kit.L.Dense(4, name="b0"), name="inner"))
    kit.initialize(model, names={"inner.b*": "block_*", "a0.kernel": "first"})
    model(ones(1, 4))
    same(kit.array(model.layers[0].kernel), drawn("first", (4, 4)))
    same(kit.array(model.layers[1].layers[0].kernel), drawn("block_0.kernel", (4, 4)))


@pytest.mark.parametrize("options", [{}, {"only": "right.*"}, {"skip": "right.*"}], ids=["all", "only", "skip"])
def test_shared_layers_of_unbuilt(options: dict[str, str], kit: Kit) -> None:
    """A layer in two places is drawn under its first path, and a pattern for the second chooses it, built or not."""
    found = []
    for late in (False, True):
        shared = kit.L.Dense(4, name="shared", kernel_initializer="ones")
        left, right = (kit.sequential(shared, name=name) for name in ("left", "right"))
        model = kit.sequential(left, right)
        if not late:
            model.build((None, 4))
        kit.initialize(model, **options)
        if late:
            model.build((None, 4))
        found.append(kit.arrays(model))
    same(*found)
    kept = fanin.Ones()((4, 4))
    same(found[0][0], kept if "skip" in options else drawn("left.shared.kernel", (4, 4)))


MEANS = fanin.Recipe([{"role": "mean", "initializer": "random_normal"}, *normal().rules], seed=SEED)


@pytest.mark.parametrize(
    ("recipe", "start"), [(preset(), 0), (normal(), 0), (MEANS, None)], ids=["preset", "*", "mean"]
)
def test_statistics_of_unbuilt(recipe: fanin.Recipe, start: int | None, kit: Kit) -> None:
    """Weights that are not trained have their usual start, or what a rule of their role says."""
    layer = kit.L.BatchNormalization(name="bn", moving_mean_initializer="ones")
    model = kit.sequential(layer)
    kit.initialize(model, recipe)
    model.build((None, 4))
    drew = drawn("bn.moving_mean", (4,), "RandomNormal")
    same(kit.array(layer.moving_mean), drew if start is None else fanin.Zeros()((4,)))
    assert len(layer.non_trainable_weights) == 2
