"""`fanin.compare`: simulated networks against PyTorch's autograd, and against theory."""

import json
import math
from typing import Any

import numpy as np
import pytest

import fanin
from fanin.theory import activation, blocks, simulation

NAMES = ["plain", "layer_norm", "rms_norm", "batch_norm", "residual", "residual_scaled", "pre_norm", "post_norm"]
# Batch normalization's theory is that of infinite batches.
OF_THEORY = [name for name in blocks.BLOCKS if name != "batch_norm"]


def network(block: str, name: str = "gelu", depth: int = 3, width: int = 8, batch: int = 5) -> simulation.Network:
    """A small network in double precision, with biases."""
    return simulation.Network(
        blocks.BLOCKS[block], activation(name), depth, width, batch, np.dtype("float64"), 3, bias_stddev=0.2
    )


def by_torch(torch: Any, made: simulation.Network) -> tuple[list[float], list[float]]:
    """The mean squares of signals and of gradients of the first network, by PyTorch's layers and autograd."""
    functional = torch.nn.functional
    kernels, normal = fanin.HeNormal(seed=3), fanin.RandomNormal(0.0, 1.0, 3)

    def drawn(initializer: Any, name: str, *shape: int) -> Any:
        return torch.tensor(initializer.spawn(f"network 0/{name}")(shape, "float64"))

    def stepped(step: blocks.Step, x: Any, name: str) -> Any:
        if isinstance(step, blocks.Dense):
            kernel = drawn(kernels, f"{name}/kernel", step.inputs * made.width, step.outputs * made.width)
            return x @ kernel + 0.2 * drawn(normal, f"{name}/bias", kernel.shape[1])
        if isinstance(step, blocks.Activate):
            return functional.gelu(x)
        if step.kind == "batch":
            return functional.batch_norm(x, None, None, training=True, eps=1e-30)
        norm = functional.rms_norm if step.kind == "rms" else functional.layer_norm
        return norm(x, x.shape[-1:], eps=0.0)

    signals = [drawn(normal, "inputs", made.batch, made.width).requires_grad_()]
    for level in range(made.depth):
        branch = signals[-1]
        for place, step in enumerate(made.block.steps):
            branch = stepped(step, branch, f"block {level}/step {place}")
        if made.block.is_residual:
            branch = signals[-1] + made.block.branch_scale(made.depth) * branch
        for place, step in enumerate(made.block.after):
            branch = stepped(step, branch, f"block {level}/after {place}")
        signals.append(branch)
    cotangent = drawn(normal, "cotangents", made.batch, made.width)
    gradients = torch.autograd.grad(signals[-1], signals, cotangent)
    size = (cotangent**2).mean()
    squares = [float((each.detach() ** 2).mean()) for each in signals]
    return squares, [float((each**2).mean() / size) for each in gradients]


@pytest.mark.parametrize("block", NAMES)
def test_simulations_are_pytorchs(block: str) -> None:
    """Forward and backward, each number is that of PyTorch's layers and autograd with the same weights."""
    torch = pytest.importorskip("torch")
    made = network(block)
    signals, _, gradients = made.run(fanin.HeNormal(), 1.0, 0)
    expected = by_torch(torch, made)
    np.testing.assert_allclose(signals, expected[0], rtol=1e-9)
    np.testing.assert_allclose(gradients, expected[1], rtol=1e-9)


@pytest.mark.parametrize("block", OF_THEORY)
@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_simulations_agree_with_theory(block: str, name: str) -> None:
    """Wide networks are within four standard errors of theory, and a few percent for their finite width."""
    width, networks = (512, 8) if blocks.BLOCKS[block].widest == 1 else (192, 6)
    report = fanin.compare("he_normal", name, 4, width, block=block, networks=networks)
    [row] = report.rows
    assert row.theory is not None
    assert row.simulation is not None
    for part in ("signal", "preactivations", "gradient"):
        means, errors, theory = (
            np.array(getattr(each, part)) for each in (row.simulation.mean, row.simulation.error, row.theory)
        )
        assert (np.abs(means - theory) < 4 * errors + 0.02 * theory).all(), part


def test_batch_normalization() -> None:
    """Its gradient grows by π / (π - 1) a layer of ReLU, in size squared (Yang et al., 2019)."""
    report = fanin.compare("he_normal", "relu", 6, 64, block="batch_norm", simulate=False)
    gradient = report["he_normal"].theory.gradient  # pyright: ignore
    assert math.isclose(gradient[1] / gradient[2], math.pi / (math.pi - 1), rel_tol=1e-9)
    simulated = fanin.compare("he_normal", "relu", 4, 256, block="batch_norm", networks=4, batch=512)
    mean = simulated["he_normal"].simulation.mean  # pyright: ignore
    np.testing.assert_allclose(mean.gradient, simulated["he_normal"].theory.gradient, rtol=0.1)  # pyright: ignore


