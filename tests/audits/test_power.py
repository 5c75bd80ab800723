"""The table of docs/power.md is what fanin finds."""

import os
import re
from pathlib import Path

import power

PAGE = Path(__file__).parents[2] / "docs" / "power.md"


def test_the_table_of_the_docs() -> None:
    """`FANIN_WRITE_POWER=1` writes it again."""
    page, table = PAGE.read_text(encoding="utf-8"), power.table()
    if os.environ.get("FANIN_WRITE_POWER"):
        page = re.sub(r"(?ms)^\| expected .*?(?=^\n)", lambda _: table + "\n", page)
        PAGE.write_text(page, encoding="utf-8")
    assert table in page
