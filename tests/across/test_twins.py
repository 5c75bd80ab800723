"""The same model in Keras, PyTorch and flax, from one recipe: equal weights, equal outputs."""

import functools
import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import fanin
from recipe_kit import met

tf, tf_keras, keras, torch, jax = map(pytest.importorskip, ("tensorflow", "tf_keras", "keras", "torch", "jax"))
nn, nnx = pytest.importorskip("flax.linen"), pytest.importorskip("flax.nnx")
for module in ("fanin.jax", "fanin.keras", "fanin.tf_keras", "fanin.torch"):
    importlib.import_module(module)

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the frameworks
RECIPE = fanin.Recipe.preset("keras", seed=7)
RANDOM = np.random.default_rng(1)
IMAGES = RANDOM.standard_normal((2, 8, 8, 3), np.float32)
VECTORS = RANDOM.standard_normal((2, 5, 6), np.float32)
TOKENS = RANDOM.integers(0, 11, (2, 5))
WIDTH, HEADS, BLOCKS = 8, 2, 2


@pytest.fixture(autouse=True)
def _one_device() -> Iterator[None]:
    """Without TensorFloat or anything else that rounds more coarsely."""
    with jax.default_matmul_precision("highest"):
        yield


# Keras: the package is tf_keras or keras


def keras_mlp(package: Any) -> Any:
    """Two dense layers."""
    layers = package.layers
    return package.Sequential(
        [layers.InputLayer((6,)), layers.Dense(16, "relu", name="fc1"), layers.Dense(4, name="fc2")]
    )


def keras_cnn(package: Any) -> Any:
    """A convolution, a depthwise one, a norm, a transposed convolution and a classifier."""
    layers = package.layers
    return package.Sequential(
        [
            layers.InputLayer((8, 8, 3)),
            layers.Conv2D(8, 3, activation="relu", name="conv"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.BatchNormalization(name="norm", epsilon=1e-5),
            layers.Conv2DTranspose(5, 2, strides=2, name="up"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, name="fc"),
        ]
    )


def keras_lstm(package: Any) -> Any:
    """An LSTM and a classifier of its last output."""
    layers = package.layers
    return package.Sequential([layers.InputLayer((5, 6)), layers.LSTM(7, name="lstm"), layers.Dense(4, name="fc")])


def keras_transformer(package: Any) -> Any:
    """Embeddings and blocks of attention and two dense layers."""
    layers = package.layers
    inputs = package.Input((5,), dtype="int32")
    x = layers.Embedding(11, WIDTH, name="tokens")(inputs)
    for number in range(BLOCKS):
        normed = layers.LayerNormalization(epsilon=1e-5, name=f"block_{number}_norm1")(x)
        x = x + layers.MultiHeadAttention(HEADS, WIDTH // HEADS, name=f"block_{number}_attn")(normed, normed)
        normed = layers.LayerNormalization(epsilon=1e-5, name=f"block_{number}_norm2")(x)
        hidden = layers.Dense(16, "relu", name=f"block_{number}_fc1")(normed)
        x = x + layers.Dense(WIDTH, name=f"block_{number}_fc2")(hidden)
    return package.Model(inputs, layers.Dense(11, name="head")(x))


# PyTorch


class TorchMlp(torch.nn.Module):
    """Two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(6, 16), torch.nn.Linear(16, 4)

    def forward(self, x: Any) -> Any:
        """Logits."""
        return self.fc2(torch.relu(self.fc1(x)))


class TorchCnn(torch.nn.Module):
    """The convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3)
        self.depthwise = torch.nn.Conv2d(8, 8, 3, groups=8)
        self.norm = torch.nn.BatchNorm2d(8, eps=1e-5)
        self.up = torch.nn.ConvTranspose2d(8, 5, 2, stride=2)
        self.fc = torch.nn.Linear(5, 4)

    def forward(self, x: Any) -> Any:
        """Logits."""
        x = self.norm(self.depthwise(torch.relu(self.conv(x.permute(0, 3, 1, 2)))))
        return self.fc(self.up(x).mean((2, 3)))


class TorchLstm(torch.nn.Module):
    """The LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = torch.nn.LSTM(6, 7, batch_first=True), torch.nn.Linear(7, 4)

    def forward(self, x: Any) -> Any:
        """Logits of the last output."""
        return self.fc(self.lstm(x)[0][:, -1])


class TorchTransformer(torch.nn.Module):
    """The transformer, with queries, keys and values in one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = torch.nn.Embedding(11, WIDTH)
        for number in range(BLOCKS):
            self.add_module(f"block_{number}_norm1", torch.nn.LayerNorm(WIDTH))
            self.add_module(f"block_{number}_attn", torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True))
            self.add_module(f"block_{number}_norm2", torch.nn.LayerNorm(WIDTH))
            self.add_module(f"block_{number}_fc1", torch.nn.Linear(WIDTH, 16))
            self.add_module(f"block_{number}_fc2", torch.nn.Linear(16, WIDTH))
        self.head = torch.nn.Linear(WIDTH, 11)

    def forward(self, x: Any) -> Any:
        """Logits."""
        x = self.tokens(x)
        for number in range(BLOCKS):
            norm1, attn, norm2, fc1, fc2 = (
                self.get_submodule(f"block_{number}_{name}") for name in ("norm1", "attn", "norm2", "fc1", "fc2")
            )
            normed = norm1(x)
            x = x + attn(normed, normed, normed, need_weights=False)[0]
            x = x + fc2(torch.relu(fc1(norm2(x))))
        return self.head(x)


