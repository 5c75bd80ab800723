"""`recipe_of`: a recipe of the initializers that a model has, with the distributions that Keras itself draws from."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fanin
from agreement import check_plan
from fanin.recipes import Recipe
from keras_kit import LIBRARIES, Kit, ones, raised
from keras_models import ROWS, built

PLACES = [
    (library, name) for library in LIBRARIES for name in ROWS if library in ROWS[name].libraries and ROWS[name].count
]


def check(kit: Kit, model: Any, recipe: Any = None) -> Any:
    """The plan of a model's own recipe agrees with what Keras has drawn; returns it."""
    recipe = kit.ours.recipe_of(model, seed=5) if recipe is None else recipe
    plan = recipe.plan(model)
    check_plan(plan, kit.by_path(model), beyond=kit.beyond)
    return plan


def descriptions(plan: Any) -> dict[str, str]:
    """What each weight gets, in words, by its path."""
    return {entry.path: entry.description for entry in plan.entries}


# Layers and models


@pytest.mark.parametrize(("kit", "name"), PLACES, indirect=["kit"], ids=[f"{each}-{name}" for each, name in PLACES])
def test_layers(name: str, kit: Kit) -> None:
    """Every layer of Keras, as it draws its weights."""
    kit.keras.utils.set_random_seed(3)
    check(kit, built(kit, name))


@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50", "EfficientNetB0"])
def test_applications(name: str, kit: Kit) -> None:
    """Models that come with Keras."""
    kit.keras.utils.set_random_seed(1)
    model = getattr(kit.keras.applications, name)(weights=None, input_shape=(32, 32, 3), classes=10)
    plan = check(kit, model)
    assert len(plan.entries) == len(model.weights)


def text_model(kit: Kit) -> Any:
    """A model of layers with initializers of their own, in wrappers and nested models."""
    layers = kit.L
    tokens = kit.keras.Input((9,), dtype="int32")
    vectors = layers.Embedding(80, 24, embeddings_initializer="random_normal")(tokens)
    lstm = layers.LSTM(
        16,
        return_sequences=True,
        bias_initializer=kit.keras.initializers.RandomNormal(seed=4),
        recurrent_initializer=kit.keras.initializers.Orthogonal(gain=0.5),
    )
    vectors = layers.Bidirectional(lstm)(vectors)
    vectors = layers.MultiHeadAttention(2, 8, kernel_initializer="he_normal")(vectors, vectors)
    vectors = layers.TimeDistributed(layers.Dense(12, kernel_initializer="lecun_uniform"))(vectors)
    inner = kit.sequential(
        layers.SeparableConv1D(10, 3, depthwise_initializer="he_uniform", pointwise_initializer="glorot_normal"),
        layers.LayerNormalization(gamma_initializer=kit.keras.initializers.RandomUniform(0.5, 1.5)),
        shape=(9, 12),
    )
    einsum = layers.EinsumDense(
        "abc,cd->abd",
        (None, 30),
        bias_axes="d",
        kernel_initializer=kit.keras.initializers.VarianceScaling(3.0, "fan_out", "untruncated_normal"),
        bias_initializer=kit.keras.initializers.Constant(0.25),
    )
    return kit.keras.Model(tokens, einsum(inner(vectors)))


def test_initializers_of_the_author(kit: Kit) -> None:
    """Arguments of layers in wrappers, attention and nested models."""
    kit.keras.utils.set_random_seed(2)
    model = text_model(kit)
    found = list(descriptions(check(kit, model)).values())
    assert found[0] == "RandomNormal(mean=0, stddev=0.05)"
    assert found[2] == "Orthogonal(gain=0.5)"
    assert found[3] == "input, cell, output: RandomNormal(mean=0, stddev=0.05); forget: Ones()"
    assert found.count("HeNormal()") == 4
    assert found[-2:] == [
        "VarianceScaling(scale=3, mode=fan_out, distribution=untruncated_normal)",
        "Constant(value=0.25)",
    ]


@pytest.mark.parametrize("own", [False, True], ids=["theirs", "ours"])
def test_gains_of_identities(own: bool, kit: Kit) -> None:
    """The gain of an identity is read, which Keras 3 leaves out of its configurations."""
    identity = (kit.ours if own else kit.keras.initializers).Identity(2.0)
    model = kit.sequential(kit.L.Dense(8, kernel_initializer=identity), shape=(5,))
    assert next(iter(descriptions(check(kit, model)).values())) == "Identity(gain=2)"
    assert "gain" in identity.get_config() or not own


