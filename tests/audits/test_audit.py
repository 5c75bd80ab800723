"""`fanin.audit`: what it takes, what says what tensors should be, and what its report has."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fanin
from fanin import checkpoints
from fanin._core import dtypes

RULES = [
    {"path": "*.kernel", "initializer": "he_normal"},
    {"path": "*.bias", "initializer": "zeros"},
]
SHAPES = [
    {"path": f"layers.{number}.{leaf}", "shape": shape, "layout": "keras"}
    for number in range(3)
    for leaf, shape in (("kernel", [128, 96]), ("bias", [96]))
]
RECIPE = fanin.Recipe(RULES, seed=7)
PLAN = RECIPE.plan(SHAPES)


def arrays() -> dict[str, Any]:
    """The values of the plan."""
    return {entry.path: entry.make() for entry in PLAN.entries}


@pytest.mark.parametrize("recipe", [RECIPE, PLAN, RECIPE.with_seed(7)], ids=["recipe", "plan", "seed"])
def test_a_recipe(recipe: Any) -> None:
    """Of a recipe and its seed, every bit is the expected one."""
    found = fanin.audit(arrays(), recipe, model=SHAPES)
    assert found
    assert found.counts["exact"] == len(found) == 6
    assert (found.source, found.seed) == ("the recipe", 7)


def test_another_seed() -> None:
    """The values of another seed are consistent with the recipe, and not exact."""
    found = fanin.audit(arrays(), RECIPE, seed=8, model=SHAPES)
    kernel = found["layers.0.kernel"]
    assert found
    assert (kernel.verdict.kind, kernel.verdict.fits) == ("consistent", ("truncated normal (stddev 0.125)",))
    assert found["layers.0.bias"].verdict.kind == "exact"  # zeros, whatever the seed
    assert kernel.ratio == pytest.approx(1, abs=0.05)
    assert found.notes == (
        "3 of 3 drawn tensors fit their distributions and have other bits than those of seed 8: was another seed used? "
        "--seed gives it.",
    )


def test_another_dtype_is_no_other_seed() -> None:
    """Rounded values have other bits, whatever their seed."""
    found = fanin.audit({name: each.astype("float16") for name, each in arrays().items()}, PLAN)
    assert (found.counts["consistent"], found.notes) == (6, ())


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float8_e4m3fn"])
def test_narrower_files(stored: str) -> None:
    """The values of a float32 model, rounded to a narrower dtype, have as many values as that dtype has."""
    plan = RECIPE.plan([{"path": "a.kernel", "shape": [512, 256], "layout": "keras"}])
    rounded = plan.entries[0].make().astype(dtypes.resolve(stored))
    assert fanin.audit({"a.kernel": rounded}, plan).counts["consistent"] == 1


@pytest.mark.parametrize("drawn", ["float16", "bfloat16"])
def test_wider_files(drawn: str) -> None:
    """The values of a 16-bit model may be stored as float32; those of a float32 model are not on a 16-bit grid."""
    shape = {"path": "a.kernel", "shape": [512, 256], "layout": "keras"}
    narrow, wide = (RECIPE.plan([{**shape, "dtype": dtype}]) for dtype in (drawn, "float32"))
    values = {"a.kernel": narrow.entries[0].make().astype("float32")}
    assert fanin.audit(values, narrow).counts["consistent"] == 1
    assert [each.code for each in fanin.audit(values, wide)["a.kernel"].verdict.problems] == ["grid"]


@pytest.mark.parametrize(("rows", "elements"), [(64, "16,384 elements"), (512, "65,536 sampled elements")])
def test_few_values(rows: int, elements: str) -> None:
    """Values of few bits are told by how many there are, of all elements or of a sample."""
    values = np.rint(fanin.RandomNormal(stddev=1.0, seed=1)((rows, 256)) * 256) / 256 * np.float32(0.05 * 1.1)
    (problem,) = fanin.audit({"a.kernel": values})["a.kernel"].verdict.problems
    assert problem.code == "coarse"
    assert re.fullmatch(rf"Only [\d,]+ different values are among {elements}\.", problem.message)


def tied_model() -> Any:
    """A model of PyTorch whose output layer has the weight of its embedding, and its tensors, each by itself."""
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Embedding(64, 64), torch.nn.Linear(64, 64, bias=False))
    torch.nn.init.normal_(model[0].weight)
    model[1].weight = model[0].weight
    return model, {name: each.detach().clone() for name, each in model.state_dict().items()}


@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_broken_ties_of_a_file(prefix: str) -> None:
    """Both names of a tied parameter must have the same values, in any dtype, also with a wrapper's prefix."""
    model, tensors = tied_model()
    assert fanin.audit({prefix + name: each for name, each in tensors.items()}, model=model)
    assert fanin.audit(
        {prefix + "0.weight": tensors["0.weight"], prefix + "1.weight": tensors["1.weight"].double()}, model=model
    )
    tensors["1.weight"].copy_(tensors["0.weight"].flip(0))
    found = fanin.audit({prefix + name: each for name, each in tensors.items()}, model=model)
    assert [(each.name, each.verdict.problems[0].code) for each in found.findings] == [(prefix + "1.weight", "untied")]
    assert found.lines()[0].startswith(f"{prefix}1.weight: suspicious: It should have the values of {prefix}0.weight")
    (alone,) = fanin.audit(
        {prefix + name: each for name, each in tensors.items()}, model=model, only=[prefix + "0.weight"]
    ).findings
    assert alone.verdict.problems[0].code == "untied"


