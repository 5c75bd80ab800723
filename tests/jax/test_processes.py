"""fanin.jax in processes of their own: on eight devices, with 64 bits, in two processes that make one array."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("jax")

import jax_processes as processes
import jax_started


def outcomes(group: str) -> list[dict[str, Any]]:
    """What each process of a group printed."""
    return jax_started.outcomes(processes.__file__, group, 1 if group == "x64" else 8, group == "x64")


@pytest.mark.parametrize(
    ("group", "check"), [(group, check) for group, checks in processes.GROUPS.items() for check in checks]
)
def test_checks(group: str, check: str) -> None:
    """Each check of jax_processes.py holds, in each process that runs it."""
    for outcome in outcomes(group):
        error = outcome["errors"].get(check, "did not run")
        if error.startswith("needs "):
            pytest.skip(error)
        assert not error, error


@pytest.mark.parametrize("group", processes.GROUPS)
def test_keys_mean_the_same_in_every_process(group: str) -> None:
    """On many devices, with 64 bits, next to another process: the bytes of this one."""
    for outcome in outcomes(group):
        assert outcome["digests"] == processes.digests()
