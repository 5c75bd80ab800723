"""The tables of docs/benchmarks.md, written from docs/benchmarks.json between comments that name them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial

from fanin.cli.bench import duration
from pictures.measured import PATH, Bench, Case, load

PAGE = PATH.with_suffix(".md")
_PLACE = re.compile(r"(<!-- table: (.*?) -->\n).*?(<!-- end -->)", re.DOTALL)
_NONE = "–"


def written(text: str, bench: Bench) -> str:
    """A page with its tables as a run has them."""
    return _PLACE.sub(lambda found: f"{found[1]}\n{TABLES[found[2]](bench)}\n\n{found[3]}", text)


def write() -> None:
    """Writes the page's tables."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), load()), encoding="utf-8")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], left: int = 1) -> str:
    """A table of Markdown, whose columns end at the right but for the first ones."""
    head = list(head)
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |", 1) for cells in (head, rule, *rows))


def _short(candidates: Iterable[str]) -> list[str]:
    """The names of fanin's tiers in a row of columns: only the first says whose they are."""
    return [name if not place else name.removeprefix("fanin ") for place, name in enumerate(candidates)]


def _threads(bench: Bench, is_one: bool) -> int:
    return 1 if is_one else bench.most_threads


def machine(bench: Bench) -> str:
    """The machine and the versions, as a list."""
    of = bench.machine
    versions = {name: version for name, version in bench.versions.items() if name != "tensorflow-cpu"}
    return (
        f"- {of['processor']}, {of['cores']} cores, {of['system']}, {of['libc']}, Python {of['python']}; "
        f"tiers {of['tiers']}\n"
        f"- {', '.join(f'{name} {version}' for name, version in versions.items())}"
    )


def layouts(dtype: str, is_one: bool, bench: Bench) -> str:
    """Fills in PyTorch's layout, in milliseconds."""
    cases = list(bench.of("layouts", threads=_threads(bench, is_one), containing=f" {dtype} "))
    tiers = cases[0].tiers
    names = _short(tiers)
    head = ["ms", *names, *_after("contiguous ÷ this, ", tiers), "PyTorch", *_after("PyTorch ÷ fanin ", tiers)]

    def row(case: Case) -> list[str]:
        theirs = case.seconds.get("PyTorch")
        return [
            case.name.replace(f" {dtype}", ""),
            *(f"{case.seconds[tier] * 1e3:.3g}" for tier in tiers),
            *(f"{case.seconds[f'{tier}, contiguous'] / case.seconds[tier]:.2f}" for tier in tiers),
            _NONE if theirs is None else f"{theirs * 1e3:.3g}",
            *(_NONE if theirs is None else f"{theirs / case.seconds[tier]:.1f}" for tier in tiers),
        ]

    return _table(head, map(row, cases))


def _after(words: str, tiers: list[str]) -> list[str]:
    """The heads of columns of each tier; the words stand in the first one."""
    short = [tier.removeprefix("fanin ") for tier in tiers]
    return [words + short[0], *short[1:]]


def fill(is_one: bool, bench: Bench) -> str:
    """Fills of a buffer, in millions of values a second."""
    cases = list(bench.of("fill", threads=_threads(bench, is_one)))
    columns = max((list(case.seconds) for case in cases), key=len)
    ratios = [name for name in ("TensorFlow", "PyTorch") if name in columns]
    tiers = cases[0].tiers
    shown = [name.removeprefix("fanin ") if name in tiers[1:] else name for name in columns]
    head = ["", *shown, *(f"{name} / fanin" for name in ratios)]
    rows = (
        [
            case.name,
            *(f"{case.rate(name):,.0f}" if name in case.seconds else _NONE for name in columns),
            *(f"{case.times(name):.1f}" if name in case.seconds else _NONE for name in ratios),
        ]
        for case in cases
    )
    return _table(head, rows)


def timed(groups: tuple[str, ...], bench: Bench) -> str:
    """Times of all candidates, with how many times fanin's they are."""
    cases = list(bench.of(*groups))
    columns = list(dict.fromkeys(name for case in cases for name in case.seconds))

    def cell(case: Case, name: str) -> str:
        if name not in case.seconds:
            return _NONE
        ratio = "" if name in case.tiers else f" ({case.times(name):.1f})"
        return duration(case.seconds[name]) + ratio

    rows = ([case.name, str(case.threads), *(cell(case, name) for name in columns)] for case in cases)
    return _table(["", "threads", *columns], rows)


def against(groups: tuple[str, ...], bench: Bench) -> str:
    """fanin's time, and that of the one other candidate, whichever it is."""
    rows = []
    for case in bench.of(*groups):
        other = next(name for name in case.seconds if name not in case.tiers)
        cells = duration(case.best), f"{other} {duration(case.seconds[other])}", f"{case.times(other):.2f}"
        rows.append([case.name, *cells])
    return _table(["", "fanin", "the other", "times fanin’s"], rows)


def imported(bench: Bench) -> str:
    """How long a new interpreter takes to import each library."""
    [case] = bench.of("import")
    return _table(["", "time"], ([name, duration(seconds)] for name, seconds in case.seconds.items()))


TABLES: dict[str, Callable[[Bench], str]] = {
    "machine": machine,
    **{
        f"layouts, {dtype}, {name}": partial(layouts, dtype, is_one)
        for dtype in ("float32", "bfloat16")
        for name, is_one in (("all threads", False), ("one thread", True))
    },
    "fill, all threads": partial(fill, False),
    "fill, one thread": partial(fill, True),
    "new": partial(timed, ("fresh", "small")),
    "orthogonal": partial(timed, ("orthogonal",)),
    "frameworks": partial(against, ("frameworks",)),
    "models": partial(against, ("models",)),
    "import": imported,
}
