"""Models that transformers, torchvision and timm initialize: nothing is wrong, and each of ten faults is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
save_file = pytest.importorskip("safetensors.torch").save_file

import fanin.torch  # noqa: E402
from audited_models import FAULTS, MODELS, PLACES, cases, state_of  # noqa: E402

# What names and shapes alone do not tell: a file of one tensor for both has no ties, and a spread by another fan is
# one that another initializer gives.
_UNKNOWN_TO_FILES = {"tie broken", "transposed fans"}


@pytest.fixture(scope="module", params=list(MODELS))
def made(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """A model that its own library has initialized, and its name."""
    torch.manual_seed(1)
    try:
        return request.param, MODELS[request.param]()
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")


def test_healthy_models(made: tuple[str, Any], tmp_path: Path) -> None:
    """Nothing is wrong with a model, nor with the file of its state dict, with or without the model beside it."""
    _, model = made
    save_file(state_of(model), tmp_path / "model.safetensors")
    for found in (
        fanin.audit(model),
        fanin.audit(tmp_path / "model.safetensors"),
        fanin.audit(tmp_path / "model.safetensors", model=model),
    ):
        assert found, str(found)
        assert found.counts["trained"] == 0, str(found)
        assert found.counts["consistent"] > 0.9 * len(found), str(found)


@pytest.mark.parametrize("fault", list(FAULTS))
def test_faults(made: tuple[str, Any], fault: str, tmp_path: Path) -> None:
    """An audit of the model finds the fault where it is, and nothing else; so does one of the file, if it can."""
    name, original = made
    if (name, fault) not in cases():
        pytest.skip("the model has no such parameter")
    import copy

    model = copy.deepcopy(original)
    path = FAULTS[fault].into(model, PLACES[name])
    found = fanin.audit(model)
    codes = {each.code for each in found[path].verdict.problems}
    assert codes & FAULTS[fault].codes, str(found[path].verdict)
    others = {each.name for each in found.findings} - {path, PLACES[name].same}
    assert not others, str(found)
    if fault in _UNKNOWN_TO_FILES:
        return
    save_file(state_of(model), tmp_path / "model.safetensors")
    verdict = fanin.audit(tmp_path / "model.safetensors")[path].verdict
    assert {each.code for each in verdict.problems} & FAULTS[fault].codes, str(verdict)
