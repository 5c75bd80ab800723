"""Makes the pictures of README and docs, as docs/pictures/NAME-light.svg and NAME-dark.svg.

    python scripts/pictures               make all of them
    python scripts/pictures signal bits   make these
    python scripts/pictures tables        write the tables of docs/benchmarks.md from docs/benchmarks.json
    python scripts/pictures report        take the screenshots of a report (Playwright, Chromium)

Numbers come from fanin itself, or from docs/benchmarks.json (`fanin bench --json docs/benchmarks.json`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pictures import screenshots, tables
from pictures.catalogue import FOLDER, NAMES, files_of


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join((*NAMES, *OTHERS))}")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in (*NAMES, *OTHERS)]:
        parser.error(f"there is no picture {', '.join(unknown)}")
    for name in given.names or NAMES:
        if name in OTHERS:
            OTHERS[name]()
        else:
            _draw(name)


def _draw(name: str) -> None:
    """Writes a picture's files."""
    for file, text in files_of(name).items():
        path = FOLDER / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        _tell(path)


def _report() -> None:
    """Takes the screenshots."""
    for path in screenshots.take("report", FOLDER):
        _tell(path)


def _tell(path: Path) -> None:
    print(f"{path.relative_to(FOLDER.parents[1])}: {path.stat().st_size / 1000:.1f} kB")


OTHERS = {"tables": tables.write, "report": _report}

if __name__ == "__main__":
    main()
