"""Pages of HTML that stand alone: one file, which loads nothing and works without a network.

`page` puts them together; `assets/` has their styles and scripts. Data that a page shows is a JSON island in it, which
other programs can read, too.
"""

from fanin.report.pages.standalone import asset, island, page

__all__ = ["asset", "island", "page"]