def test_fans_are_those_of_keras(kit: Kit) -> None:
    """The fans of attention differ between the two libraries, and the recipe says which they are."""
    layer = built(kit, "MultiHeadAttention")
    plan = check(kit, layer)
    fans = {entry.path: entry.fans for entry in plan.entries}
    assert fans["query.kernel"] == ((4 * 32, 16 * 32) if kit.name == "tf_keras" else (32, 64))


@pytest.mark.parametrize("name", ["LSTM", "ConvLSTM2D", "Bidirectional"])
def test_scaled_forget_biases(name: str, kit: Kit) -> None:
    """The bias of an LSTM is three draws, whose fans are those of their own lengths."""
    make = getattr(kit.L, "LSTM" if name == "Bidirectional" else name)
    arguments = (50,) if name != "ConvLSTM2D" else (50, 2)
    layer = make(*arguments, bias_initializer=kit.keras.initializers.LecunNormal(seed=4))
    layer = kit.L.Bidirectional(layer) if name == "Bidirectional" else layer
    kit.keras.utils.set_random_seed(4)
    layer(kit.keras.Input(ROWS[name].shapes[0]))
    plan = check(kit, layer)
    (entry, *_) = [each for each in plan.entries if each.path.endswith("bias")]
    stddevs = [each.weight.distribution.moments.stddev for each in entry.placements]
    assert stddevs == pytest.approx([50**-0.5, 0, 100**-0.5, 100**-0.5], rel=1e-3)


def test_plans_are_drawn(kit: Kit) -> None:
    """`initialize` takes the recipe, and the weights are the plan's."""
    model = text_model(kit)
    recipe = kit.ours.recipe_of(model, seed=9)
    report = kit.ours.initialize(model, recipe)
    values = kit.by_path(model)
    assert not report.kept
    for entry in recipe.plan(model).entries:
        assert values[entry.path].tobytes() == entry.make().tobytes()


def test_files_have_the_same_plan(kit: Kit) -> None:
    """The recipe is one that a file can hold."""
    model = text_model(kit)
    recipe = kit.ours.recipe_of(model, seed=9)
    assert recipe.seed == 9
    read = Recipe.from_toml(recipe.to_toml())
    assert descriptions(read.plan(model)) == descriptions(recipe.plan(model))
    assert [each.seeds for each in read.plan(model).entries] == [each.seeds for each in recipe.plan(model).entries]


def test_a_second_model_of_the_same_code(kit: Kit) -> None:
    """Names that Keras counts on do not matter: the recipe is for every model of the code."""
    recipe = kit.ours.recipe_of(text_model(kit), seed=9)
    second = text_model(kit)
    plan = check(kit, second, recipe)
    assert len(plan.entries) == len(second.weights)


@pytest.mark.parametrize("kit", ["tf_keras"], indirect=True)
def test_seeded_layers_have_the_same_bytes(kit: Kit) -> None:
    """With the seed of the layer's initializer, fanin's draws the bytes of tf_keras's."""
    names = ["he_normal", "lecun_uniform", "random_normal", "truncated_normal", "random_uniform"]
    models = [
        kit.L.Dense(
            33,
            kernel_initializer=dict(class_name=kit.keras.initializers.get(each).__class__.__name__, config={"seed": 8}),
        )
        for each in names
    ]
    for layer in [
        *models,
        kit.L.DepthwiseConv2D(3, depthwise_initializer=kit.keras.initializers.GlorotUniform(seed=8)),
    ]:
        layer.build((None, 5, 5, 17))
        (kernel, _) = kit.arrays(layer)
        (entry, _) = kit.ours.recipe_of(layer).plan(layer).entries
        distribution = entry.placements[0].weight.distribution
        assert (
            fanin.Weight(distribution, fanin.HeNormal(seed=8).weight((1,)).stream).make().tobytes() == kernel.tobytes()
        )


# Layers of one's own


