"""fanin.tf_keras in tf_keras itself: tensors, layers, models, the classes as objects; equality of bytes."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fanin
from strategies import CLASSES, FILLS, RANDOM, dtypes_of
from tf_keras_kit import (
    EAGER_OR_GRAPH,
    LAYERS,
    MODELS,
    WAYS,
    Bounded,
    F,
    Given,
    K,
    L,
    assert_all_same,
    assert_same,
    kernel_of,
    layer_with,
    memory_made,
    of,
    tf,
    tf_keras,
    weights_of,
)

# Tensors


@EAGER_OR_GRAPH
@pytest.mark.parametrize("name", CLASSES)
def test_every_dtype_is_a_tensor_of_fanins_bytes(name: str, compiled: bool) -> None:
    """A call returns a tensor of the dtype asked for, with the bytes of `fanin`, whatever the shape."""
    shapes: list[tuple[int, ...]] = [(3, 5), (0, 2)]
    shapes += [] if name in ("Identity", "Orthogonal") else [(), (7,), (2, 3, 1, 2, 2)]
    for dtype in (*dtypes_of(name), *(("int4", "uint4") if name in ("Zeros", "Ones") else ())):
        config: dict[str, Any] = {} if name in FILLS else {"seed": 5}
        if name == "RandomUniform":
            config.update({"minval": None, "maxval": None} if dtype[:1] == "u" else {"minval": -3, "maxval": 9})
        if name == "Constant":
            config = {"value": True if dtype == "bool" else 3}
        for shape in shapes:
            make = getattr(F, name)(**config)
            result = tf.function(lambda m=make, s=shape, d=dtype: m(s, d))() if compiled else make(shape, dtype)
            assert tf.is_tensor(result)
            assert result.dtype == tf.as_dtype(dtype)
            expected = getattr(fanin, name)(**config)(shape, dtype)
            if "int4" in dtype:  # TensorFlow's arrays of them have a dtype of its own
                assert result.numpy().tolist() == expected.tolist()
            else:
                assert_same(result, expected)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_results_take_no_other_memory(name: str, dtype: str) -> None:
    """An eager tensor is the memory that was filled, and no variable made of it ever writes there."""
    with memory_made() as made:
        value = of(F, name)((256, 128), dtype)
    assert len(made) == 1 + (name == "Orthogonal")  # which has a matrix on the way
    assert_same(value, of(fanin, name)((256, 128), dtype))
    bits = np.asarray(memoryview(tf.bitcast(value, tf.uint16 if dtype == "bfloat16" else tf.uint32)))
    assert bits.ctypes.data in [each.ctypes.data for each in made]
    before = value.numpy().tobytes()
    variable = tf.Variable(value)
    variable.assign_add(tf.ones_like(value))
    assert value.numpy().tobytes() == before != variable.numpy().tobytes()


def odd_memory() -> np.ndarray:
    """An array where NumPy might put one and TensorFlow, which wants 64 bytes, does not."""
    memory = np.arange(64, dtype=np.float32)
    start = (memory.ctypes.data % 64 == 0) * 4
    return memory[start : start + 12].reshape(3, 4)


ARRAYS: dict[str, Callable[[], Any]] = {
    "computed": odd_memory,
    "kept": (lambda kept: lambda: kept)(fanin.HeNormal(seed=1)((3, 4))),
    "of other strides": lambda: np.arange(12, dtype=np.float32).reshape(4, 3).T,
    "read-only": lambda: np.broadcast_to(np.float32(2), (3, 4)),
    "of other byte order": lambda: np.ones((3, 4), ">f4"),
    "a scalar of NumPy's": lambda: np.float32(2),
}


@EAGER_OR_GRAPH
@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_of_ones_own_calls(case: str, compiled: bool) -> None:
    """Whatever array a call of one's own returns becomes a tensor to compute with, which stays as it is."""
    array = ARRAYS[case]()
    expected = np.array(array, "f4")
    make = F.as_tf_keras(Given(lambda: array))
    value = tf.function(lambda: make(expected.shape))() if compiled else make(expected.shape)
    if array.flags.writeable and array.shape:
        array[...] = 9
    assert_same(value, expected)
    # TensorFlow would end the process at the first operation, so none is tried.
    assert np.asarray(memoryview(value)).ctypes.data % 64 == 0


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])  # all that tf_keras takes
def test_default_dtype(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a dtype, tf_keras's own default counts, not fanin's."""
    monkeypatch.setattr("tf_keras.src.backend_config._FLOATX", dtype)
    assert_same(F.HeNormal(seed=1)((4, 3)), fanin.HeNormal(seed=1)((4, 3), dtype))
    assert_same(kernel_of(F.HeNormal(seed=1)), kernel_of(fanin.HeNormal(seed=1), dtype=dtype))


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_eight_bits(dtype: str) -> None:
    """Ones of eight bits, which tf_keras cannot make, are TensorFlow's too."""
    tensor = F.Ones()((2, 3), dtype)
    assert tensor.dtype.name == dtype
    assert tensor.numpy().tobytes() == fanin.Ones()((2, 3), dtype).tobytes()


def test_calls_are_left_to_python() -> None:
    """Within a function that becomes a graph TensorFlow converts Python's code, but none of fanin's."""
    frames: list[str] = []

    def make() -> Any:
        frames.extend(each.function for each in inspect.stack())
        return np.zeros((2, 3), np.float32)

    initializer = F.as_tf_keras(Given(make))
    tf.function(lambda: initializer((2, 3)))()
    assert "_array" in frames
    assert not {"tf____call__", "tf___array"} & set(frames)


def shape_of_tensors(shape: Any) -> Any:
    """A shape each of whose lengths is a tensor."""
    return tuple(map(tf.constant, shape))


@EAGER_OR_GRAPH
@pytest.mark.parametrize("make", [tuple, list, tf.TensorShape, np.array, tf.constant, shape_of_tensors])
def test_shapes(make: Callable[[Any], Any], compiled: bool) -> None:
    """Shapes may be tensors, or have tensors in them, whose values are known, in a graph too."""

    def call() -> Any:
        return F.HeNormal(seed=1)(make((3, 4)))

    assert_same(tf.function(call)() if compiled else call(), fanin.HeNormal(seed=1)((3, 4)))


@pytest.mark.parametrize("part", [lambda x: tf.shape(x), lambda x: (tf.shape(x)[0], 3)], ids=["tensor", "entry"])
def test_shapes_that_only_the_graph_knows_are_refused(part: Callable[[Any], Any]) -> None:
    """A symbolic shape, or one entry of it, is an error that says what to pass instead."""
    draw = tf.function(lambda x: F.HeNormal(seed=1)(part(x)), input_signature=[tf.TensorSpec((None, 3))])
    with pytest.raises(ValueError, match=r"`shape` must be known when the graph is built\. Received: shape=") as caught:
        draw(tf.zeros((2, 3)))
    assert "Pass its static shape: `tensor.shape`, not `tf.shape(tensor)`." in str(caught.value)


@pytest.fixture(params=[2**26, 16], ids=["small", "large"])
def limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of a few elements count as small or as large for a graph's constants."""
    monkeypatch.setattr("fanin._core.tensors._LARGEST_CONSTANT", request.param)


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize("way", ["function", "jit"])
@pytest.mark.parametrize("name", ["HeNormal", "Orthogonal", "Zeros"])
def test_variables_made_in_functions(name: str, way: str) -> None:
    """`tf.Variable` of a call, or of a function that makes it, first made where TensorFlow traces or compiles."""
    made: list[Any] = []

    def add(x: Any) -> Any:
        if not made:
            made.append(tf.Variable(lambda: of(F, name)((4, 3))))
            made.append(tf.Variable(of(F, name)((4, 3))))
        return made[0] + made[1] + x

    WAYS[way](add)(tf.zeros((4, 3)))
    expected = of(fanin, name)((4, 3))
    assert_all_same(made, [expected, expected])
    made[0].assign_add(tf.ones((4, 3)))
    assert_same(made[1], expected)


@pytest.mark.parametrize("way", ["function", "jit"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_large_values_are_inputs_of_graphs(way: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What passes the limit of a graph's constants is captured; what does not is a constant. The bytes are the same."""
    monkeypatch.setattr("fanin._core.tensors._LARGEST_CONSTANT", fanin.Zeros()((4, 3), dtype).nbytes)
    for shape, captured in [((4, 3), 0), ((13, 1), 1)]:
        draw = WAYS[way](lambda shape=shape: F.HeNormal(seed=1)(shape, dtype))
        assert len(draw.get_concrete_function().captured_inputs) == captured
        assert_same(draw(), fanin.HeNormal(seed=1)(shape, dtype))


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize("name", CLASSES)
def test_graphs_of_version_1(name: str) -> None:
    """In a session of TensorFlow 1 the values are the same, of variables too."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = tf.compat.v1.get_variable("v", (4, 3), initializer=of(F, name))
        session.run(tf.compat.v1.global_variables_initializer())
        assert_all_same(session.run([variable, of(F, name)((4, 3))]), [of(fanin, name)((4, 3))] * 2)


OFFSETS = [(0, 0), (2, 0), (0, 3), (5, -1), (10**12, 7), (), (1,)]
PARTITIONS: list[dict[str, Any]] = [{"partition_shape": (2, 3), "partition_offset": each} for each in OFFSETS * 2]


@pytest.mark.parametrize("semantics", ["documented", "released"])
@pytest.mark.parametrize("name", [*RANDOM, "Zeros", "Ones", "Constant"])
def test_partitions(name: str, semantics: str) -> None:
    """Outside of a strategy, a call for a partition returns tf_keras's own bytes, as often as it is made."""
    with fanin.config.using(call_semantics=semantics):
        ours, theirs = of(F, name), of(K, name)
        for keywords in (*PARTITIONS, {"partition_shape": (3, 1)}, {"partition_offset": (4, 0)}):
            assert_same(ours((8, 6), **keywords), theirs((8, 6), **keywords))


@pytest.mark.parametrize("name", ["Identity", "Orthogonal"])
@pytest.mark.parametrize("keywords", [PARTITIONS[0], {"partition_shape": (2, 3)}, {"partition_offset": (2, 0)}])
def test_partitions_that_there_are_not(name: str, keywords: dict[str, Any]) -> None:
    """Orthogonal and Identity raise tf_keras's error."""
    messages = []
    for library in (F, K):
        with pytest.raises(ValueError, match="doesn't support partition-related arguments") as caught:
            of(library, name)((8, 6), **keywords)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


# Layers and models


@pytest.mark.parametrize("name", CLASSES)
def test_the_documented_example(name: str) -> None:
    """`Dense(3, kernel_initializer=initializer)`: tf_keras's kernel, bit for bit; so with the lower-case name."""
    initializer = of(F, name)
    layer = L.Dense(3, kernel_initializer=initializer)
    layer(tf.zeros((1, 4)))
    assert layer.kernel_initializer is initializer
    assert_same(layer.kernel, kernel_of(of(K, name)), name)
    shortcut = "".join("_" * (letter.isupper() and at > 0) + letter.lower() for at, letter in enumerate(name))
    assert getattr(F, shortcut) is getattr(F, name)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", LAYERS)
def test_layers(kind: str, way: str) -> None:
    """All weights of a layer are those of tf_keras's own classes, first built eagerly, in a graph, or compiled."""
    ours = weights_of(layer_with(F, kind), kind, way)
    assert ours
    assert_all_same(ours, weights_of(layer_with(K, kind), kind))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("kind", ["Dense", "Conv2D", "LSTM", "MultiHeadAttention"])
def test_precision_policies(kind: str, policy: str) -> None:
    """Mixed precision, and layers wholly in another dtype, have tf_keras's weights in tf_keras's dtype."""
    ours, theirs = (layer_with(library, kind, dtype=tf_keras.mixed_precision.Policy(policy)) for library in (F, K))
    theirs = weights_of(theirs, kind)
    assert theirs[0].dtype.name == ("float32" if "mixed" in policy else policy)
    assert_all_same(weights_of(ours, kind), theirs)


@pytest.mark.parametrize("way", WAYS)
def test_plain_classes_of_fanin(way: str) -> None:
    """`fanin`'s own classes make kernels where tf_keras takes arrays; biases of LSTMs take the module's."""
    kernel, bias = of(fanin, "GlorotUniform"), of(fanin, "RandomNormal")
    ours = weights_of(L.Dense(3, kernel_initializer=kernel, bias_initializer=bias), "Dense", way)
    assert_all_same(ours, weights_of(layer_with(K, "Dense"), "Dense"))
    cell = layer_with(fanin, "LSTM", bias_initializer=F.as_tf_keras(bias))
    assert_same(weights_of(cell, "LSTM", way)[2], np.concatenate([bias((3,)), np.ones(3, "f4"), bias((6,))]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", MODELS)
def test_models(kind: str, way: str) -> None:
    """Models of every kind have tf_keras's weights, wherever they are first called."""
    ours, theirs = MODELS[kind](F), MODELS[kind](K)
    WAYS[way](lambda x: ours(x))(tf.ones((1, 5, 2)))
    theirs(tf.ones((1, 5, 2)))
    assert len(ours.weights) == 7
    assert_all_same(ours.get_weights(), theirs.get_weights())


@pytest.mark.parametrize("name", RANDOM)
def test_one_initializer_for_two_layers(name: str) -> None:
    """The second layer gets the second call: new values where the documentation says so, tf_keras's in "released"."""
    plain, shared = of(fanin, name), of(F, name)
    assert_all_same([kernel_of(shared) for _ in range(3)], [plain((4, 3)) for _ in range(3)])
    with fanin.config.using(call_semantics="released"):
        shared, theirs = of(F, name), of(K, name)
        assert_all_same([kernel_of(shared) for _ in range(2)], [kernel_of(theirs) for _ in range(2)])


# The classes as objects


@pytest.mark.parametrize("name", CLASSES)
def test_classes_stand_for_tf_keras_own(name: str) -> None:
    """They are subclasses of tf_keras's class, with its signature, attributes and configuration."""

    def described(function: Any) -> list[tuple[str, Any]]:
        parameters = inspect.signature(function).parameters.values()
        return [(each.name, each.default) for each in parameters if each.kind is not each.KEYWORD_ONLY]

    ours, theirs = of(F, name), of(K, name)
    assert isinstance(ours, type(theirs))
    assert (type(ours).__name__, type(ours).__module__) == (name, "fanin.tf_keras")
    assert described(type(ours)) == described(type(theirs))
    assert described(ours.__call__) == described(theirs.__call__)
    for attribute, value in vars(theirs).items():
        assert attribute.startswith("_") or getattr(ours, attribute) == value
    assert repr(ours.get_config()) == repr(theirs.get_config())
    for each in (type(ours).from_config(theirs.get_config()), F.get(K.serialize(theirs)), F.get(of(fanin, name))):
        assert type(each) is type(F.get(name)) is type(ours)
        assert each == ours


@pytest.mark.parametrize("name", [*CLASSES, "Bounded", "spawned"])
def test_copies(name: str) -> None:
    """Copies, pickled or not, are equal, describe themselves alike, and go on where the original is."""
    made = {"Bounded": Bounded(0.5, seed=3), "spawned": fanin.HeNormal(seed=1).spawn("encoder/kernel")}
    original = F.as_tf_keras(made[name]) if name in made else of(F, name)
    plain = copy.copy(original.source)
    assert repr(original) == f"fanin.tf_keras.{plain!r}"
    for _ in range(2):
        copies = [copy.copy(original), copy.deepcopy(original), pickle.loads(pickle.dumps(original))]
        assert_all_same([each((4, 3)) for each in (original, *copies)], [plain((4, 3))] * 4)
        for each in copies:
            assert type(each) is type(original)
            assert each == original
            assert hash(each) == hash(original)
            assert (repr(each), each.get_config()) == (repr(original), original.get_config())


def test_equality() -> None:
    """Class and configuration decide; an unseeded initializer, and one of another library, equals only itself."""
    one, unseeded = F.HeNormal(seed=1), F.RandomNormal()
    assert one == F.he_normal(1)
    for other in (F.HeNormal(seed=2), F.HeUniform(seed=1), fanin.HeNormal(seed=1), K.HeNormal(seed=1), F.HeNormal(), 1):
        assert one != other
    assert unseeded == unseeded
    assert unseeded not in (F.RandomNormal(), copy.copy(unseeded))
    assert len({one, F.HeNormal(seed=1), F.HeNormal(seed=2), unseeded}) == 3


def test_as_tf_keras_of_instances() -> None:
    """An instance is copied, with its seed and count of calls; a spawned one keeps the seed that it has got."""
    plain = fanin.GlorotNormal(seed=4)
    plain((2, 2))
    ours = F.as_tf_keras(plain)
    assert type(ours) is F.GlorotNormal
    assert_same(kernel_of(ours), plain((4, 3)))
    spawned: Any = fanin.HeNormal(seed=1).spawn("encoder/kernel")
    for wrapped in (F.as_tf_keras(spawned), F.as_tf_keras(F.as_tf_keras(spawned)), F.get(spawned)):
        assert wrapped.seed == wrapped.get_config()["seed"] == spawned.seed
        assert_same(kernel_of(wrapped), kernel_of(K.HeNormal(spawned.seed)))


@pytest.mark.parametrize("other", [None, 3, "he_normal", {}, int, K.HeNormal, K.HeNormal(seed=1), lambda shape: shape])
def test_as_tf_keras_of_other_things(other: Any) -> None:
    """What is no initializer of fanin is a TypeError that shows it."""
    with pytest.raises(TypeError, match="must be a fanin initializer"):
        F.as_tf_keras(other)


NAMES_TAKEN = ["Dense", "HeNormal", "Adam", "he_normal", "Sequential", "Functional", "HeNormalV2", "one", "uniform"]


@pytest.mark.parametrize("name", NAMES_TAKEN)
def test_own_classes_with_names_of_tf_keras(name: str) -> None:
    """Names that files have for tf_keras's own things are refused: layers, classes, and initializers' other names."""
    try:
        with pytest.raises(ValueError, match=rf"Received: a class named '{name}'\. Rename it\."):
            F.as_tf_keras(type(name, (fanin.Zeros,), {}))
    finally:
        left = tf_keras.saving.get_custom_objects().pop(name, None)
    assert left is None
