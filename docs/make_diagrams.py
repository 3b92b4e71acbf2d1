"""Write the diagrams of the docs from the tables they show: ``python docs/make_diagrams.py``."""

from __future__ import annotations

import re
from pathlib import Path

from multirsh.transports import close_order

DOCS = Path(__file__).parent
FENCE = re.compile(r"(?<=```mermaid\n).*?(?=```)", re.DOTALL)


def main() -> None:
    """Replace each page's diagram by its table's."""
    page = DOCS / "close-order.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(FENCE.sub(lambda _: close_order.diagram(), text, count=1), encoding="utf-8")


if __name__ == "__main__":
    main()
