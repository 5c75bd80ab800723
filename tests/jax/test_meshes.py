"""Models on meshes of several axes, on eight devices and in two processes that have four of them each."""

from __future__ import annotations

import pytest

pytest.importorskip("jax")

import jax_meshes as meshes
import jax_started


@pytest.mark.parametrize(
    ("group", "check"), [(group, check) for group, checks in meshes.GROUPS.items() for check in checks]
)
def test_checks(group: str, check: str) -> None:
    """Each check of jax_meshes.py holds, in each process that runs it."""
    for outcome in jax_started.outcomes(meshes.__file__, group):
        error = outcome["errors"].get(check, "did not run")
        if error.startswith("needs "):
            pytest.skip(error)
        assert not error, error
