"""The names under which weights of models are drawn: what they are, and what does not change them."""

from __future__ import annotations

from typing import Any

import pytest

import fanin
from keras_kit import SEED, Kit, differ, drawn, normal, ones, preset, same
from keras_models import picture

PICTURE = [
    *("conv2d.kernel", "conv2d.bias"),
    *(f"batch_normalization.{leaf}" for leaf in ("gamma", "beta", "moving_mean", "moving_variance")),
    "conv2d_1.kernel",
    *(f"sequential.{layer}.{leaf}" for layer in ("dense", "head", "dense_1") for leaf in ("kernel", "bias")),
    *("dense.kernel", "dense.bias"),
]


def test_automatic_names(kit: Kit) -> None:
    """However far Keras has counted its names, they are counted anew within each model, and so are the weights."""
    for _ in range(3):
        for each in (kit.L.Dense(1), kit.L.Conv2D(1, 1)):
            assert each.name
    models = [picture(kit) for _ in range(2)]
    assert models[0].layers[1].name != models[1].layers[1].name != "conv2d"
    for model in models:
        kit.initialize(model)
        assert [entry.name for entry in kit.plan(model).entries] == PICTURE
        values = kit.by_name(model)
        for name, shape in {"conv2d.kernel": (3, 3, 3, 4), "sequential.dense_1.kernel": (5, 5)}.items():
            same(values[name], drawn(name, shape))
    same(kit.by_name(models[0]), kit.by_name(models[1]))
    assert [entry.path for entry in kit.plan(models[0]).entries] == list(kit.by_path(models[0]))
    assert models[1].layers[1].name + ".kernel" == kit.plan(models[1]).entries[0].path
    kit.initialize(models[1], preset(seed=12))
    differ(kit.arrays(models[0]), kit.arrays(models[1]))


def test_seeds_of_plans(kit: Kit) -> None:
    """The seeds are spawned from the recipe's by the names, and no two weights have the same one."""
    initializer: Any = fanin.RandomNormal(seed=SEED)
    plan = kit.plan(picture(kit), normal())
    assert not plan.equal_seeds
    for entry in plan.entries:
        statistic = entry.parameter.role in ("mean", "variance")
        assert entry.seeds == (() if statistic else (initializer.spawn(entry.name).seed,))


def test_given_names(kit: Kit) -> None:
    """Names that were given stay, also with numbers or of other classes; one that Keras gives is counted anew."""
    names = (None, "conv2d", "block_2", "my_dense_3", "Dense_4", "dense_x", "dense_1_2")
    layers = [kit.L.Dense(3, name=name) for name in names]
    model = kit.sequential(*layers, shape=(3,), name="anything")
    kit.initialize(model)
    expected = ["dense", *names[1:]]
    assert [entry.name for entry in kit.plan(model).entries][::2] == [f"{name}.kernel" for name in expected]
    for name, layer in zip(expected, layers, strict=True):
        same(kit.array(layer.kernel), drawn(f"{name}.kernel", (3, 3)))


def test_names_in_wrappers(kit: Kit) -> None:
    """The layers in wrappers and cells have the names of their kinds, whatever numbers Keras gave them."""
    layers = kit.L
    for _ in range(2):
        text = kit.keras.Input((5, 4))
        hidden = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(text)
        hidden = layers.Bidirectional(layers.GRU(2, return_sequences=True, name="turn"), name="both")(hidden)
        hidden = layers.TimeDistributed(layers.Dense(4))(hidden)
        hidden = layers.RNN(layers.StackedRNNCells([layers.LSTMCell(3), layers.LSTMCell(3)]))(hidden)
        model = kit.keras.Model(text, hidden)
        kit.initialize(model)
        names = [name for name in kit.by_name(model) if name.endswith(".kernel")]
        assert names == [
            "bidirectional.forward_lstm.lstm_cell.kernel",
            "bidirectional.backward_lstm.lstm_cell.kernel",
            "both.forward_turn.gru_cell.kernel",
            "both.backward_turn.gru_cell.kernel",
            "time_distributed.dense.kernel",
            "rnn.stacked_rnn_cells.lstm_cell.kernel",
            "rnn.stacked_rnn_cells.lstm_cell_1.kernel",
        ], names
        values = kit.by_name(model)
        same(values[names[1]], drawn(names[1], (4, 12)))
        same(values[names[3]], drawn(names[3], (6, 6)))


