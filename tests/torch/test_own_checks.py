"""Audits of models whose own code makes matrices and tables, whole or in parts, against PyTorch's initializers."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fanin

GATES = 3


class Model(nn.Module):
    """A gate at a time, convolutions in PyTorch's order of axes, and a kernel that is set element by element."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(8, 8)
        self.conv = nn.Conv2d(8, 24, 3)
        self.transposed = nn.ConvTranspose1d(6, 10, 5)
        self.dirac = nn.Conv1d(16, 40, 3)
        self.few = nn.Linear(3, 2)
        with torch.no_grad():
            for gate in self.recurrent.get_parameter("weight_hh_l0").chunk(GATES):
                nn.init.orthogonal_(gate)
            for weight in (self.conv.weight, self.transposed.weight, self.few.weight):
                nn.init.orthogonal_(weight)
            nn.init.dirac_(self.dirac.weight)


def verdicts(state: dict[str, Any]) -> dict[str, Any]:
    """The verdict on each tensor of a state of the model."""
    audited = fanin.audit(state, model=Model())
    return {name: audited[name].verdict for name in state}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_what_pytorch_makes_is_consistent(dtype: str) -> None:
    """Every tensor is as the model's own code says, in the dtype of the model and in others."""
    torch.manual_seed(1)
    state = {name: each.to(getattr(torch, dtype)) for name, each in Model().state_dict().items()}
    wrong = {name: each.reason for name, each in verdicts(state).items() if each.kind != "consistent"}
    assert wrong == {}


@pytest.mark.parametrize(("narrow", "wide"), [("float16", "float32"), ("bfloat16", "float64")])
def test_what_was_rounded_on_the_way_is_found_for_that_alone(narrow: str, wide: str) -> None:
    """Matrices that were rounded to 16 bits are orthogonal as far as those go."""
    torch.manual_seed(1)
    rounded = {name: each.to(getattr(torch, narrow)) for name, each in Model().state_dict().items()}
    state = {name: each.to(getattr(torch, wide)) for name, each in rounded.items()}
    found = {problem.message for each in verdicts(state).values() for problem in each.problems}
    assert found == {f"Every element is a {narrow} number, although its dtype is {wide}."}


def test_a_gate_that_is_not_orthogonal_is_found() -> None:
    """The finding says which part of the tensor it is."""
    torch.manual_seed(1)
    state = Model().state_dict()
    with torch.no_grad():
        rows = state["recurrent.weight_hh_l0"][8:16]
        rows[1] = 0.6 * rows[2] + 0.8 * rows[3]
    verdict = verdicts(state)["recurrent.weight_hh_l0"]
    assert not verdict.is_clean
    found = [each.message for each in verdict.problems]
    assert any(each.startswith("In [8:16, 0:8]: The products of its rows") for each in found), found


def test_a_kernel_in_other_places_is_found() -> None:
    """A Dirac kernel moved by one is not the one that the code sets."""
    torch.manual_seed(1)
    state = Model().state_dict()
    state["dirac.weight"] = state["dirac.weight"].roll(1, 2)
    verdict = verdicts(state)["dirac.weight"]
    assert [each.message for each in verdict.problems] == ["32 of 1,920 elements differ from table."]


def test_a_convolution_that_is_not_orthogonal_is_found() -> None:
    """Rows of the matrix as PyTorch has it are compared, not those of another order of axes."""
    torch.manual_seed(1)
    state = Model().state_dict()
    weight = state["conv.weight"]
    state["conv.weight"] = weight.flatten(1)[:, torch.randperm(72)].reshape(24, 8, 3, 3)
    assert verdicts(state)["conv.weight"].kind == "consistent"  # another orthogonal matrix
    with torch.no_grad():
        state["conv.weight"] = weight.flip(0) * torch.linspace(0.9, 1.1, 8)[None, :, None, None]
    assert not verdicts(state)["conv.weight"].is_clean