def test_a_flipped_bit() -> None:
    """One bit is enough for a tensor not to be exact."""
    values = arrays()
    values["layers.1.kernel"].view("u4")[-1, -1] ^= 1
    found = fanin.audit(values, PLAN)
    assert found["layers.1.kernel"].verdict.kind == "consistent"
    assert found.counts["exact"] == 5
    assert found.notes == ()


def test_a_manifest(tmp_path: Path) -> None:
    """A manifest beside the files says what is expected."""
    checkpoints.write(PLAN, tmp_path)
    found = fanin.audit(tmp_path)
    assert (found.counts["exact"], found.source, found.seed) == (6, "the manifest fanin.json", 7)


def test_names_and_shapes() -> None:
    """Without anything else, names and shapes leave candidates, and all that fit are named."""
    found = fanin.audit({"dense.kernel": fanin.GlorotUniform(seed=1)((256, 256))})
    verdict = found["dense.kernel"].verdict
    assert found.source == "names and shapes"
    assert verdict.kind == "consistent"
    assert len(verdict.fits) > 1  # on a square matrix, Glorot's and LeCun's are the same
    assert verdict.reason.startswith("It is ambiguous")
    assert any("glorot" in each for each in verdict.fits)
    assert any("lecun" in each for each in verdict.fits)


def test_missing_tensors() -> None:
    """What the plan has and the target lacks is a finding."""
    values = arrays()
    del values["layers.2.bias"]
    found = fanin.audit(values, PLAN)
    assert not found
    assert found.missing == ("layers.2.bias",)
    assert "layers.2.bias: missing" in str(found)


def test_other_shapes() -> None:
    """A tensor of another shape than expected is broken."""
    values = arrays()
    values["layers.2.bias"] = np.zeros(3, "float32")
    verdict = fanin.audit(values, PLAN)["layers.2.bias"].verdict
    assert (verdict.kind, verdict.problems[0].code) == ("broken", "shape")


def test_further_tensors() -> None:
    """What the plan does not have is judged by name and shape, and a note says so."""
    found = fanin.audit({**arrays(), "extra.kernel": np.full((8, 8), np.inf, "float32")}, PLAN)
    assert found["extra.kernel"].verdict.problems[0].code == "infinity"
    assert "extra.kernel" in found.notes[0]


