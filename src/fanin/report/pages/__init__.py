"""Pages of HTML that stand alone: one file, which loads nothing and works without a network.

`page` puts them together; `assets/` has their styles and scripts. Data that a page shows is a JSON island in it, which
other programs can read, too. `Sheet` is the page of a report on many parameters.
"""

from fanin.report.pages.sheets import Count, Part, Sheet, Tone, definitions, prose
from fanin.report.pages.standalone import asset, island, page, write_page

__all__ = [
    "Count",
    "Part",
    "Sheet",
    "Tone",
    "asset",
    "definitions",
    "island",
    "page",
    "prose",
    "write_page",
]