# flax


class FlaxMlp(nn.Module):
    """Two dense layers."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.Dense(4, name="fc2")(nn.relu(nn.Dense(16, name="fc1")(x)))


class FlaxCnn(nn.Module):
    """The convolutions."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.relu(nn.Conv(8, (3, 3), padding="VALID", name="conv")(x))
        x = nn.Conv(8, (3, 3), padding="VALID", feature_group_count=8, name="depthwise")(x)
        x = nn.BatchNorm(use_running_average=True, epsilon=1e-5, name="norm")(x)
        x = nn.ConvTranspose(5, (2, 2), (2, 2), padding="VALID", transpose_kernel=True, name="up")(x)
        return nn.Dense(4, name="fc")(x.mean((1, 2)))


class FlaxLstm(nn.Module):
    """The LSTM, whose gates are layers of their own."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.Dense(4, name="fc")(nn.RNN(nn.OptimizedLSTMCell(7, name="lstm"))(x)[:, -1])


class FlaxTransformer(nn.Module):
    """The transformer."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Embed(11, WIDTH, name="tokens")(x)
        for number in range(BLOCKS):
            block = f"block_{number}_"
            normed = nn.LayerNorm(epsilon=1e-5, name=block + "norm1")(x)
            x = x + nn.MultiHeadDotProductAttention(HEADS, name=block + "attn")(normed)
            normed = nn.LayerNorm(epsilon=1e-5, name=block + "norm2")(x)
            x = x + nn.Dense(WIDTH, name=block + "fc2")(nn.relu(nn.Dense(16, name=block + "fc1")(normed)))
        return nn.Dense(11, name="head")(x)


