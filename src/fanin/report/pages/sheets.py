"""The page of a report on many parameters: what stands in it before its scripts run, and the data that they show.

Whoever has a report makes a `Sheet` of it. The scripts (`assets/report.js`) show the parameters, findings and charts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from fanin.report.markup import element, text
from fanin.report.pages.standalone import island, page

Tone: TypeAlias = Literal["exact", "good", "trained", "dim", "warn", "bad"]

_STYLES = ("report.css",)
_SCRIPTS = ("tree.js", "treegrid.js", "kinds.js", "report.js")
_NEEDS_SCRIPTS = (
    "The table, the findings and the charts of this page are shown by its own script, which does not run here."
)


@dataclass(frozen=True)
class Count:
    """How many parameters have a verdict.

    Attributes:
        word: the verdict.
        number: how many they are.
        tone: its colour and mark.
        meaning: what the verdict means.
    """

    word: str
    number: int
    tone: Tone
    meaning: str


@dataclass(frozen=True)
class Part:
    """A part of the appendix.

    Attributes:
        title: its heading.
        body: its content, as HTML.
    """

    title: str
    body: str


@dataclass(frozen=True)
class Sheet:
    """What a page says.

    Attributes:
        kind: "audit" or "plan".
        title: the name of what it is about.
        lead: what it is, in a sentence.
        tone: the tone of that sentence.
        facts: what should be known of it: names and values.
        counts: how many parameters have each verdict; those of no parameter are left out.
        notes: further sentences.
        appendix: what explains the rest.
        data: what other programs read from the element `data`.
        view: what the scripts need besides, from the element `view`.
    """

    kind: Literal["audit", "plan"]
    title: str
    lead: str
    tone: Tone
    facts: Sequence[tuple[str, str]]
    counts: Sequence[Count]
    notes: Sequence[str]
    appendix: Sequence[Part]
    data: Any
    view: Any

    def html(self) -> str:
        """The page, as text to be written in UTF-8."""
        main = "".join((self._head(), _SECTIONS, self._appendix()))
        body = element("main", main, data_kind=self.kind) + island(self.view, "view")
        return page(f"{self.title} · fanin {self.kind}", body, styles=_STYLES, scripts=_SCRIPTS, data=self.data)

    def _head(self) -> str:
        """The verdict on the whole: a sentence, a bar, counts and facts."""
        shown = [each for each in self.counts if each.number]
        facts = "".join(
            element("div", element("dt", text(name)) + element("dd", text(value)))
            for name, value in self.facts
            if value
        )
        return element(
            "header",
            element("p", f"fanin {self.kind}", class_="kicker")
            + element("h1", element("bdi", text(self.title)))
            + element(
                "p",
                element("span", "", class_="mark", aria_hidden="true") + text(self.lead),
                class_=f"lead {self.tone}",
            )
            + _bar(shown)
            + element("ul", "".join(map(_counted, shown)), class_="counts")
            + element("dl", facts, class_="facts")
            + "".join(element("p", text(each), class_="note") for each in self.notes)
            + element("p", _NEEDS_SCRIPTS, class_="note scriptless"),
            class_="masthead",
        )

    def _appendix(self) -> str:
        """What explains the rest, folded on screens and open on paper."""
        parts = "".join(
            element("details", element("summary", element("h3", text(each.title))) + each.body)
            for each in self.appendix
        )
        return element("section", element("h2", "How to read this page") + parts, id="appendix")


def _bar(counts: Sequence[Count]) -> str:
    """The counts as one bar, whose parts are separated, and at least wide enough to be seen."""
    total = sum(each.number for each in counts)
    if not total:
        return ""
    least = 0.6  # percent
    widths = [max(100 * each.number / total, least) for each in counts]
    scale = 100 / sum(widths)
    parts, start = [], 0.0
    for each, width in zip(counts, widths, strict=True):
        title = element("title", text(f"{each.number:,} {each.word}"))
        place = {"x": f"{start * scale:.3f}%", "width": f"{width * scale:.3f}%", "height": "100%"}
        parts.append(element("rect", title, class_=f"part {each.tone}", **place))
        start += width
    label = ", ".join(f"{each.number:,} {each.word}" for each in counts)
    return element("svg", "".join(parts), class_="stack", role="img", aria_label=label)


def _counted(each: Count) -> str:
    """A count, which shows its parameters when it is pressed."""
    mark = element("span", "", class_=f"mark {each.tone}", aria_hidden="true")
    words = f"{mark}{element('b', f'{each.number:,}')} {text(each.word)}"
    button = element("button", words, type="button", data_verdict=each.word, title=each.meaning, aria_pressed="false")
    return element("li", button)


# What the scripts fill.
_SECTIONS = """
<section id="findings" hidden><h2>Findings</h2><ol class="findings"></ol></section>
<section id="charts" hidden><h2>Charts</h2><div class="charts"></div></section>
<section id="parameters"><h2>Parameters</h2>
<form class="tools" role="search" aria-label="Parameters"></form>
<div class="bar"><p class="status" role="status"></p></div>
<div class="split"><div class="grid"></div>
<aside class="detail" aria-label="The selected parameter" hidden></aside></div>
<div class="paper"></div>
</section>
"""


def definitions(entries: Sequence[tuple[str, str]]) -> str:
    """Words and what they mean, as a list of HTML; what stands between backticks is code."""
    return element(
        "dl",
        "".join(
            element("dt", element("code", text(word))) + element("dd", prose(meaning)) for word, meaning in entries
        ),
        class_="glossary",
    )


def prose(content: str) -> str:
    """A text as HTML, in which what stands between backticks is code."""
    parts = content.split("`")
    return "".join(element("code", text(part)) if number % 2 else text(part) for number, part in enumerate(parts))
