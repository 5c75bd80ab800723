"""The benchmark's tables, which are Markdown, so that they go into the documentation as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fanin.bench import Result


def heading(machine: Mapping[str, object], versions: Mapping[str, str]) -> str:
    """What the figures were measured on and with, on two lines."""
    return (
        "\n".join(", ".join(f"{name} {value}" for name, value in each.items()) for each in (machine, versions)) + "\n"
    )


def table(results: Sequence[Result]) -> str:
    """One case: a candidate a row, with its median, its throughput and how many times as long as fanin it takes.

    fanin is the first candidate of that name, that on the best tier where there are several.
    """
    ours = next(result for result in results if result.candidate.startswith("fanin"))
    first = results[0]
    threads = f", {first.threads} thread{'s' * (first.threads > 1)}" if first.elements else ""
    lines = [f"| {first.case}{threads} | median | million elements/s | times fanin's |", "| --- | ---: | ---: | ---: |"]
    for result in results:
        rate = f"{result.elements / result.seconds / 1e6:,.0f}" if result.elements else ""
        lines.append(
            f"| {result.candidate} | {duration(result.seconds)} | {rate} | {result.seconds / ours.seconds:.2f} |"
        )
    return "\n".join(lines) + "\n"


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
