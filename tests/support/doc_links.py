"""The links of the documentation that lead elsewhere. As a script, it asks for each of them; that needs a network."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import doc_pages

PATIENCE = 20  # seconds


def external() -> dict[str, list[str]]:
    """Each address, without its anchor, and the pages that link to it."""
    found: dict[str, list[str]] = {}
    for path in [*doc_pages.PAGES, doc_pages.ROOT / "CHANGELOG.md"]:
        for link in doc_pages.links(path):
            if urlsplit(link).scheme:
                found.setdefault(link.partition("#")[0], []).append(doc_pages.name_of(path))
    return found


def fault(address: str) -> str:
    """What is wrong with an address; "" if it answers."""
    request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "fanin's documentation"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE):
            return ""
    except (OSError, urllib.error.URLError) as error:
        return str(error)


def main() -> int:
    """Prints the links that do not answer."""
    faults = {address: fault(address) for address in external()}
    for address, what in faults.items():
        if what:
            print(f"{address}: {what} ({', '.join(external()[address])})")
    print(f"{len(faults)} links")
    return int(any(faults.values()))


if __name__ == "__main__":
    sys.exit(main())
