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
# The other libraries, those first that readers compare with.
_OTHERS = ("PyTorch", "TensorFlow", "JAX", "NumPy SFC64", "memset")


def written(text: str, bench: Bench) -> str:
    """A page with its tables as a run has them."""
    return _PLACE.sub(lambda found: f"{found[1]}\n{TABLES[found[2]](bench)}\n\n{found[3]}", text)


def write() -> None:
    """Writes the page's tables."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), load()), encoding="utf-8")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown, whose columns end at the right but for the first one."""
    head = list(head)
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


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
    """Fills in PyTorch's order of axes, in milliseconds; the ratios are those of fanin's best tier."""
    cases = list(bench.of("layouts", threads=_threads(bench, is_one), containing=f" {dtype} "))
    tiers = cases[0].tiers
    head = ["weight", *(f"{name}, ms" for name in (*tiers, "PyTorch")), "PyTorch ÷ fanin", "PyTorch’s order ÷ Keras’s"]

    def row(case: Case) -> list[str]:
        is_there = "PyTorch" in case.seconds
        return [
            case.name.replace(f" {dtype}", ""),
            *(f"{case.seconds[tier] * 1e3:.3g}" for tier in tiers),
            f"{case.seconds['PyTorch'] * 1e3:.3g}" if is_there else _NONE,
            f"{case.times('PyTorch'):.1f}" if is_there else _NONE,
            f"{case.best / case.seconds[f'{tiers[0]}, contiguous']:.2f}",
        ]

    return _table(head, map(row, cases))


def fill(is_one: bool, bench: Bench) -> str:
    """Fills of a buffer, in millions of values a second."""
    cases = list(bench.of("fill", threads=_threads(bench, is_one)))
    tiers = cases[0].tiers
    columns = [*tiers, *(name for name in _OTHERS if any(name in case.seconds for case in cases))]
    ratios = [name for name in columns if name in ("PyTorch", "TensorFlow")]
    head = ["million values a second", *columns, *(f"{tiers[0]} ÷ {name}" for name in ratios)]
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
    ours = {name for case in cases for name in case.tiers}
    heads = (name if name in ours else f"{name} (÷ fanin)" for name in columns)

    def cell(case: Case, name: str) -> str:
        if name not in case.seconds:
            return _NONE
        ratio = "" if name in ours else f" ({case.times(name):.1f})"
        return duration(case.seconds[name]) + ratio

    rows = ([case.name, str(case.threads), *(cell(case, name) for name in columns)] for case in cases)
    return _table(["call", "threads", *heads], rows)


def against(what: str, groups: tuple[str, ...], bench: Bench) -> str:
    """fanin's time, and that of the one other candidate, whichever it is."""
    rows = []
    for case in bench.of(*groups):
        other = next(name for name in case.seconds if name not in case.tiers)
        cells = duration(case.best), f"{other} {duration(case.seconds[other])}", f"{case.times(other):.2f}"
        rows.append([case.name, *cells])
    return _table([what, "fanin", "without fanin", "without ÷ with"], rows)


def imported(bench: Bench) -> str:
    """How long a new interpreter takes to import each library."""
    [case] = bench.of("import")
    return _table(["import", "time"], ([name, duration(seconds)] for name, seconds in case.seconds.items()))


TABLES: dict[str, Callable[[Bench], str]] = {
    "machine": machine,
    "fill, all threads": partial(fill, False),
    "fill, one thread": partial(fill, True),
    "models": partial(against, "model", ("models",)),
    "new": partial(timed, ("fresh", "small")),
    "frameworks": partial(against, "call", ("frameworks",)),
    "orthogonal": partial(timed, ("orthogonal",)),
    "import": imported,
    **{
        f"layouts, {dtype}, {name}": partial(layouts, dtype, is_one)
        for dtype in ("float32", "bfloat16")
        for name, is_one in (("all threads", False), ("one thread", True))
    },
}
