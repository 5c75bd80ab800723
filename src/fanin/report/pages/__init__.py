"""Pages of HTML that stand alone: one file, which loads nothing and works without a network.

`page` puts them together; `assets/` has their styles and scripts. Data that a page shows is a JSON island in it, which
other programs can read, too. `Sheet` is the page of a report on many parameters.
"""

from fanin.report.pages.sheets import Count, Part, Sheet, Tone, definitions, prose
from fanin.report.pages.standalone import PAGE_ENDS, asset, is_page, island, page, write_page

__all__ = [
    "PAGE_ENDS",
    "Count",
    "Part",
    "Sheet",
    "Tone",
    "asset",
    "definitions",
    "is_page",
    "island",
    "page",
    "prose",
    "write_page",
]
