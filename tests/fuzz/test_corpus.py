"""The kept inputs of the fuzzers (`scripts/fuzz`), one by one: hand-made ones, and those that the fuzzers found."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz_targets import CORPUS, TARGETS

pytest.importorskip("yaml")
pytest.importorskip("safetensors")

INPUTS = sorted(f"{file.parent.name}/{file.name}" for file in CORPUS.glob("*/*"))


@pytest.mark.parametrize("name", INPUTS)
def test_kept_inputs(name: str, tmp_path: Path) -> None:
    """Documented errors only, in time, without a foreign import."""
    TARGETS[name.partition("/")[0]]((CORPUS / name).read_bytes(), tmp_path)


def test_every_target_has_inputs() -> None:
    """A target without a corpus would be tested by nothing."""
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
