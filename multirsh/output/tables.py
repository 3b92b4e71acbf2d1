"""Tables, headings and paragraphs for people, laid out and styled by rich, with or without colour.

Whether there is colour, and how wide the text is, is decided by our own rules (``options``). Importing rich
takes 50 ms, so this module is imported only where a table is shown. Text that is not our own is escaped
before it becomes a ``Text`` or a cell; rich's markup is off, so nothing in it is read as a style.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

INDENT: Final = 2

HEADING: Final = "bold"
GOOD: Final = "green"
BAD: Final = "red"
FAINT: Final = "dim"
COMMAND: Final = "cyan"


def rendered(renderables: Iterable[RenderableType], *, width: int, color: bool) -> str:
    """Lay out paragraphs and tables, one below the other.

    Args:
        renderables: What is laid out.
        width: The columns that there are.
        color: Whether to use the terminal's own colours.
    """
    target = io.StringIO()
    console = Console(
        file=target,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for renderable in renderables:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in target.getvalue().split("\n"))


def heading(text: str) -> Text:
    """Make a heading, with an empty line above it."""
    return Text(f"\n{text}", style=HEADING)


def indented(renderable: RenderableType) -> Padding:
    """Indent what stands below a heading."""
    return Padding(renderable, (0, 0, 0, INDENT))


def table(*columns: str, right: Iterable[str] = ()) -> Table:
    """Make a table without lines, whose head is faint.

    Args:
        columns: The names of the columns; if all are empty there is no head.
        right: The names of columns that are aligned to the right, as numbers are.
    """
    made = Table(box=None, padding=(0, 2, 0, 0), show_header=any(columns), header_style=FAINT, pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made