def test_a_prefix() -> None:
    """`under` is what all names begin with."""
    found = fanin.audit({f"model.{name}": each for name, each in arrays().items()}, PLAN, under="model")
    assert found.counts["exact"] == 6


def test_a_few() -> None:
    """`only` names the tensors to judge."""
    found = fanin.audit(arrays(), PLAN, only=["layers.0.bias"])
    assert [each.name for each in found.tensors] == ["layers.0.bias"]
    assert found
    with pytest.raises(ValueError, match=r"`only` must name tensors that are there.*layers\.0\.bia.*Did you mean"):
        fanin.audit(arrays(), PLAN, only=["layers.0.bia"])


def test_fused_parts() -> None:
    """Each part of a fused tensor has a law of its own."""
    torch = pytest.importorskip("torch")
    from fanin.torch import initialize

    layer = torch.nn.MultiheadAttention(64, 4)
    recipe = fanin.Recipe(
        [
            {"path": "in_proj_weight", "block": "query", "initializer": "random_normal", "stddev": 0.02},
            {"path": "in_proj_weight", "initializer": "random_normal", "stddev": 0.08},
            {"path": "*", "initializer": "zeros"},
        ],
        seed=1,
    )
    initialize(layer, recipe)
    assert fanin.audit(layer, recipe).counts["exact"] == 4
    assert fanin.audit(layer, recipe, seed=2)
    with torch.no_grad():
        layer.in_proj_weight[[*range(64), *range(64, 128)]] = layer.in_proj_weight[[*range(64, 128), *range(64)]]
    verdict = fanin.audit(layer, recipe, seed=2)["in_proj_weight"].verdict
    assert verdict.problems[0].code == "stddev"
    assert verdict.problems[0].message.startswith("In [0:64, 0:64]: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(target=3), "must be a path, a mapping of names to arrays, or a model of PyTorch, Keras or JAX"),
        (
            dict(target={}, recipe=3),
            "`recipe` must be a fanin.Recipe, the name of a preset, a fanin.Plan",
        ),
        (dict(target={}, seed=3), "`seed` replaces that of a recipe"),
        (dict(target={}, recipe="gpt3"), "preset"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    """Errors say the rule, what came, and what to do."""
    with pytest.raises((TypeError, ValueError), match=message):
        fanin.audit(**arguments)


def test_a_report_as_data() -> None:
    """A report is plain data, with stable keys, and names every finding."""
    found = fanin.audit({**arrays(), "layers.0.kernel": np.full((128, 96), np.nan, "float32")}, PLAN)
    data = json.loads(json.dumps(found.as_dict()))
    assert list(data) == [
        "name", "format", "source", "seed", "ok", "conclusion", "counts", "tensors", "missing", "broken_files",
        "notes", "bytes", "seconds",
    ]  # fmt: skip
    assert (data["ok"], data["counts"]["broken"], data["counts"]["exact"]) == (False, 1, 5)
    first = data["tensors"][0]
    assert (first["verdict"], first["problems"][0]["code"], first["statistics"]["nans"]) == ("broken", "nan", 128 * 96)
    text = str(found)
    assert "layers.0.kernel: broken: " in text
    assert "6 tensors: 5 exact, 1 broken" in text


def test_names_are_text() -> None:
    """A tensor called `<script>` is text in a notebook, and control characters do not reach a terminal."""
    found = fanin.audit({"<script>\x1b[2J": np.ones(3, "float32")})
    assert "<script>" not in found._repr_html_()
    assert "\x1b" not in str(found)


def test_an_empty_target() -> None:
    """That there is nothing is no success."""
    found = fanin.audit({})
    assert (bool(found), len(found), found.notes) == (False, 0, ("There are no tensors.",))
    assert "0 tensors: none" in str(found)


def test_what_is_left_alone(tmp_path: Path) -> None:
    """Values that are no tensors, and files that are not read, are named."""
    found = fanin.audit({"a.kernel": arrays()["layers.0.kernel"], "step": 3})
    assert found
    assert found.notes == ("Left alone, since they are no dense tensors: step.",)
    save_file = pytest.importorskip("safetensors.numpy").save_file

    save_file({"w": np.ones(4, "float32")}, tmp_path / "a.safetensors")
    np.savez(tmp_path / "b.npz", w=np.ones(4))
    assert fanin.audit(tmp_path).notes == ("Not read, beside the files of safetensors: b.npz.",)


def test_pipes(tmp_path: Path) -> None:
    """A pipe is refused, not waited for."""
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="must be in a regular file"):
        fanin.audit(tmp_path / "model.safetensors")


def test_copies(tmp_path: Path) -> None:
    """Equal tensors are broken, each by the others' names; tied names of a model are one tensor."""
    values = arrays()
    values["layers.1.kernel"] = values["layers.0.kernel"].copy()
    found = fanin.audit(values)
    for name, other in (("layers.0.kernel", "layers.1.kernel"), ("layers.1.kernel", "layers.0.kernel")):
        problem = found[name].verdict.problems[0]
        assert (problem.code, other in problem.message) == ("duplicate", True)
    tied = fanin.audit({"a.kernel": values["layers.0.kernel"], "b.kernel": values["layers.0.kernel"]})
    assert tied
    assert tied["a.kernel"].tied == ("b.kernel",)


def test_noisy_copies() -> None:
    """A copy with noise, or scaled, is too similar for chance."""
    values = arrays()
    random = np.random.default_rng(1)
    values["layers.1.kernel"] = (values["layers.0.kernel"] + 0.2 * random.normal(size=(128, 96))).astype("float32")
    found = fanin.audit(values)
    assert {each.name for each in found.findings} == {"layers.0.kernel", "layers.1.kernel"}
    assert "correlated" in {problem.code for problem in found["layers.1.kernel"].verdict.problems}


def test_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of events is told of all bytes."""
    monkeypatch.setattr("fanin.recipes.progress._SECONDS", 0.0)
    events: list[dict[str, Any]] = []
    found = fanin.audit(arrays(), progress=events.append)
    assert [each["event"] for each in events] == ["progress"] * len(events)
    assert events[-1]["done"] == events[-1]["total"] == found.nbytes > 0


def test_copied_blocks() -> None:
    """A block that was copied is one line, though each of its tensors is a finding."""
    values = {
        f"h.{number}.{leaf}.kernel": fanin.HeNormal(seed=10 * number + place)((64, 48))
        for number in range(3)
        for place, leaf in enumerate(("query", "key", "value"))
    }
    values |= {f"h.2.{leaf}.kernel": values[f"h.0.{leaf}.kernel"].copy() for leaf in ("query", "key", "value")}
    found = fanin.audit(values)
    assert len(found.findings) == 6
    (line,) = found.lines()
    assert line.startswith("h.0 and h.2: broken: 3 tensors (query.kernel, key.kernel, value.kernel) have the same ")


def test_numbers_that_chance_varies() -> None:
    """Blocks with one fault are one finding, whose numbers are a range; another factor is another finding."""
    scales = (2.8, 2.8, 2.8, 7.0)
    rules = [{"path": "*", "initializer": "random_normal", "stddev": 0.02}]
    shapes = [{"path": f"h.{each}.kernel", "shape": [128, 96], "layout": "keras"} for each in range(4)]
    plan = fanin.Recipe(rules, seed=1).plan(shapes)
    values = {each.path: each.make() * np.float32(scale) for each, scale in zip(plan.entries, scales, strict=True)}
    found = fanin.audit(values, plan)
    assert len({each.verdict.reason for each in found.findings}) > 2
    first, second = found.lines()
    assert re.match(
        r"h\.\[0-2\]\.kernel: suspicious: The standard deviation is 0\.05\d+–0\.05\d+, 2\.\d+–2\.\d+ times ", first
    )
    assert second.startswith("h.3.kernel: suspicious: ")


def test_prefixes_that_no_name_has() -> None:
    """A prefix that no name begins with is an error."""
    with pytest.raises(ValueError, match=r"`under` must be what names begin with\. Received: 'layer'.*Did you mean"):
        fanin.audit(arrays(), under="layer")


def test_conclusions() -> None:
    """The whole in a sentence: fresh, exact or trained."""
    assert fanin.audit(arrays(), PLAN).conclusion == "Every bit is the expected one."
    guessed = "Nothing is wrong as far as names and shapes tell; --model or --recipe checks more."
    assert fanin.audit(arrays()).conclusion == guessed
    assert fanin.audit(arrays(), model=SHAPES).conclusion == (
        "Nothing is wrong as far as the model's layers tell; --recipe checks more."
    )
    assert fanin.audit(arrays(), RECIPE, seed=8, model=SHAPES).conclusion == ""
    assert fanin.audit({}).conclusion == ""


def test_training_states() -> None:
    """What is not under the prefix is left alone, and a note says so."""
    found = fanin.audit(
        {**{f"model.{name}": each for name, each in arrays().items()}, "optimizer.state.0.exp_avg": np.ones((8, 8))},
        under="model",
    )
    assert len(found) == 6
    assert "Left alone: 1 tensor not under model." in found.notes


def test_unknown_spreads() -> None:
    """Spreads that no initializer gives are no findings of a file alone, and are not passed over in silence."""
    found = fanin.audit({"a.kernel": 7.7 * fanin.RandomNormal(stddev=1.0, seed=1)((128, 96))})
    assert found
    assert found.conclusion == "Whether every spread is as intended is not known: --model or --recipe checks more."
    assert "has a spread that no known initializer gives there" in found.notes[0]


def test_a_flipped_bit_at_the_end() -> None:
    """Every region of a large tensor counts, the last one, too."""
    plan = RECIPE.plan([{"path": "large.kernel", "shape": [1100, 1024], "layout": "keras"}])
    values = plan.entries[0].make()
    assert fanin.audit({"large.kernel": values}, plan).counts["exact"] == 1
    values.view("u4")[-1, -1] ^= 1
    assert fanin.audit({"large.kernel": values}, plan).counts["exact"] == 0


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_constant_biases_where_random_ones_are_expected(value: float) -> None:
    """Biases of one value are suspicious where the model's code draws them, and say so; no kernel is spoken of."""
    recipe = fanin.Recipe([{"path": "*", "initializer": "random_uniform"}], seed=1)
    plan = recipe.plan([{"path": "fc.bias", "shape": [128], "role": "bias"}])
    verdict = fanin.audit({"fc.bias": np.full(128, value, "float32")}, plan)["fc.bias"].verdict
    assert verdict.kind == "suspicious"
    assert [each.code for each in verdict.problems] == ["stddev"]
    assert f"Every element is {value:g}, where" in verdict.reason


@pytest.mark.parametrize("name", ["w", "a.kernel", "embedding", "lora_A", "weight_v", "in_proj_weight"])
def test_a_scalar_of_any_name(name: str) -> None:
    """A number without axes is judged, whatever its name says that it is."""
    assert fanin.audit({name: np.float32(3), "b": np.ones(4, "float32")})[name].verdict.reason


@pytest.mark.parametrize(
    ("rule", "reason"), [("*.kernel", "fans"), ("*.weight", "No rule matches fc.kernel.")], ids=["no fans", "no rule"]
)
def test_a_recipe_that_says_nothing(rule: str, reason: str) -> None:
    """Where a recipe does not fit a tensor, a note says so, and why; its verdict is that of names and shapes."""
    recipe = fanin.Recipe([{"path": rule, "initializer": "he_normal"}])
    found = fanin.audit({"fc.kernel": fanin.HeNormal(seed=1)((256, 1024))}, recipe)
    assert found["fc.kernel"].expected == ""
    [note] = found.notes
    assert note.startswith("The recipe does not say what 1 tensor should be, so names and shapes alone do. ")
    assert reason in note