def test_sentences() -> None:
    """He suits ReLU; Glorot's weights are too small, and those of twice He's spread too large."""
    report = fanin.compare(["he_normal", "glorot_uniform", ("he_normal", 2)], simulate=False)
    assert [row.sentence for row in report.rows] == [
        "he_normal: keeps its size (× 1.00 a layer)",
        "glorot_uniform: vanishes (× 0.71 a layer)",
        "he_normal × 2: explodes (× 2.00 a layer)",
    ]
    assert [row.is_good for row in report.rows] == [True, False, False]
    assert report.critical_stddev == pytest.approx(math.sqrt(2))
    sigmoid = fanin.compare("glorot_uniform", "sigmoid", simulate=False).rows[0]
    assert sigmoid.verdict == "signal keeps its size (× 0.98 a layer), gradient vanishes (× 0.24 a layer)"


def test_extremes_have_no_warnings() -> None:
    """What explodes is infinite, what dies is zero, and a network of one unit is one; warnings are errors here."""
    report = fanin.compare([("he_normal", 1e9), ("he_normal", 1e-9), "ones", "zeros"], "gelu", 20, 8, networks=2)
    explodes, vanishes, ones, zeros = report.rows
    assert explodes.simulation.mean.signal[-1] == explodes.theory.signal[-1] == math.inf  # pyright: ignore
    assert vanishes.words == zeros.words == "vanishes"
    assert ones.theory is None
    assert ones.weight_stddev is None
    json.dumps(report.as_dict(), allow_nan=False)
    assert "inf" in str(report)
    single = fanin.compare("he_normal", depth=1, width=1, batch=1, networks=1)
    assert "he_normal" in str(single)
    json.dumps(single.as_dict(), allow_nan=False)


def test_orthogonal_weights() -> None:
    """Weights that are not independent: theory has their second moment, and linear networks of them are exact."""
    row = fanin.compare(fanin.Orthogonal(), "linear", 20, 32, networks=2, dtype="float64").rows[0]
    np.testing.assert_allclose(row.theory.signal, 1.0)  # pyright: ignore
    mean = row.simulation.mean  # pyright: ignore
    np.testing.assert_allclose(mean.signal, mean.signal[0], rtol=1e-12)
    np.testing.assert_allclose(mean.gradient, 1.0, rtol=1e-12)


def test_functions_of_ones_own() -> None:
    """A module of PyTorch is simulated as the name is."""
    torch = pytest.importorskip("torch")
    ours = fanin.compare("he_normal", "silu", 3, 16, networks=2, dtype="float64").rows[0]
    theirs = fanin.compare("he_normal", torch.nn.SiLU(), 3, 16, networks=2, dtype="float64").rows[0]
    for part in ("signal", "preactivations", "gradient"):
        of_ours, of_theirs = (getattr(each.simulation.mean, part) for each in (ours, theirs))  # pyright: ignore
        np.testing.assert_allclose(of_theirs, of_ours, rtol=1e-9)
        np.testing.assert_allclose(getattr(theirs.theory, part), getattr(ours.theory, part), rtol=1e-9)


def test_initializers_of_ones_own() -> None:
    """A class that only draws is simulated; theory knows nothing of it."""

    class Mine(fanin.Initializer):
        """Weights by code."""

        def __call__(self, shape: Any, dtype: Any = None, **keywords: Any) -> Any:
            """All of them small."""
            return np.full(shape, 0.01, dtype)

    row = fanin.compare(Mine(), "tanh", 2, 8, networks=2).rows[0]
    assert row.theory is None
    assert row.words == "vanishes"


def test_the_seed_decides() -> None:
    """Equal seeds give equal networks; the initializer's own seed does not matter."""
    one, same, other = (
        fanin.compare(fanin.HeNormal(seed=own), depth=3, width=8, seed=seed, networks=2).rows[0].simulation
        for own, seed in ((1, 5), (2, 5), (1, 6))
    )
    assert one == same != other


def test_names_tell_apart() -> None:
    """Equal names are numbered; `report[name]` finds a row, and says which there are."""
    report = fanin.compare(["zeros", "zeros", fanin.RandomNormal(0.0, 0.1)], depth=1, width=4, simulate=False)
    assert [row.name for row in report.rows] == ["zeros", "zeros (2)", "RandomNormal(mean=0, stddev=0.1)"]
    assert report["zeros (2)"] is report.rows[1]
    with pytest.raises(KeyError, match=r"Known names: zeros, zeros \(2\)"):
        report["ones"]


KEYS = [
    "activation", "batch", "bias_stddev", "block", "critical_stddev", "depth", "dtype", "networks", "rows", "seed",
    "unit_gain", "width",
]  # fmt: skip
ROW_KEYS = [
    "gain", "gradient_change", "gradient_factor", "initializer", "name", "ok", "signal_change", "signal_factor",
    "simulation", "theory", "verdict", "weight_stddev",
]  # fmt: skip


