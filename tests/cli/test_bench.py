"""The benchmark runs and says what it measured, and its self-check can fail. (Speed itself: `fanin bench`.)"""

import json
import os
from pathlib import Path

import pytest

import fanin
from fanin import _native
from fanin._core.settings import TIERS
from fanin.cli import bench


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No framework is there."""
    monkeypatch.setattr(bench.Frameworks, "_import", staticmethod(lambda name: None))


@pytest.mark.usefixtures("alone")
def test_every_group_runs() -> None:
    """Each group yields its cases, with a median for each candidate and settings left as they were."""
    affinity = os.sched_getaffinity(0)
    cases = {group: list(bench.run((group,), quick=True)) for group in ("fresh", "small", "orthogonal", "import")}
    assert {group: len(results) for group, results in cases.items()} == {
        "fresh": 4, "small": 4, "orthogonal": 1, "import": 1
    }  # fmt: skip
    for results in (each for group in cases.values() for each in group):
        assert any(result.candidate == "fanin" for result in results)
        assert all(len(result.rounds) >= 3 for result in results)
        assert all(min(result.rounds) <= result.seconds <= max(result.rounds) for result in results)
    assert os.sched_getaffinity(0) == affinity


@pytest.mark.filterwarnings("ignore")  # those of the frameworks' imports
def test_the_frameworks_are_measured() -> None:
    """Each framework's own initializers against fanin's in it, and a model built with and without the patch."""
    for framework in ("tf_keras", "torch", "jax"):
        pytest.importorskip(framework)
    cases = {results[0].case: results for results in bench.run(("frameworks",), quick=True)}
    assert list(cases) == [
        "normal_ (512, 512) float32", "normal_ (512, 512) bfloat16",
        "trunc_normal_ (512, 512) float32", "trunc_normal_ (512, 512) bfloat16",
        "kaiming_uniform_ (512, 512) float32", "kaiming_uniform_ (512, 512) bfloat16",
        "orthogonal_ (256, 256) float32",
        "he_normal (512, 512), jit", "glorot_uniform (512, 512), jit",
        "MobileNet, built",
    ]  # fmt: skip
    for results in cases.values():
        assert results[0].candidate == "fanin"
        assert len(results) == 2


@pytest.mark.filterwarnings("ignore")
def test_models_are_measured() -> None:
    """A model from the meta device to initialized, by fanin and by PyTorch."""
    for framework in ("torch", "transformers"):
        pytest.importorskip(framework)
    cases = list(bench.run(("models",), quick=True))
    assert [results[0].case for results in cases] == ["GPT-2 bfloat16, normal", "GPT-2 bfloat16, truncated normal"]
    assert [[result.candidate for result in results] for results in cases] == [["fanin", "PyTorch"]] * 2


@pytest.mark.usefixtures("alone")
def test_fills_measure_every_tier() -> None:
    """Each case of the fills has memset, every native tier and NumPy where it can."""
    results = next(iter(bench.run(("fill",), quick=True)))
    tiers = [f"fanin {tier}" for tier in reversed(TIERS) if tier != "reference"]
    assert [result.candidate for result in results] == ["memset", *tiers, "NumPy SFC64"]
    assert {result.threads for result in results} == {len(os.sched_getaffinity(0))}


def test_the_table() -> None:
    """Medians, rates and ratios, as Markdown."""
    results = [
        bench.Result("fill", "uniform float32", 2, "memset", 1000, [1e-6, 3e-6, 2e-6]),
        bench.Result("fill", "uniform float32", 2, "fanin avx2", 1000, [4e-6, 4e-6, 9e-6]),
        bench.Result("fill", "uniform float32", 2, "TensorFlow", 1000, [0.001, 0.002, 0.5]),
    ]
    assert bench.table(results).splitlines() == [
        "| uniform float32, 2 threads | median | million elements/s | times fanin's |",
        "| --- | ---: | ---: | ---: |",
        "| memset | 2 µs | 500 | 0.50 |",
        "| fanin avx2 | 4 µs | 250 | 1.00 |",
        "| TensorFlow | 2 ms | 0 | 500.00 |",
    ]
    written = json.loads(bench.as_json(results))
    assert list(written) == ["machine", "versions", "results"]
    assert written["results"][0] == {
        "group": "fill", "case": "uniform float32", "threads": 2, "candidate": "memset", "elements": 1000,
        "rounds": [1e-6, 3e-6, 2e-6], "seconds": 2e-6,
    }  # fmt: skip
    assert written["versions"]["fanin"] == fanin.__version__


def test_the_check_notices_a_slow_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tier that runs another one's kernels the self-check fails."""
    if len(TIERS) < 3:
        pytest.skip("this machine has one native tier")
    monkeypatch.setitem(_native.TIERS, TIERS[-1], _native.TIERS["baseline"])
    assert any(f"{TIERS[-1]} is " in each for each in bench.check())


def test_the_command(tmp_path: Path) -> None:
    """`fanin bench` prints tables and writes JSON; a misspelt group is refused."""
    from click.testing import CliRunner

    from fanin.cli import main

    file = tmp_path / "bench.json"
    outcome = CliRunner().invoke(main, ["bench", "--group", "small", "--quick", "--json", str(file)])
    assert outcome.exit_code == 0, outcome.output
    assert "| GlorotUniform (64, 64), 1 thread | median |" in outcome.stdout
    assert {row["group"] for row in json.loads(file.read_text())["results"]} == {"small"}
    outcome = CliRunner().invoke(main, ["bench", "--group", "smal"])
    assert outcome.exit_code == 2
    assert "Received: 'smal'. Did you mean 'small'?" in outcome.stderr
