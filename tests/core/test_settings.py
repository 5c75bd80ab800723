"""`fanin.config`: defaults, assignment, blocks, the environment, and what `show` says."""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import fanin
from fanin._core.cores import available_cores
from fanin._core.settings import TIERS


def run(code: str, **environment: str) -> str:
    """The output of a new interpreter."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FANIN_", "OMP_"))}
    return subprocess.run(
        [sys.executable, "-c", code], env={**clean, **environment}, capture_output=True, text=True, check=True
    ).stdout


def test_defaults() -> None:
    """float32, all cores that the process may use, the best tier, documented semantics."""
    lines = run("import fanin; c = fanin.config; print(c.floatx, c.threads, c.tier, c.call_semantics)").split()
    assert lines == ["float32", str(available_cores()), TIERS[-1], "documented"]


def test_environment() -> None:
    """The four variables set the four settings."""
    shown = run(
        "import fanin; fanin.config.show()",
        FANIN_FLOATX="bfloat16",
        FANIN_NUM_THREADS="3",
        FANIN_TIER="baseline",
        FANIN_CALL_SEMANTICS="released",
    )
    assert shown.splitlines() == [
        "floatx          bfloat16     from FANIN_FLOATX,       set by FANIN_FLOATX",
        "threads         3            from FANIN_NUM_THREADS,  set by FANIN_NUM_THREADS",
        "tier            baseline     from FANIN_TIER,         set by FANIN_TIER",
        "call_semantics  released     from FANIN_CALL_SEMANTICS, set by FANIN_CALL_SEMANTICS",
        f"tiers           {', '.join(TIERS)}",
    ]


def test_blocks_nest_and_end() -> None:
    """`using` holds for its block, even when it ends by an error."""
    before = fanin.config.threads
    with fanin.config.using(threads=3, floatx="float16"):
        assert (fanin.config.threads, fanin.config.floatx) == (3, "float16")
        with fanin.config.using(threads=5):
            assert (fanin.config.threads, fanin.config.floatx) == (5, "float16")
        assert fanin.config.threads == 3
    with pytest.raises(RuntimeError), fanin.config.using(threads=7):
        raise RuntimeError
    assert (fanin.config.threads, fanin.config.floatx) == (before, "float32")


def test_an_assignment_in_a_block_is_seen_and_lasts(capsys: pytest.CaptureFixture[str]) -> None:
    """It replaces what its block has set, and what blocks around it have; their other settings end as ever."""
    before = fanin.config.threads
    try:
        with fanin.config.using(threads=3, floatx="float16"):
            with fanin.config.using(threads=5, floatx="bfloat16"):
                fanin.config.threads = 7
                assert fanin.config.threads == 7
                fanin.config.show()
                assert "threads         7            assigned," in capsys.readouterr().out
                with fanin.config.using(threads=9):
                    assert fanin.config.threads == 9
                assert (fanin.config.threads, fanin.config.floatx) == (7, "bfloat16")
            assert (fanin.config.threads, fanin.config.floatx) == (7, "float16")
        assert (fanin.config.threads, fanin.config.floatx) == (7, "float32")
    finally:
        fanin.config.threads = before


def test_an_assignment_elsewhere_does_not_reach_into_a_block() -> None:
    """Another thread's assignment is seen after the block: until then, the block's own setting holds."""
    before = fanin.config.threads
    try:
        with fanin.config.using(threads=3):
            thread = threading.Thread(target=lambda: setattr(fanin.config, "threads", 7))
            thread.start()
            thread.join()
            assert fanin.config.threads == 3
        assert fanin.config.threads == 7
    finally:
        fanin.config.threads = before


def test_a_block_that_ends_by_an_error_keeps_its_assignments() -> None:
    """As one that ends well."""
    before = fanin.config.threads
    try:
        with suppress(RuntimeError), fanin.config.using(threads=3):
            fanin.config.threads = 7
            raise RuntimeError
        assert fanin.config.threads == 7
    finally:
        fanin.config.threads = before


def test_a_block_is_the_threads_own() -> None:
    """Other threads do not see what a block sets; they see assignments."""
    seen: list[str] = []
    with fanin.config.using(floatx="float64"):
        thread = threading.Thread(target=lambda: seen.append(fanin.config.floatx))
        thread.start()
        thread.join()
    assert seen == ["float32"]


def test_assignment(capsys: pytest.CaptureFixture[str]) -> None:
    """Assigned settings hold until the next assignment."""
    try:
        fanin.config.floatx = "float16"
        assert fanin.Zeros()((2,)).dtype == np.float16
        fanin.config.show()
        assert "floatx          float16      assigned," in capsys.readouterr().out
    finally:
        fanin.config.floatx = "float32"
    threads, tier, semantics = fanin.config.threads, fanin.config.tier, fanin.config.call_semantics
    try:
        fanin.config.threads, fanin.config.tier, fanin.config.call_semantics = 9, "reference", "released"
        assert repr(fanin.config) == (
            "fanin.config(floatx='float32', threads=9, tier='reference', call_semantics='released')"
        )
    finally:
        fanin.config.threads, fanin.config.tier, fanin.config.call_semantics = threads, tier, semantics


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("floatx", "int32", "floatx must be one of float16, bfloat16, float32, float64. Received: floatx='int32'."),
        ("floatx", None, "Received: floatx=None."),
        ("floatx", ["float32"], "Received: floatx=['float32']."),
        ("threads", 0, "threads must be a whole number from 1 to 65536. Received: threads=0."),
        ("threads", 2.0, "Received: threads=2.0."),
        ("threads", True, "Received: threads=True."),
        ("threads", 10**9, "Received: threads=1000000000."),
        ("threads", int, "threads must be a whole number"),
        ("tier", np.array(["avx2"]), "tier must be one of"),
        ("tier", "avx9", f"tier must be one of {', '.join(TIERS)}. Received: tier='avx9'."),
        ("call_semantics", "relaesed", "Did you mean 'released'?"),
    ],
)
def test_impossible_settings(setting: str, value: Any, message: str) -> None:
    """An impossible value is refused by assignment and by `using`, and changes nothing."""
    before = repr(fanin.config)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared below)
        setattr(fanin.config, setting, value)
    assert message in str(caught.value)
    with pytest.raises(ValueError) as caught, fanin.config.using(**{setting: value}):  # noqa: PT011
        pass
    assert message in str(caught.value)
    assert repr(fanin.config) == before


def test_unknown_settings() -> None:
    """A setting that does not exist is a TypeError with a suggestion; attributes cannot be misspelt either."""
    with pytest.raises(TypeError, match=r"Unknown settings: \['thread'\].*Did you mean 'threads'\?"):
        fanin.config.using(thread=1).__enter__()
    with pytest.raises(AttributeError):
        fanin.config.thread = 1  # pyright: ignore[reportAttributeAccessIssue]


def test_a_tier_of_another_machine() -> None:
    """A tier that exists but not here is refused with what this machine has."""
    missing = [tier for tier in ("baseline", "avx2", "avx512") if tier not in TIERS]
    code = (
        "from fanin._core import settings; settings.TIERS = ('reference', 'baseline'); "
        "settings._check_tier('tier', 'avx512')"
    )
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "tier must be a tier that this machine has: reference, baseline. Received: tier='avx512'." in failed.stderr
    for tier in missing:
        with pytest.raises(ValueError, match="must be a tier that this machine has"):
            fanin.config.tier = tier


def test_floatx_is_the_dtype_of_calls_without_one() -> None:
    """Every class follows it."""
    for floatx in ("float16", "bfloat16", "float32", "float64"):
        with fanin.config.using(floatx=floatx):
            for initializer in (fanin.HeNormal(1), fanin.Zeros(), fanin.Constant(2), fanin.Identity()):
                assert initializer((2, 2)).dtype.name == floatx


THREADS = "FANIN_NUM_THREADS must be a whole number"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("FANIN_TIER", "sse9", "FANIN_TIER must be one of reference, baseline"),
        ("FANIN_NUM_THREADS", "0", f"{THREADS} from 1 to 65536. Received: FANIN_NUM_THREADS='0'."),
        ("FANIN_NUM_THREADS", "two", THREADS),
        ("FANIN_NUM_THREADS", "1.5", THREADS),
        (
            "FANIN_FLOATX",
            "float23",
            "FANIN_FLOATX must be one of float16, bfloat16, float32, float64. Received: FANIN_FLOATX='float23'. "
            "Did you mean 'float32'?",
        ),
        ("FANIN_CALL_SEMANTICS", "relased", "Did you mean 'released'?"),
    ],
)
def test_impossible_environment(variable: str, value: str, message: str) -> None:
    """An impossible variable is an error that names it, at the first use."""
    failed = subprocess.run(
        [sys.executable, "-c", "import fanin; fanin.Zeros()((2,))"],
        env={**os.environ, variable: value},
        capture_output=True,
        text=True,
    )
    assert failed.returncode == 1
    assert message in failed.stderr.splitlines()[-1]
