"""Two initializations compared: what is the same is never called different, and what differs is named."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fanin
from fanin.audits.arrays import InMemory
from fanin.audits.comparing.comparison import compare_checkpoints
from fanin.audits.comparing.differences import Differences, TensorDifference
from fanin.audits.comparing.renames import Renames
from fanin.audits.comparing.twosample import contrasts, resolution
from fanin.audits.statistics import measure, measured
from fanin.checkpoints import CheckpointError

DRAWS = {
    "normal": fanin.RandomNormal(stddev=0.02, seed=1),
    "uniform": fanin.RandomUniform(-0.1, 0.1, seed=1),
    "truncated": fanin.TruncatedNormal(stddev=0.02, seed=1),
    "orthogonal": fanin.Orthogonal(seed=1),
}


def drawn(initializer: Any, seed: int, shape: tuple[int, ...] = (96, 128), dtype: str = "float32") -> np.ndarray:
    """An array of an initializer's law, by another seed."""
    return type(initializer).from_config({**initializer.get_config(), "seed": seed})(shape, dtype)


def only(a: Any, b: Any) -> TensorDifference:
    """How two arrays relate."""
    (found,) = compare_checkpoints({"w": a}, {"w": b}).tensors
    return found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64", "int8", "bool", "float8_e4m3fn"])
def test_equal_bytes(dtype: str) -> None:
    """Of every kind of dtype."""
    array = (40 * np.random.default_rng(1).normal(size=(20, 30))).astype(fanin.Zeros()((1,), dtype).dtype)
    found = only(array, array.copy())
    assert (found.relation, found.reason, found.differs) == ("equal", "", ())


def test_one_bit() -> None:
    """A single bit makes the bytes other ones, though the distribution stays."""
    array = drawn(DRAWS["normal"], 1)
    other = array.copy()
    other.view("u4")[3, 4] ^= 1
    assert only(array, other).relation == "same-distribution"


def test_fingerprints_are_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors whose fingerprints are the same by chance are compared byte by byte."""

    def colliding(*arguments: Any, **options: Any) -> Any:
        for stored, found in measured(*arguments, **options):
            yield stored, replace(found, fingerprint=b"")  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr("fanin.audits.comparing.comparison.measured", colliding)
    assert only(drawn(DRAWS["normal"], 1), drawn(DRAWS["normal"], 2)).relation == "same-distribution"
    assert only(drawn(DRAWS["normal"], 1), drawn(DRAWS["normal"], 1)).relation == "equal"


def test_signs_of_zeros() -> None:
    """Minus zero has other bytes."""
    assert only(np.zeros(9), -np.zeros(9)).relation == "same-distribution"


def test_equal_values() -> None:
    """Values that another dtype has exactly, NaN among them."""
    array = np.array([[1, 2.5, math.nan], [0, -3, math.inf]], "float16")
    found = only(array, array.astype("float64"))
    assert (found.relation, found.reason) == ("equal-values", "float16 and float64")
    assert only(np.arange(5), np.arange(5, dtype="uint8")).relation == "equal-values"


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_seeds(name: str, dtype: str) -> None:
    """Two draws from one distribution."""
    found = only(drawn(DRAWS[name], 1, dtype=dtype), drawn(DRAWS[name], 2, dtype=dtype))
    assert found.relation == "same-distribution"
    assert found.resolution is not None
    assert 0.01 < found.resolution < 0.05


def test_rounded_values() -> None:
    """A narrower dtype that rounds has the same distribution."""
    found = only(drawn(DRAWS["normal"], 1), drawn(DRAWS["normal"], 2, dtype="bfloat16"))
    assert found.relation == "same-distribution"
    assert found.reason.endswith("dtypes float32 and bfloat16")


@pytest.mark.parametrize("name", ["normal", "uniform", "truncated"])
def test_no_false_alarm_in_many_pairs(name: str) -> None:
    """Of 300 pairs of each law, small and large, none is called different at the level of 1e-7."""
    sizes = [(3,), (8,), (9, 2), (5, 7), (64,), (40, 50)]
    for seed in range(300):
        a, b = (drawn(DRAWS[name], 2 * seed + each, sizes[(seed + each) % len(sizes)]) for each in (0, 1))
        assert contrasts(*(measure(InMemory("w", each)) for each in (a, b))) == ()


def test_heavy_tails_are_no_false_alarm() -> None:
    """Standard deviations of few elements of heavy tails vary more than those of normal ones."""
    generator = np.random.default_rng(5)
    for _ in range(300):
        a, b = (generator.laplace(size=size) ** 3 for size in (3000, 4000))
        assert contrasts(*(measure(InMemory("w", each)) for each in (a, b))) == ()


@pytest.mark.parametrize(
    ("b", "differs", "words"),
    [
        (2 * drawn(DRAWS["normal"], 2), ("stddev",), "a ratio of 2"),
        (0.005 + drawn(DRAWS["normal"], 2), ("mean",), "0.24 standard deviations apart"),
        (0.01 * math.sqrt(12) * drawn(DRAWS["uniform"], 2) / 0.1, ("shape", "support"), "shape of the distribution"),
        (np.zeros((96, 128), "float32"), ("constant",), "0 everywhere"),
        (np.where(np.arange(128) == 5, 0, drawn(DRAWS["normal"], 2)), ("zeros",), "zeros: 0 of 12288 and 96 of 12288"),
        (np.where(np.arange(128) == 5, np.nan, drawn(DRAWS["normal"], 2)), ("not-finite",), "96 and 0 of 12288"),
        (np.clip(drawn(DRAWS["normal"], 2), -0.05, 0.05), ("support",), "support: "),
    ],
    ids=["stddev", "mean", "shape", "constant", "zeros", "nan", "support"],
)
def test_what_differs(b: np.ndarray, differs: tuple[str, ...], words: str) -> None:
    """Each kind of difference is named, and none that is not there."""
    found = only(drawn(DRAWS["normal"], 1), b.astype("float32"))
    assert found.relation == "different"
    assert found.differs == differs
    assert words in found.reason


def test_resolution_is_where_half_are_found() -> None:
    """A ratio of standard deviations of that size is found in about half of all pairs."""
    pairs = []
    for seed in range(60):
        a, b = (drawn(DRAWS["normal"], 2 * seed + each, (50, 60)) for each in (0, 1))
        power = resolution(*(measure(InMemory("w", each)) for each in (a, b)))
        pairs.append(bool(contrasts(*(measure(InMemory("w", each)) for each in (a, b * (1 + power))))))
    assert 15 < sum(pairs) < 45


def test_against_scipy() -> None:
    """A pair at the edge of significance is judged as SciPy's Welch and Kolmogorov–Smirnov tests judge it."""
    stats: Any = pytest.importorskip("scipy.stats")
    a, b = drawn(DRAWS["normal"], 1, (400,)), drawn(DRAWS["normal"], 2, (50,))
    shift = next(
        each for each in np.linspace(0, 0.05, 500) if stats.ttest_ind(a, b + each, equal_var=False).pvalue < 1e-7
    )
    for factor, is_found in ((0.97, False), (1.03, True)):
        moved = (b + np.float32(factor * shift)).astype("float32")
        found = contrasts(measure(InMemory("a", a)), measure(InMemory("b", moved)))
        assert ("mean" in [each.code for each in found]) is is_found


