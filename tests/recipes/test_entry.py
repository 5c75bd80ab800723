"""Entries: any region has the bytes of the whole, whatever is drawn, in any order of axes and any dtype."""

import math
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import fanin
from fanin._core import dtypes
from fanin.recipes import Blocks, Entry, Parameter, Part, PlanError, Traits
from recipe_kit import FLOAT32, GATES, HE, KERNEL, NORMAL, SEED, drawn, planned, spawned
from strategies import assert_same_bits, examples


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
        wide = "float64" if whole.dtype == np.float64 else "float32"
        assert kernel.tobytes() == expected.spawn("w")(kernel.shape, wide).astype(whole.dtype).tobytes()
    elif block == "keep":
        assert {*kernel[..., : kernel.shape[-1] // len(parameter["blocks"])].ravel().tolist()} <= {99.0}


def test_moments_of_blocks() -> None:
    """Mean and standard deviation of all elements, whichever block they are in."""
    rules = [
        {"path": "*", "block": name, "initializer": "constant", "value": value} for name, value in (("a", 1), ("b", 4))
    ]
    (entry,) = planned(rules, {"path": "w", "shape": [2, 6], "blocks": ["a", "b"]}).entries
    assert (entry.mean, entry.stddev) == (2.5, 1.5)
    (entry,) = planned([HE], {"path": "w", "shape": [8, 6], **KERNEL}).entries
    assert (entry.mean, entry.stddev) == (0.0, fanin.HeNormal().distribution((8, 6)).moments.stddev)


def test_make() -> None:
    """A new array of the parameter, or of a region of it: aligned, in C order, in the parameter's own order of axes."""
    (entry,) = planned([HE], {"path": "w", "shape": [5, 4], "role": "kernel", "layout": "torch"}).entries
    whole = entry.make()
    assert (whole.shape, whole.dtype) == ((5, 4), FLOAT32)
    assert whole.tobytes() == spawned("w", (4, 5)).T.tobytes() == drawn(entry).tobytes()
    for region in (np.s_[1:3, 2:], np.s_[1:3], np.s_[..., 1:2], np.s_[2:2, :], 3, np.s_[:, -1], np.s_[1:, 2], (4, 3)):
        part = entry.make(region)
        assert (part.shape, part.tobytes()) == (whole[region].shape, whole[region].tobytes())
        assert part.flags.c_contiguous
        assert part.ctypes.data % 64 == 0 or not part.size
    with pytest.raises(IndexError, match=r"^`region` must lie within the shape \(5, 4\)\."):
        entry.make((5, 0))
    with pytest.raises(ValueError, match=r"^`out` must have the shape \(2, 4\) and the dtype float32\. Received: sh"):
        entry.fill(whole, np.s_[1:3])
    with pytest.raises(ValueError, match=r"Received: shape \(5, 4\), dtype float64\.$"):
        entry.fill(np.zeros((5, 4)))


def test_make_needs_every_block() -> None:
    """A block that a rule keeps has no values in a new array; `over` takes them from the present ones."""
    rules = [{"path": "*", "block": "a", "initializer": "keep"}, {"path": "*", "initializer": "ones"}]
    (entry,) = planned(rules, {"path": "w", "shape": [2, 4], "blocks": ["a", "b"]}).entries
    for make in (entry.make, lambda: entry.make(0), lambda: entry.pieces([0])):
        with pytest.raises(
            ValueError, match=r"^`make` must make a whole parameter, but rules keep all or a part of w\."
        ):
            make()
    assert entry.over(np.full((2, 4), 7, FLOAT32)).tolist() == [[7, 7, 1, 1]] * 2


def test_pieces() -> None:
    """An array for each region, in their order; equal regions share one."""
    fused = {"path": "w", "shape": [4, 12], "blocks": GATES, "dtype": "bfloat16", **KERNEL}
    (entry,) = planned([{"path": "*", "block": "*", "initializer": "he_normal"}], fused).entries
    whole = entry.make()
    wanted = [np.s_[:2], np.s_[2:], np.s_[0:2, :], np.s_[:, 2:7], np.s_[-4:-2, ...], 1, np.s_[:, 5]]
    pieces = entry.pieces(iter(wanted))
    assert [piece.tobytes() for piece in pieces] == [whole[region].tobytes() for region in wanted]
    assert pieces[0] is pieces[2] is pieces[4]
    assert len({id(piece) for piece in pieces}) == 5


def test_placements() -> None:
    """A placement is a weight and where it goes; only what is drawn at random has a seed."""
    fused = {"path": "w", "shape": [12, 4], "blocks": GATES, "role": "kernel", "layout": "torch"}
    rules = [{"path": "*", "block": "forget", "initializer": "ones"}, HE]
    (entry,) = planned(rules, fused).entries
    he = fanin.HeNormal(seed=SEED).spawn("w")
    assert [each.label for each in entry.placements] == list(GATES)
    assert [each.target for each in entry.placements] == [((0, 4), (start, start + 3)) for start in (0, 3, 6, 9)]
    assert [each.source for each in entry.placements] == [(0, 0), (0, 0), (0, 6), (0, 9)]
    assert [each.seed for each in entry.placements] == [he.seed, None, he.seed, he.seed]
    assert entry.placements[0].weight == he.weight((4, 12))._replace(stored=FLOAT32)
    assert entry.placements[1].weight.shape == (4, 3)
    assert sum(each.size for each in entry.placements) == 48
    assert entry.seeds == (he.seed,)
    assert entry.fans == (4, 12)


# Models in fewer bits

NARROW = [
    "float16",
    "bfloat16",
    *(name for name, dtype in dtypes.ML_DTYPES.items() if dtype.itemsize == 1 and dtypes.kind(dtype) == "float"),
]
NARROW.remove("float8_e8m0fnu")
LAWS: dict[str, dict[str, Any]] = {
    "normal": {"initializer": "random_normal", "mean": 0.1, "stddev": 0.7},
    "truncated": {"initializer": "truncated_normal", "stddev": 0.3},
    "uniform": {"initializer": "random_uniform", "minval": -1.5, "maxval": 0.25},
    "he_normal": {"initializer": "he_normal"},
    "he_uniform": {"initializer": "he_uniform"},
    "glorot_uniform": {"initializer": "glorot_uniform"},
    "untruncated": {"initializer": "variance_scaling", "distribution": "untruncated_normal", "mode": "fan_out"},
    "too large": {"initializer": "random_normal", "stddev": 1e30},
    "constant": {"initializer": "constant", "value": 1 / 3},
    "zeros": {"initializer": "zeros"},
    "ones": {"initializer": "ones"},
    "orthogonal": {"initializer": "orthogonal", "gain": 0.7},
    "identity": {"initializer": "identity", "gain": 0.3},
}


def assert_rounded(narrow: Entry, wide: Entry) -> None:
    """An entry has the bytes of another one, rounded once to its dtype, and so have regions of it."""
    assert not narrow.problem
    with np.errstate(all="ignore"):
        expected = wide.make().astype(narrow.parameter.dtype)
    assert_same_bits(narrow.make(), expected)
    for region in (
        (slice(1, None),),
        (..., slice(1, 3)),
        (slice(1, 2), ..., slice(2, None)),
        1,
        (..., -1),
        (1, ..., 1),
    ):
        assert_same_bits(narrow.make(region), expected[region])
    out = np.zeros(expected.shape[::-1], expected.dtype).T
    narrow.fill(out)
    assert_same_bits(out, expected)
    assert (narrow.seeds, narrow.description) == (wide.seeds, wide.description)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("law", LAWS)
def test_a_narrow_model_is_the_rounded_one(law: str, dtype: str) -> None:
    """Whatever is drawn, an entry in 16 or 8 bits is the float32 entry, rounded once."""
    models = (
        {"path": "w", "shape": [30, 40], "role": "kernel", "layout": "torch"},
        {"path": "w", "shape": [11, 17], "role": "kernel", "layout": "keras"},
        {"path": "w", "shape": [2, 3, 4, 5], "role": "kernel", "layout": "torch"},
    )
    for model in models[: 2 if law == "identity" else 3]:
        entries = [planned([{"path": "*", **LAWS[law]}], {**model, "dtype": each}).entries[0] for each in (dtype, None)]
        assert_rounded(*entries)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn"])
@pytest.mark.parametrize("law", [name for name in LAWS if name != "he_normal"])
def test_narrow_tensors_of_several_column_axes(law: str, dtype: str) -> None:
    """Kernels of einsums, whose last axes are one elsewhere, are rounded once, too, in every order of axes."""
    for shape, axes, column_axes in (
        ((6, 2, 4), (0, 1, 2), 2),
        ((3, 5, 2, 4), (0, 1, 2, 3), 3),
        ((4, 6, 2), (1, 0, 2), 2),
    ):
        traits = Traits("kernel", axes, 6, 8, column_axes)
        pair = [
            planned([{"path": "*", **LAWS[law]}], Parameter("w", shape, np.dtype(each), traits=traits)).entries[0]
            for each in (dtype, "float32")
        ]
        assert_rounded(*pair)
        if law in ("orthogonal", "identity"):
            matrix = pair[0].make().transpose(axes).astype(np.float32)
            matrix = matrix.reshape(math.prod(matrix.shape[: len(shape) - column_axes]), -1)
            gain = LAWS[law]["gain"]
            gram = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
            assert np.abs(gram - gain**2 * np.eye(len(gram))).max() < (0.08 if dtype.startswith("float8") else 0.01)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e5m2"])
def test_narrow_parts(dtype: str) -> None:
    """Blocks in another order, parts of a tensor and padding in fewer bits are the rounded ones."""
    stored, keras = ("reset", "update", "new"), ("update", "reset", "new")
    traits = {
        "blocks": Traits("kernel", (1, 0), 4, 9, blocks=Blocks(stored, keras)),
        "part": Traits("kernel", (1, 0), 4, 9, part=Part("cell.w", "forget", GATES)),
        "padding": Traits("embedding", (0, 1), 9, 4, zero_rows=(2, 8)),
    }
    rules: list[list[dict[str, Any]]] = [
        [{"path": "*", "initializer": "glorot_uniform"}],
        [{"path": "*", "block": "*", "initializer": "random_normal"}, HE],
    ]
    for kind, each in traits.items():
        for chosen in rules:
            narrow, wide = (
                planned(chosen, Parameter("w", (9, 4), np.dtype(name), traits=each)).entries[0]
                for name in (dtype, "float32")
            )
            assert_rounded(narrow, wide)
            assert narrow.make().any(axis=1).tolist() == [kind != "padding" or row not in (2, 8) for row in range(9)]


@pytest.mark.parametrize("shape", [[], [7], [3, 50000]])
def test_narrow_tensors_of_any_rank(shape: list[int]) -> None:
    """Scalars, vectors, and more elements than are rounded at once."""
    for dtype in ("float16", "float8_e4m3fn", "float8_e5m2fnuz"):
        (narrow,) = planned([NORMAL], {"path": "w", "shape": shape, "dtype": dtype}).entries
        (wide,) = planned([NORMAL], {"path": "w", "shape": shape}).entries
        assert narrow.make().tobytes() == wide.make().astype(dtype).tobytes()


@pytest.mark.parametrize("law", LAWS)
def test_float64_is_drawn_in_float64(law: str) -> None:
    """A float64 model is no float32 one, widened: it is what the initializer makes in float64."""
    model = {"path": "w", "shape": [30, 40], "dtype": "float64", **KERNEL}
    (entry,) = planned([{"path": "*", **LAWS[law]}], model).entries
    assert all(each.weight.distribution.dtype == np.float64 for each in entry.placements)
    config = {key: value for key, value in LAWS[law].items() if key != "initializer"}
    cls = type(fanin.get(LAWS[law]["initializer"]))
    initializer = cls(**config).with_seed(SEED).spawn("w")
    assert entry.make().tobytes() == initializer((30, 40), "float64").tobytes()
    (single,) = planned([{"path": "*", **LAWS[law]}], {**model, "dtype": "float32"}).entries
    assert (single.make().astype(np.float64).tobytes() == entry.make().tobytes()) == (law in ("zeros", "ones"))


@pytest.mark.parametrize("law", LAWS)
def test_a_dtype_without_zero(law: str) -> None:
    """float8_e8m0fnu, which has powers of two alone, is a problem of the plan, but for what is one."""
    plan = planned([{"path": "*", **LAWS[law]}], {"path": "w", "shape": [3, 4], "dtype": "float8_e8m0fnu", **KERNEL})
    if law in ("ones", "constant"):
        assert not plan.problems
        assert plan.entries[0].make().tolist() == [[1.0 if law == "ones" else 0.25] * 4] * 3
        return
    (problem,) = plan.problems
    if law == "zeros":
        assert (
            problem
            == "w, in rule 1: The dtype must be able to represent the value. Received: value=0, dtype=float8_e8m0fnu."
        )
    else:
        assert problem == (
            "w, in rule 1: values need a dtype that has zero and negative numbers. Received: dtype=float8_e8m0fnu."
        )
    assert not plan.entries[0].placements
    with pytest.raises(PlanError, match="nothing has been written"):
        plan.check()


def test_integers() -> None:
    """Integer parameters are drawn as integers; what draws floats alone is a problem of theirs."""
    (entry,) = planned(
        [{"path": "*", "initializer": "random_uniform", "minval": -3, "maxval": 9}],
        {"path": "w", "shape": [40], "dtype": "int32"},
    ).entries
    assert entry.make().tobytes() == fanin.RandomUniform(-3, 9, seed=SEED).spawn("w")((40,), "int32").tobytes()
    assert planned([NORMAL], {"path": "w", "shape": [4], "dtype": "int32"}).problems == (
        "w, in rule 1: Expected floating point type, got int32. Use float16, bfloat16, float32 or float64.",
    )


FUSED = {"path": "w", "shape": [6, 12], "blocks": ["q", "k", "v"], "layout": "keras", "role": "kernel"}
REGIONS: dict[str, tuple[Any, list[dict[str, Any]], int]] = {
    "one box": ({"path": "w", "shape": [5, 7]}, [NORMAL], 9999),
    "single elements": ({"path": "w", "shape": [3, 4]}, [NORMAL], 1),
    "rows": ({"path": "w", "shape": [9, 4]}, [NORMAL], 40),
    "parts of rows": ({"path": "w", "shape": [2, 3, 50]}, [NORMAL], 100),
    "no axes": ({"path": "w", "shape": []}, [NORMAL], 2),
    "no elements": ({"path": "w", "shape": [0, 4]}, [NORMAL], 8),
    "a matrix": ({"path": "w", "shape": [6, 8], "layout": "torch"}, [{"path": "*", "initializer": "orthogonal"}], 8),
    "blocks of matrices": (FUSED, [{"block": ["q", "k", "v"], "initializer": "orthogonal"}], 8),
    "one block is a matrix": (FUSED, [{"block": "k", "initializer": "orthogonal"}, NORMAL], 8),
    "blocks in PyTorch's order": (
        {**FUSED, "shape": [12, 6], "layout": "torch"},
        [{"block": "k", "initializer": "orthogonal"}, NORMAL],
        8,
    ),
}


@pytest.mark.parametrize("case", REGIONS)
def test_regions_tile_a_parameter(case: str) -> None:
    """Every element is in one region; only matrices that are made as a whole have more bytes than they may."""
    model, rules, most = REGIONS[case]
    (entry,) = planned(rules, model).entries
    values, seen = np.full(entry.shape, 99, np.float32), np.zeros(entry.shape, int)
    for region in entry.regions(most):
        seen[region] += 1
        made = entry.make(region)
        values[region] = made
        matrices = any(each.initializer.__class__.__name__ == "Orthogonal" for each in entry.placements)
        assert made.nbytes <= max(most, 4) or matrices
    assert (seen == 1).all()
    assert values.tobytes() == entry.make().tobytes()


def test_regions_cut_no_matrix() -> None:
    """Of blocks, those that are matrices are whole, and the others are cut."""
    (entry,) = planned([{"block": "k", "initializer": "orthogonal"}, NORMAL], FUSED).entries
    sizes = [math.prod(each.stop - each.start for each in region) for region in entry.regions(8)]
    assert sorted(sizes) == [2] * 24 + [24]


def test_regions_of_a_padded_matrix() -> None:
    """A matrix with rows of zeros above it stays whole."""
    traits = Traits("embedding", axes=(0, 1), zero_rows=(2,))
    (entry,) = planned(
        [{"path": "*", "initializer": "orthogonal"}], Parameter("w", (5, 4), FLOAT32, traits=traits)
    ).entries
    assert list(entry.regions(4)) == [(slice(0, 5), slice(0, 4))]
    assert not entry.make()[2].any()