def scaled(kit: Kit) -> Any:
    """A class of layers with weights in its constructor and in `build`, by objects, names and a function."""

    class Scaled(kit.L.Layer):
        def __init__(self, units: int) -> None:
            super().__init__()
            self.units = units
            start = kit.keras.initializers.TruncatedNormal(stddev=0.02)
            self.start = self.add_weight(shape=(30, 40), initializer=start, name="start")

        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(shape[-1], self.units), initializer="he_uniform", name="w")
            self.two = self.add_weight(shape=(3,), initializer=lambda shape, dtype: 2 * np.ones(shape), name="two")
            self.usual = self.add_weight(shape=(40, 50), name="usual")
            self.built = True

        def call(self, x: Any) -> Any:
            return x @ self.w

    return Scaled


OWN = {
    "start": "TruncatedNormal(mean=0, stddev=0.02)",
    "w": "HeUniform()",
    "two": "Constant(value=2)",
    "usual": "GlorotUniform()",
}


def test_layers_of_ones_own(kit: Kit) -> None:
    """A layer whose constructor takes its own arguments alone."""
    kit.keras.utils.set_random_seed(6)
    layer = scaled(kit)(7)
    layer(ones(2, 30))
    assert descriptions(check(kit, layer)) == OWN


def test_functions_that_make_models(kit: Kit) -> None:
    """A function is watched, so that a layer's arguments can be anything."""
    inner = scaled(kit)

    class Model(kit.keras.Model):
        def __init__(self, given: object) -> None:
            super().__init__()
            self.given, self.inner = given, inner(7)
            self.token = self.add_weight(shape=(5, 50), initializer="lecun_normal", name="token")

        def call(self, x: Any) -> Any:
            return self.inner(x)

    made = []

    def make() -> Any:
        made.append(Model(object()))
        made[-1](ones(2, 30))
        return made[-1]

    recipe = kit.ours.recipe_of(make)
    plan = check(kit, made[0], recipe)
    assert list(descriptions(plan).values()) == ["LecunNormal()", *OWN.values()]
    text = raised(ValueError, lambda: kit.ours.recipe_of(made[0]))
    assert "token (5, 50), Model: what made it is not known" in text
    assert "Pass a function without arguments that makes the model" in text


def test_parts_of_a_model_that_tell(kit: Kit) -> None:
    """Where a layer does not say what it was built for, likely inputs are tried until its weights are the same."""

    class Kernel(kit.L.Layer):
        def build(self, shape: Any) -> None:
            assert len(shape) == 3
            self.w = self.add_weight(shape=(shape[-1], 60), initializer="he_normal", name="w")
            self.built = True

        def call(self, x: Any) -> Any:
            return x @ self.w

        def get_build_config(self) -> None:
            return None

    layer = Kernel()
    layer(ones(2, 3, 25))
    assert descriptions(check(kit, layer)) == {"w": "HeNormal()"}


def test_activations_of_ones_own(kit: Kit) -> None:
    """Functions that a configuration only names are taken from the layer."""
    layer = kit.L.Dense(40, activation=lambda x: x, kernel_initializer="he_normal")
    layer.build((None, 30))
    assert descriptions(check(kit, layer)) == {"kernel": "HeNormal()", "bias": "Zeros()"}


def test_classes_that_derive_from_keras(kit: Kit) -> None:
    """An initializer whose call is its base class's is read, and one with a call of its own is not."""

    class Small(kit.keras.initializers.RandomNormal):
        def __init__(self, stddev: float = 0.01, **kwargs: Any) -> None:
            super().__init__(stddev=stddev, **kwargs)

    class Other(kit.keras.initializers.RandomNormal):
        def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Any:
            return 2 * super().__call__(shape, dtype=dtype)

    layer = kit.L.Dense(40, kernel_initializer=Small())
    layer.build((None, 30))
    assert descriptions(check(kit, layer))["kernel"] == "RandomNormal(mean=0, stddev=0.01)"
    layer = kit.L.Dense(40, kernel_initializer=Other())
    layer.build((None, 30))
    text = raised(ValueError, lambda: kit.ours.recipe_of(layer))
    assert "kernel (30, 40), Dense: its initializer is an object of the class" in text
    assert "Other, which is none that fanin knows" in text


def test_initializers_of_fanin(kit: Kit) -> None:
    """fanin's own classes for the library, and classes of one's own."""

    class Tiny(fanin.SeededInitializer):
        def distribution(self, shape: Any, dtype: Any = None) -> Any:
            return fanin.RandomNormal(0.0, 0.001).distribution(shape, dtype)

    layer = kit.L.Dense(30, kernel_initializer=kit.ours.HeNormal(seed=3))
    layer.build((None, 20))
    assert descriptions(check(kit, layer))["kernel"] == "HeNormal()"