def test_orders_of_memory(tmp_path: Path) -> None:
    """Bytes are compared in the order of the index, whatever that of the file is."""
    array = drawn(DRAWS["normal"], 1, (50, 60))
    np.savez(tmp_path / "a.npz", w=array)
    np.savez(tmp_path / "b.npz", w=np.asfortranarray(array))
    assert compare_checkpoints(tmp_path / "a.npz", tmp_path / "b.npz").is_exact
    assert compare_checkpoints(tmp_path / "b.npz", {"w": array}).is_exact


def test_shapes() -> None:
    """Another shape is not measured; a transpose is asked about."""
    found = only(np.ones((3, 4)), np.ones((4, 3)))
    assert (found.relation, found.reason) == ("shape", "shapes (3, 4) and (4, 3): transposed?")


def test_only_in_one() -> None:
    """Tensors that the other one lacks."""
    found = compare_checkpoints({"a": np.ones(1), "c": np.ones(1)}, {"b": np.ones(1), "c": np.ones(1)})
    assert [(each.name, each.relation) for each in found.tensors] == [("a", "only-a"), ("b", "only-b"), ("c", "equal")]
    assert not found


def test_empty_and_scalar() -> None:
    """Tensors without elements or axes."""
    assert only(np.ones((0, 3)), np.ones((0, 3))).relation == "equal"
    assert only(np.float32(1.5), np.float32(1.5)).relation == "equal"


def test_a_model_and_its_file(tmp_path: Path) -> None:
    """A live model against what it was saved to, and against itself with other values."""
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(40, 50), torch.nn.BatchNorm1d(50))
    torch.save({"model": model.state_dict()}, tmp_path / "model.pt")
    assert compare_checkpoints(model, tmp_path / "model.pt", rename={"model.*": "*"}).is_exact
    with torch.no_grad():
        model[0].weight.mul_(2)
    found = compare_checkpoints(tmp_path / "model.pt", model, rename={"model.*": "*"})
    assert (found.tensors[0].name, found.tensors[0].differs) == ("0.weight", ("stddev",))
    assert found.tensors[0].a is not None
    assert found.tensors[0].a.name == "model.0.weight"
    assert found.tensors[0].ratio == pytest.approx(2)