class NnxLstm(nnx.Module):
    """The LSTM, whose gates are one kernel."""

    def __init__(self, rngs: Any) -> None:
        self.lstm, self.fc = nnx.OptimizedLSTMCell(6, 7, rngs=rngs), nnx.Linear(7, 4, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.fc(nnx.RNN(self.lstm)(x)[:, -1])


class NnxMlp(nnx.Module):
    """Two dense layers."""

    def __init__(self, rngs: Any) -> None:
        self.fc1, self.fc2 = nnx.Linear(6, 16, rngs=rngs), nnx.Linear(16, 4, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.fc2(nnx.relu(self.fc1(x)))


# Keras's names are the names under which all are drawn.
TORCH_NAMES = {
    "lstm.weight_ih_l0": "lstm.lstm_cell.kernel",
    "lstm.weight_hh_l0": "lstm.lstm_cell.recurrent_kernel",
    "tokens.weight": "tokens.embeddings",
    "*.in_proj_weight[*]": "*.*.kernel",
    "*.out_proj.weight": "*.attention_output.kernel",
    "*.weight": "*.kernel",
}
FLAX_NAMES = {
    "lstm.dense_i.kernel": "lstm.lstm_cell.kernel",
    "lstm.dense_h.kernel": "lstm.lstm_cell.recurrent_kernel",
    "lstm.*": "lstm.lstm_cell.*",
    "tokens.embedding": "tokens.embeddings",
    "*_attn.out.*": "*_attn.attention_output.*",
}
MODELS: dict[str, tuple[Callable[[Any], Any], type, list[type], np.ndarray]] = {
    "MLP": (keras_mlp, TorchMlp, [FlaxMlp, NnxMlp], VECTORS[:, 0]),
    "CNN": (keras_cnn, TorchCnn, [FlaxCnn], IMAGES),
    "LSTM": (keras_lstm, TorchLstm, [FlaxLstm, NnxLstm], VECTORS),
    "transformer": (keras_transformer, TorchTransformer, [FlaxTransformer], TOKENS),
}


def in_keras(model: Any, package: Any, inputs: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The weights by name and the output of a Keras model."""
    report = package.initialize(model, RECIPE)
    weights = {}
    for entry in report.plan.entries:
        (found,) = [each for each in model.weights if path_of(each) == entry.path]
        weights[entry.name] = np.asarray(found).copy()
    return weights, np.asarray(model(inputs))


def path_of(variable: Any) -> str:
    """A variable's path, as fanin has it."""
    path = getattr(variable, "path", variable.name).partition(":")[0].replace("/", ".")
    return path.partition(".")[2] if path.startswith("sequential") else path


def in_torch(model: Any, inputs: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The same of a module, weights in Keras's order of axes and blocks of fused ones apart."""
    report = fanin.torch.initialize(model, RECIPE, names=met(TORCH_NAMES, model))
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    weights = {}
    for entry in report.plan.entries:
        kernel = tensors[entry.path].detach().numpy().transpose(entry.parameter.kernel_axes)
        for placement in entry.placements:
            weights[placement.name] = kernel[tuple(slice(*bounds) for bounds in placement.target)]
        if entry.name.endswith("in_proj_bias") or entry.path == "depthwise.bias":
            weights[entry.name] = kernel
        elif "lstm.bias" in entry.path:
            weights[entry.path] = kernel
    model.eval()
    with torch.no_grad():
        return weights, model(torch.from_numpy(inputs)).numpy()


def in_flax(kind: Any, inputs: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The same of a module of flax; the parts of one tensor are put together."""
    weights: dict[str, np.ndarray] = {}
    if issubclass(kind, nnx.Module):
        abstract = nnx.eval_shape(lambda: kind(nnx.Rngs(0)))
        made, report = fanin.jax.initialize(abstract, RECIPE, names=met(FLAX_NAMES, abstract))
        values = {".".join(map(str, path)): np.asarray(each) for path, each in nnx.to_flat_state(nnx.state(made))}
        output = made(inputs)
    else:
        model = kind()
        described = fanin.jax.layers_of(model, inputs)
        made, report = fanin.jax.initialize(described, RECIPE, names=met(FLAX_NAMES, described))
        leaves = jax.tree_util.tree_leaves_with_path(made)
        values = {jax.tree_util.keystr(path[1:], simple=True, separator="."): np.asarray(each) for path, each in leaves}
        output = model.apply(made, inputs)
    parts: dict[str, dict[str, np.ndarray]] = {}
    for entry in report.plan.entries:
        part = entry.parameter.traits.part
        if part is None:
            weights[entry.name] = values[entry.path]
        else:
            parts.setdefault(entry.name, {})[part.block] = values[entry.path]
    for name, blocks in parts.items():
        weights[name] = np.concatenate([blocks[gate] for gate in ("input", "forget", "cell", "output")], -1)
    return weights, np.asarray(output)


Twin = Callable[[str], tuple[dict[str, np.ndarray], np.ndarray]]
TWINS: dict[str, Twin] = {
    "Keras 3": lambda name: in_keras(MODELS[name][0](keras), fanin.keras, MODELS[name][3]),
    "PyTorch": lambda name: in_torch(MODELS[name][1](), MODELS[name][3]),
    "linen": lambda name: in_flax(MODELS[name][2][0], MODELS[name][3]),
    "nnx": lambda name: in_flax(MODELS[name][2][1], MODELS[name][3]),
}
DRAWN = {"MLP": 2, "CNN": 4, "LSTM": 3, "transformer": 14}  # so many of tf_keras's weights


def same(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two weights are equal, byte by byte in C order, whatever the axes that are one elsewhere."""
    return np.ascontiguousarray(first).tobytes() == np.ascontiguousarray(second).tobytes()


@functools.cache
def original(name: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The weights and the output of tf_keras's model."""
    return in_keras(MODELS[name][0](tf_keras), fanin.tf_keras, MODELS[name][3])


@pytest.mark.parametrize(
    ("name", "twin"), [(name, twin) for name in MODELS for twin in TWINS if twin != "nnx" or len(MODELS[name][2]) > 1]
)
def test_twins(name: str, twin: str) -> None:
    """Every weight that is drawn is the same in tf_keras, Keras 3, PyTorch and flax, and so are the outputs."""
    expected, output = original(name)
    drawn = {path for path, value in expected.items() if np.unique(value).size > 2}
    assert len(drawn) == DRAWN[name]
    weights, result = TWINS[twin](name)
    assert drawn <= set(weights), drawn - set(weights)
    for path in drawn:
        assert same(expected[path], weights[path]), path
    assert np.abs(result - output).max() < 3e-6


FORGETFUL: dict[str, tuple[str, tuple[str, ...]]] = {
    "Keras 3": ("lstm.lstm_cell.bias", ()),
    "PyTorch": ("lstm.bias_ih_l0", ("lstm.bias_hh_l0",)),  # two biases, which are added
    "linen": ("lstm.lstm_cell.bias", ()),
    "nnx": ("lstm.lstm_cell.dense_h.bias", ()),
}


@pytest.mark.parametrize("twin", FORGETFUL)
def test_forget_gates(twin: str) -> None:
    """The LSTMs' biases are Keras's in each: ones for the forget gate."""
    bias = original("LSTM")[0]["lstm.lstm_cell.bias"]
    assert bias.tolist() == [0] * 7 + [1] * 7 + [0] * 14
    path, zeros = FORGETFUL[twin]
    weights, _ = TWINS[twin]("LSTM")
    assert same(bias, weights[path])
    assert not any(weights[other].any() for other in zeros)


def test_twins_in_training_too() -> None:
    """One step of gradient descent leaves the twins where they were: next to each other."""
    model, twin = keras_mlp(tf_keras), TorchMlp()
    fanin.tf_keras.initialize(model, RECIPE)
    fanin.torch.initialize(twin, RECIPE, names=met(TORCH_NAMES, twin))
    inputs = VECTORS[:, 0]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(inputs) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    (twin(torch.from_numpy(inputs)) ** 2).sum().backward()
    assert twin.fc1.weight.grad is not None
    assert np.abs(twin.fc1.weight.grad.numpy().T - gradients[0].numpy()).max() < 1e-4