def test_constants_of_arrays(kit: Kit) -> None:
    """A constant of an array is a table."""
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    layer = kit.L.Dense(3, kernel_initializer=kit.keras.initializers.Constant(table))
    layer.build((None, 2))
    plan = check(kit, layer)
    assert descriptions(plan)["kernel"] == "Table(values=[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])"


def test_large_tables(kit: Kit) -> None:
    """A table has a rule of its own in front, which a file can hold."""
    table = np.arange(600, dtype=np.float32).reshape(20, 30)
    layer = kit.L.Dense(30, kernel_initializer=kit.keras.initializers.Constant(table))
    layer.build((None, 20))
    recipe = kit.ours.recipe_of(layer)
    check(kit, layer, Recipe.from_toml(recipe.to_toml()))


MATRICES: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "einsum": (lambda k: k.EinsumDense("abc,cde->abde", (None, 4, 6), kernel_initializer="orthogonal"), (3, 5)),
    "depthwise": (lambda k: k.DepthwiseConv2D(3, depthwise_initializer="orthogonal"), (6, 6, 4)),
    "attention": (lambda k: k.MultiHeadAttention(2, 8, kernel_initializer="orthogonal"), (5, 16)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_columns_of_matrices(name: str, kit: Kit) -> None:
    """Keras's orthogonal kernels have other columns than a rule's, so the model's own code is asked for them."""
    make, shape = MATRICES[name]
    layer, inputs = make(kit.L), kit.keras.Input(shape)
    kit.keras.utils.set_random_seed(8)
    layer(inputs, inputs) if name == "attention" else layer(inputs)
    recipe = kit.ours.recipe_of(layer)
    assert "as_written" in {rule.as_dict()["initializer"] for rule in recipe.rules}
    plan = check(kit, layer, Recipe.from_toml(recipe.to_toml()))
    kit.ours.initialize(layer, recipe)
    check_plan(plan, kit.by_path(layer), beyond=kit.beyond)


def test_rules_that_ask_the_code(kit: Kit) -> None:
    """Any rule can ask a built model of Keras for what its own code makes."""
    kit.keras.utils.set_random_seed(2)
    model = text_model(kit)
    recipe = Recipe([{"path": "*", "initializer": "as_written"}], seed=5)
    plan = check(kit, model, recipe)
    assert descriptions(plan) == descriptions(kit.ours.recipe_of(model, seed=5).plan(model))
    assert [each.seeds for each in plan.entries] == [
        each.seeds for each in kit.ours.recipe_of(model, seed=5).plan(model).entries
    ]


# What cannot be read


def unreadable(kit: Kit) -> Any:
    """A layer with an initializer that draws by itself."""
    layer = kit.L.Dense(30, kernel_initializer=lambda shape, dtype: np.random.normal(size=shape), name="odd")
    layer.build((None, 20))
    return layer


def test_functions_are_not_guessed(kit: Kit) -> None:
    """A function that returns different values is named in the error, with its variable and layer."""
    text = raised(ValueError, lambda: kit.ours.recipe_of(unreadable(kit)))
    assert text.startswith("Each variable must have an initializer that fanin can read. Received: 1 variable")
    assert "\n  kernel (20, 30), Dense: its initializer is the function " in text
    assert "unreadable.<locals>.<lambda>, which is none that fanin knows." in text
    assert text.endswith('Give them others, or call this with unreadable="warn", which keeps them as they are.')


def test_what_is_kept(kit: Kit) -> None:
    """What cannot be read stays as it is, with a warning; a rule of one's own in front changes that."""
    layer = unreadable(kit)
    with pytest.warns(UserWarning, match="keeps variables as they are whose initializers fanin cannot read"):
        recipe = kit.ours.recipe_of(layer, unreadable="warn")
    assert [entry.path for entry in recipe.plan(layer).entries if entry.kept] == ["kernel"]
    plan = recipe.extend([{"path": "kernel", "initializer": "random_normal", "stddev": 1}]).plan(layer)
    assert descriptions(plan)["kernel"] == "RandomNormal(mean=0, stddev=1)"


def test_unbuilt_models(kit: Kit) -> None:
    """A recipe needs the shapes."""
    model = kit.sequential(kit.L.Dense(3, name="fc"))
    text = raised(ValueError, lambda: kit.ours.recipe_of(model))
    assert text.startswith("The model must be built, since a recipe needs the shapes of its variables. Received: ")
    assert text.endswith("fc are not built. Call it on an input, or `build` it.")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Keras warns of such a model
def test_layers_that_are_never_built(kit: Kit) -> None:
    """A layer without a `build` of its own makes no weights, built or not."""

    class Plain(kit.L.Layer):
        def call(self, x: Any) -> Any:
            return x

    class Model(kit.keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.unused = kit.L.Dense(30, kernel_initializer="he_normal"), Plain()

        def call(self, x: Any) -> Any:
            return self.fc(x)

    model = Model()
    model(ones(2, 20))
    assert list(descriptions(check(kit, model)).values()) == ["HeNormal()", "Zeros()"]


@pytest.mark.parametrize("kit", ["tf_keras"], indirect=True)
def test_names_with_slashes(kit: Kit) -> None:
    """tf_keras's own models have slashes in the names of layers."""
    layers = [kit.L.Dense(30, kernel_initializer=each, name=f"a/{each}") for each in ("he_normal", "lecun_normal")]
    model = kit.sequential(*layers, shape=(20,))
    found = descriptions(check(kit, model))
    assert found["a/he_normal.kernel"] == "HeNormal()"
    assert found["a/lecun_normal.kernel"] == "LecunNormal()"


@pytest.mark.parametrize("other", [3, "model", dict, np.ones(3)], ids=["3", "str", "class", "array"])
def test_other_things_than_models(other: Any, kit: Kit) -> None:
    """Neither a model nor a function."""
    text = raised(TypeError, lambda: kit.ours.recipe_of(other))
    rule = f"`model` must be a model or layer of {kit.name}, or a function without arguments that makes one."
    assert text.startswith(f"{rule} Received: ")


def test_other_words(kit: Kit) -> None:
    """`unreadable` is one of two words."""
    layer = built(kit, "Dense")
    text = raised(ValueError, lambda: kit.ours.recipe_of(layer, unreadable="skip"))
    assert text == '`unreadable` must be "error" or "warn". Received: unreadable=\'skip\'.'


# What stays as it was


def test_nothing_else_changes(kit: Kit) -> None:
    """Weights, generators, the names that Keras counts, and the classes of the library."""
    model = text_model(kit)
    before = [array.tobytes() for array in kit.arrays(model)]
    watched, first = watched_functions(kit), kit.L.Dense(3).name
    states = random.getstate(), numpys()
    kit.ours.recipe_of(model)
    assert (random.getstate(), numpys()) == states
    assert number(kit.L.Dense(3).name) == number(first) + 1
    assert [array.tobytes() for array in kit.arrays(model)] == before
    assert watched_functions(kit) == watched


def numpys() -> bytes:
    """The state of NumPy's generator."""
    state: Any = np.random.get_state()
    return state[1].tobytes()


def number(name: str) -> int:
    """The number in a name that Keras has counted."""
    return int(name.rpartition("_")[2]) if "_" in name else 0


def watched_functions(kit: Kit) -> list[Callable[..., Any]]:
    """The functions of the library through which variables are seen."""
    import importlib

    if kit.name == "keras":
        return [importlib.import_module("keras.src.backend.common.variables").Variable.__init__]
    return [importlib.import_module("tf_keras.src.engine.base_layer_utils").make_variable]


def test_errors_within_the_function(kit: Kit) -> None:
    """The error of a function is its own, and the library's functions are back."""
    watched = watched_functions(kit)

    def make() -> Any:
        raise RuntimeError("as it is")

    assert raised(RuntimeError, lambda: kit.ours.recipe_of(make)) == "as it is"
    assert watched_functions(kit) == watched


def test_other_threads_are_not_watched(kit: Kit) -> None:
    """A layer of another thread does not tell what made its weights."""
    layers: list[Any] = []

    def make() -> Any:
        thread = threading.Thread(target=lambda: layers.append(scaled(kit)(7)))
        thread.start()
        thread.join()
        layers[0](ones(2, 30))
        return layers[0]

    recipe = kit.ours.recipe_of(make)
    assert descriptions(recipe.plan(layers[0])) == OWN