def test_two_children_of_one_name(kit: Kit) -> None:
    """The second of two layers with one name within a parent gets a number, and values of its own."""

    class Pair(kit.keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = kit.L.Dense(4, name="same"), kit.L.Dense(4, name="same")

        def call(self, inputs: Any) -> Any:
            return self.second(self.first(inputs))

    model = Pair()
    model(ones(1, 4))
    kit.initialize(model)
    names = ["same.kernel", "same.bias", "same#2.kernel", "same#2.bias"]
    assert list(kit.by_path(model)) == list(kit.by_name(model)) == names
    same(kit.array(model.first.kernel), drawn("same.kernel", (4, 4)))
    same(kit.array(model.second.kernel), drawn("same#2.kernel", (4, 4)))


def test_two_weights_of_one_name(kit: Kit) -> None:
    """The second of two weights with one name within a layer gets a number, and values of its own."""

    class Twice(kit.L.Layer):
        def build(self, shape: Any) -> None:
            self.one = self.add_weight(name="w", shape=(4, 4))
            self.two = self.add_weight(name="w", shape=(4, 4))
            self.built = True

    model = Twice()
    model.build(None)
    kit.initialize(model, normal())
    for name, variable in {"w": model.one, "w#2": model.two}.items():
        same(kit.array(variable), drawn(name, (4, 4), "RandomNormal"))


def test_nested_models(kit: Kit) -> None:
    """A model in a model in a model: the path has all of their names but the outermost one's."""
    inner = kit.sequential(kit.L.Dense(3, name="fc"), shape=(3,), name="inner")
    middle = kit.sequential(inner, kit.L.Dense(3, name="fc"), shape=(3,), name="middle")
    model = kit.sequential(middle, kit.L.Dense(3, name="fc"), shape=(3,), name="outer")
    kit.initialize(model)
    kernels = [name for name in kit.by_path(model) if name.endswith("kernel")]
    assert sorted(kernels) == ["fc.kernel", "middle.fc.kernel", "middle.inner.fc.kernel"]
    for name in kernels:
        same(kit.by_name(model)[name], drawn(name, (3, 3)))
    kit.initialize(middle)
    same(kit.array(inner.layers[-1].kernel), drawn("inner.fc.kernel", (3, 3)))


def test_shared_layers(kit: Kit) -> None:
    """A layer in several places is drawn once, under the first path; the others are tied, and choose it as well."""
    shared = kit.L.Dense(4, name="shared")
    left = kit.sequential(shared, shape=(4,), name="left")
    right = kit.sequential(shared, kit.L.Dense(4, name="own"), shape=(4,), name="right")
    inputs = kit.keras.Input((4,))
    model = kit.keras.Model(inputs, right(left(shared(shared(left(inputs))))))
    plan = kit.plan(model)
    kernels = [entry for entry in plan.entries if entry.parameter.shape == (4, 4)]
    assert len(plan.entries) == len(model.weights) == 4
    paths = {each.path: each.parameter.tied for each in kernels}
    first = next(path for path in paths if path.endswith("shared.kernel"))
    assert {first, *paths[first]} == {"left.shared.kernel", "right.shared.kernel", "shared.kernel"}
    report = kit.initialize(model)
    assert sorted(report.filled) == sorted(
        {first, first.replace("kernel", "bias"), "right.own.kernel", "right.own.bias"}
    )
    same(kit.array(shared.kernel), drawn(first, (4, 4)))
    for path in (first, *paths[first]):
        assert kit.initialize(model, only=path).filled == (first,)
        assert first not in kit.initialize(model, skip=path).filled


def test_other_layers_do_not_matter(kit: Kit) -> None:
    """A layer more, or the same named layers in another order, changes no other weight."""

    def made(*names: str) -> dict[str, Any]:
        model = kit.sequential(*(kit.L.Dense(4, name=name) for name in names), shape=(4,))
        kit.initialize(model)
        return dict(sorted(kit.by_name(model).items()))

    before = made("a", "b", "c")
    assert len({values.tobytes() for name, values in before.items() if name.endswith("kernel")}) == 3
    same(before, made("c", "a", "b"))
    more = made("a", "new", "b", "other", "c")
    same(before, {name: more[name] for name in before})


def test_unnamed_weights(kit: Kit) -> None:
    """Weights without a name get the same values in a second model of the same code."""

    class Unnamed(kit.L.Layer):
        def build(self, shape: Any) -> None:
            self.one = self.add_weight(shape=(4, 4), initializer="zeros")
            self.two = self.add_weight(shape=(4, 4), initializer="zeros")
            self.built = True

    found = []
    for _ in range(2):
        model = Unnamed()
        model.build(None)
        kit.initialize(model, normal())
        found.append(kit.arrays(model))
        differ(found[-1][:1], found[-1][1:])
    same(*found)


@pytest.mark.parametrize("way", ["clone", "configuration"])
def test_copies_have_the_names(way: str, kit: Kit) -> None:
    """A clone of a model, or one from its configuration, gets the same weights."""
    model = picture(kit)
    kit.initialize(model)
    models = kit.keras.models
    copy = models.clone_model(model) if way == "clone" else models.Model.from_config(model.get_config())
    assert copy.layers[1].name == model.layers[1].name
    kit.initialize(copy)
    same(kit.arrays(copy), kit.arrays(model))


def test_mapped_names(kit: Kit) -> None:
    """Through `names` a model whose layers are named otherwise gets the same weights."""

    def made(prefix: str, head: str, names: Any = None) -> list[Any]:
        layers = [kit.L.Dense(4, name=f"{prefix}{number}") for number in range(3)]
        inner = kit.sequential(*layers, shape=(4,), name=f"{prefix}s")
        model = kit.sequential(inner, kit.L.Dense(2, name=head), shape=(4,))
        report = kit.initialize(model, names=names)
        assert list(kit.by_name(model, names)) == [entry.name for entry in report.plan.entries]
        return kit.arrays(model)

    expected = made("block_", "head")
    differ(expected, made("stage", "output"))
    mapping = {"stages/stage*": "block_s/block_*", "output.*": "head.*"}
    same(made("stage", "output", mapping), expected)
    same(made("stage", "output", lambda each: each.path.replace("stage", "block_").replace("output", "head")), expected)
    one = kit.sequential(kit.L.Dense(4, name="fc"), shape=(4,))
    kit.initialize(one, names={"fc.kernel": "block_s.block_1.kernel"})
    same(kit.arrays(one)[0], expected[2])


def test_automatic_names_in_subclasses(kit: Kit) -> None:
    """Classes of one's own count by their names in snake case, in lists and in dicts, too."""

    class ResNetBlock(kit.L.Layer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.dense = kit.L.Dense(4)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

    class Tower(kit.keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [ResNetBlock(), ResNetBlock(), ResNetBlock(name="last")]
            self.heads = {"a": kit.L.Dense(4), "b": kit.L.Dense(4)}

        def call(self, inputs: Any) -> Any:
            for block in self.blocks:
                inputs = block(inputs)
            return self.heads["a"](inputs) + self.heads["b"](inputs)

    found = []
    for _ in range(2):
        model = Tower()
        model(ones(1, 4))
        kit.initialize(model)
        found.append(kit.by_name(model))
    same(*found)
    prefix = found[0] and next(iter(found[0])).partition(".")[0]
    assert prefix in ("res_net_block", "resnet_block")
    names = [f"{prefix}.dense", f"{prefix}_1.dense", "last.dense", "dense", "dense_1"]
    assert sorted(found[0]) == sorted(f"{name}.{leaf}" for name in names for leaf in ("kernel", "bias"))
    for name in names:
        same(found[0][f"{name}.kernel"], drawn(f"{name}.kernel", (4, 4)))
