"""Tensors that begin alike were drawn with one seed, whatever their shapes and spreads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fanin


def drawn_by_numpy(seed: int, shape: tuple[int, ...], stddev: float) -> Any:
    """Normals of NumPy's generator."""
    return (stddev * np.random.default_rng(seed).normal(size=shape)).astype("float32")


def named(found: fanin.audits.Audit) -> dict[str, fanin.audits.Problem]:
    """What is said of tensors that are too similar, by their names."""
    problems = [(each.name, problem) for each in found.findings for problem in each.verdict.problems]
    return {name: problem for name, problem in problems if problem.code == "correlated"}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("shapes", [((64, 32), (48, 80)), ((3, 3, 8, 16), (100, 7)), ((2, 3, 50), (5000,))])
def test_one_seed(shapes: tuple[tuple[int, ...], ...], dtype: str) -> None:
    """Two shapes and spreads of one seed are both named, and a third tensor is not."""
    resolved = fanin.Zeros()((1,), dtype).dtype
    values = {f"{name}.kernel": drawn_by_numpy(1, shape, 0.1 * (1 + place)) for place, (name, shape) in
              enumerate(zip("ab", shapes, strict=True))}  # fmt: skip
    values["c.kernel"] = drawn_by_numpy(2, shapes[0], 0.1)
    found = fanin.audit({name: each.astype(resolved) for name, each in values.items()})
    problems = named(found)
    assert set(problems) == {"a.kernel", "b.kernel"}
    assert problems["b.kernel"].other == "a.kernel"
    assert "2 times those of 'a.kernel': both were drawn with one seed" in problems["b.kernel"].message


def test_one_seed_beside_a_copy() -> None:
    """A tensor that begins like two copies of one another is named, too."""
    weight = drawn_by_numpy(1, (64, 32), 0.1)
    values = {"a.kernel": weight, "b.kernel": weight.copy(), "c.kernel": drawn_by_numpy(1, (48, 80), 0.2)}
    found = fanin.audit(values)
    assert [each.verdict.problems[0].code for each in found.tensors] == ["duplicate", "duplicate", "correlated"]


def test_torch_seeds() -> None:
    """The same of PyTorch's generator, which is seeded again before each layer."""
    torch = pytest.importorskip("torch")
    values = {}
    for name, shape in (("a", (256, 128)), ("b", (512, 64))):
        torch.manual_seed(0)
        values[f"{name}.weight"] = torch.nn.init.xavier_uniform_(torch.empty(shape))
    assert {each.name for each in fanin.audit(values).findings} == {"a.weight", "b.weight"}


def test_healthy_tensors() -> None:
    """Tensors of different seeds, and those that nothing is drawn for, begin as they like."""
    values = {
        f"layer{number}.{type(each).__name__}{number}": each
        for number, each in enumerate(
            [fanin.Identity()((64, 64)), fanin.Identity()((80, 80)), fanin.Zeros()((64, 64)), fanin.Ones()((96, 96))]
        )
    }
    values |= {f"h.{number}.kernel": fanin.HeNormal(seed=number)((64 + number, 64)) for number in range(20)}
    assert not named(fanin.audit(values))


@pytest.mark.parametrize(("length", "is_told"), [(63, False), (64, True)])
def test_small_tensors(length: int, is_told: bool) -> None:
    """Tensors of fewer numbers than a beginning has say nothing."""
    values = {"a.kernel": drawn_by_numpy(1, (80, 90), 1.0), "b.kernel": drawn_by_numpy(1, (length,), 1.0)}
    assert bool(named(fanin.audit(values))) == is_told