def test_damaged_files(tmp_path: Path) -> None:
    """They are errors: what cannot be read is not the same."""
    (tmp_path / "a.npz").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"is not a whole \.npz file"):
        compare_checkpoints(tmp_path / "a.npz", {})


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("rules", "name", "new"),
    [
        ({"model.*": "*"}, "model.a.b", "a.b"),
        ({"model.*": "*"}, "a.model.b", "a.model.b"),
        ({"h.*.attn.*": "layers.*.self.*"}, "h.3.attn.q.weight", "layers.3.self.q.weight"),
        ({"a.b": "c"}, "aXb", "aXb"),
        ({"*.gamma": "*.scale", "*": "x.*"}, "n.gamma", "n.scale"),
        ({"*.gamma": "*.scale", "*": "x.*"}, "n.beta", "x.n.beta"),
        ({"*_orig": "*"}, r"w\1_orig", r"w\1"),
    ],
)
def test_renames(rules: dict[str, str], name: str, new: str) -> None:
    """Stars stand for the same in both names, and the first rule that fits applies."""
    assert Renames(rules).new(name) == new


def test_renames_that_collide() -> None:
    """Two tensors of one name are refused."""
    with pytest.raises(ValueError, match=r"'a\.w' and 'b\.w', which both become 'w'"):
        compare_checkpoints({"a.w": np.ones(1), "b.w": np.ones(1)}, {}, rename={"*.w": "w"})


def test_renames_that_fit_nothing() -> None:
    """A glob that is misspelled, or that an earlier one covers, is refused."""
    with pytest.raises(ValueError, match=r"'modle\.\*', which fits none of 1 names, such as 'model\.w'"):
        compare_checkpoints({"model.w": np.ones(1)}, {}, rename={"modle.*": "*"})
    with pytest.raises(ValueError, match=r"'a\.w', which fits names that earlier globs fit, too\."):
        compare_checkpoints({"a.w": np.ones(1)}, {}, rename={"a.*": "*", "a.w": "v"})


def test_too_many_stars() -> None:
    """A star that stands for nothing is refused."""
    with pytest.raises(ValueError, match="as many stars as its glob"):
        Renames({"a": "*"})


# ---------------------------------------------------------------- reports


@pytest.fixture(scope="module")
def report() -> Differences:
    """A comparison of models with repeated blocks."""
    a = {f"h.{block}.w": drawn(DRAWS["normal"], block, (30, 40)) for block in range(4)}
    b = {name: 2 * array if name != "h.3.w" else array for name, array in a.items()}
    return compare_checkpoints(a, b)


def test_folded(report: Differences) -> None:
    """Repeated blocks that differ in the same way share a row, the worst first."""
    lines = report.table().text().splitlines()
    assert [line.split()[0] for line in lines] == ["tensor", "h.[0-2].w", "h.3.w"]
    assert len(report.table(fold=False).rows) == 4
    assert "different: stddev" in lines[1]


def test_summary(report: Differences) -> None:
    """The counts, and what was compared."""
    assert report.summary().startswith("4 tensors: 1 identical, 3 different (A: dict, B: dict; ")
    assert str(report).endswith(report.summary())
    assert not report
    assert not report.is_exact


def test_what_would_not_be_seen() -> None:
    """The report says how sure it is of draws that look alike: of the tensor in which least would be seen."""
    a, b = ({"large": drawn(DRAWS["normal"], seed), "small": drawn(DRAWS["normal"], seed, (9, 8))} for seed in (1, 2))
    [note] = compare_checkpoints(a, b).notes()
    assert "would hardly be seen in small, and a smaller one in the other 1." in note


def test_names_that_only_one_has() -> None:
    """They are in the table alone, and there is a hint how to match them."""
    text = str(compare_checkpoints({"old.w": np.ones(3)}, {"new.w": np.ones(3)}))
    assert text.count("old.w") == 1
    assert "--rename 'old.*=new.*'" in text
    assert "2 tensors: 1 only in A, 1 only in B" in text


def test_as_dict(report: Differences) -> None:
    """Plain data with stable keys."""
    data = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert list(data) == ["a", "b", "same", "exact", "counts", "tensors", "bytes", "seconds"]
    first = data["tensors"][0]
    assert list(first) == ["name", "relation", "reason", "differs", "stddev_ratio", "resolution", "a", "b"]
    assert list(first["a"]) == ["name", "shape", "dtype", "mean", "stddev", "low", "high"]
    assert first["stddev_ratio"] == pytest.approx(2)
    assert data["bytes"] == 4 * 2 * 30 * 40 * 4


def test_html_is_escaped() -> None:
    """Names cannot be markup."""
    html = compare_checkpoints({"<script>": np.ones(2)}, {})._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_plot(report: Differences) -> None:
    """A figure of the ratios of standard deviations."""
    pytest.importorskip("matplotlib")
    figure = report.plot()
    assert figure.axes[0].get_ylabel() == "stddev in B ÷ stddev in A"


def test_progress() -> None:
    """Events are of the bytes of both."""
    events: list[dict[str, Any]] = []
    array = np.ones((10, 10))
    assert compare_checkpoints({"w": array}, {"w": array}, progress=events.append).nbytes == 1600