def test_the_gain_is_of_preactivations() -> None:
    """With inputs of size 1 that went through no activation, GELU's gain lets the signal grow: no more is claimed."""
    gain = 1.5335 / math.sqrt(2)
    report = fanin.compare([("he_normal", gain)], "gelu", depth=50, simulate=False)
    assert report.rows[0].sentence.startswith(f"he_normal × {gain:g}: grows")
    assert "pre-activations of size 1 give such of size 1 (it may be unstable): 1.534" in str(report)


def test_data() -> None:
    """The keys of the data are stable."""
    data = fanin.compare("he_normal", depth=2, width=4, networks=2).as_dict()
    assert sorted(data) == KEYS
    assert sorted(data["rows"][0]) == ROW_KEYS
    assert sorted(data["rows"][0]["theory"]) == ["gradient", "preactivations", "signal"]
    assert len(data["rows"][0]["simulation"]["mean"]["signal"]) == 3


def test_shown() -> None:
    """As text within a width, as HTML, and as a figure."""
    report = fanin.compare(["he_normal", "glorot_uniform"], depth=3, width=16, networks=2)
    lines = report.table().text(70).splitlines()
    assert max(map(len, [line for line in lines if line.startswith(("he_", "glorot"))])) <= 70
    assert "<table>" in report._repr_html_()
    pytest.importorskip("matplotlib")
    assert len(report.plot().axes) == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"initializers": "he_norml"}, ValueError, "Unknown initializer: 'he_norml'."),
        ({"initializers": []}, ValueError, "`initializers` must not be empty."),
        ({"initializers": [("he_normal", 1, 2)]}, ValueError, "may have one gain. Received: ('he_normal', 1, 2)."),
        ({"initializers": [("he_normal", math.nan)]}, ValueError, "`gain` must be finite."),
        ({"initializers": "complex_he"}, ValueError, "complex_he cannot make weights of shape (256, 256): "),
        ({"activation": "geluu"}, ValueError, "Did you mean 'gelu'?"),
        ({"initializers": None}, TypeError, "must be names, initializers or pairs of one and a gain. Received: None."),
        ({"depth": 0}, ValueError, "`depth` must be from 1 to 10,000. Received: depth=0."),
        ({"depth": 2.5}, TypeError, "`depth` must be a whole number. Received: depth=2.5 (of type float)."),
        ({"width": True}, ValueError, "`width` must be from 1"),
        ({"width": 100_000}, ValueError, "A simulated network must fit into 2 GiB. Received: depth=30, width=100000"),
        ({"block": "residul"}, ValueError, "Did you mean 'residual'?"),
        ({"dtype": "float16"}, ValueError, '`dtype` must be "float32" or "float64". Received: dtype=\'float16\'.'),
        ({"bias_stddev": -1}, ValueError, "`bias_stddev` must not be negative. Received: bias_stddev=-1."),
        ({"block": "batch_norm", "batch": 1}, ValueError, "needs a batch of 2 at least. Received: batch=1."),
    ],
)
def test_errors(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """Each says the rule and what came, before anything is drawn."""
    with pytest.raises(error) as caught:
        fanin.compare(**{"initializers": "he_normal", **arguments})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((blocks.Normalize(),), "A block must have a dense layer."),
        ((blocks.Dense(2, 1),), "A dense layer must have the inputs that come to it."),
        ((blocks.Dense(1, 2),), "A block must end as wide as it begins. Received: a width of 2."),
        ((blocks.Dense(), blocks.Activate(), blocks.Activate()), "An activation must come after a dense layer"),
    ],
)
def test_blocks_that_make_no_sense(steps: tuple[blocks.Step, ...], message: str) -> None:
    """A block of one's own is checked when it is made."""
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        blocks.Block("mine", steps)


def test_a_block_of_ones_own() -> None:
    """Two dense layers in a branch, in theory and simulated."""
    own = blocks.Block(
        "mine", (blocks.Activate(), blocks.Dense(1, 2), blocks.Activate(), blocks.Dense(2, 1)), True, 0.5
    )
    row = fanin.compare("he_normal", "relu", 3, 256, block=own, networks=4).rows[0]
    assert row.theory is not None
    np.testing.assert_allclose(row.theory.signal, [1.25**level for level in range(4)], rtol=1e-5)
    np.testing.assert_allclose(row.simulation.mean.signal, row.theory.signal, rtol=0.2)  # pyright: ignore


def test_what_grows_exponentially() -> None:
    """Means whose squares are too large for doubles are infinite, and no error."""
    (row,) = fanin.compare("he_normal", "exponential", depth=10, simulate=False).rows
    assert row.sentence == "he_normal: explodes (signal × 5.1e+23, gradient × inf a layer)"


@pytest.mark.parametrize(("gain", "change"), [(2, "explodes (× 2.00 a layer)"), (0.5, "vanishes (× 0.50 a layer)")])
def test_sizes_beyond_the_range_of_floats(gain: float, change: str) -> None:
    """The factor is that of the layers before, though the size at the end is infinite or zero."""
    (row,) = fanin.compare([("he_normal", gain)], depth=1200, simulate=False).rows
    assert row.theory is not None
    assert row.theory.signal[-1] in (0, math.inf)
    assert row.verdict == change
