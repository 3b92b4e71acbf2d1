"""The page's outputs: equals once, each under its hosts, folded away but for what is short and first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from multirsh.inventory import fold
from multirsh.model import Status
from multirsh.output.batch import Stream
from multirsh.output.words import ending_words, plural, size
from multirsh.report.excerpt import Excerpt
from multirsh.report.markup import output, text
from multirsh.report.outputs import Selection, Shown

_OPEN_GROUPS: Final = 8
_OPEN_BYTES: Final = 4_000
"""The first few are open, if they are short."""

_MANY: Final = 300
"""From so many outputs on, the browser lays out only those that are seen."""

_FIRST_LINE: Final = 160
"""Bytes of the first line that are seen where it is closed."""


def output_groups(selection: Selection) -> Iterator[str]:
    """The section, in pieces."""
    if not selection.shown and not selection.silent:
        return
    many = ' class="many"' if len(selection.shown) > _MANY else ""
    yield f'<section id="outputs"{many}>\n<h2>Output</h2>\n'
    if selection.shown:
        yield (
            '<div class="tools" hidden>\n<label>Find <input type="search" id="find-output" '
            'placeholder="text or a host" spellcheck="false"></label>\n'
            '<button type="button" id="open-all">Open all</button>\n'
            '<button type="button" id="close-all">Close all</button>\n<output id="found"></output>\n</div>\n'
        )
    for number, group in enumerate(selection.shown):
        yield _group(number, group)
    if selection.silent:
        yield (
            f'<p class="note">{plural(len(selection.silent), "host")} wrote nothing: '
            f'<span class="names">{text(fold(selection.silent))}</span></p>\n'
        )
    if selection.left_out:
        yield (
            f'<p class="note">{plural(selection.left_out, "more output")} of '
            f"{plural(selection.left_out_hosts, 'host')} did not fit into this page.</p>\n"
        )
    yield "</section>\n"


def _group(number: int, group: Shown) -> str:
    ending = group.ending
    total = sum(excerpt.size for excerpt in group.streams.values())
    is_open = number < _OPEN_GROUPS and total <= _OPEN_BYTES
    first = next(iter(group.streams.values())).parts()[0].lstrip().partition(b"\n")[0][:_FIRST_LINE]
    ended = "" if ending.status is Status.OK else f'<span class="ending">{text(ending_words(ending))}</span> '
    return (
        f'<details class="group {ending.status.value}" id="g{number}" '
        f'data-outcome="{ending.status.value}"{" open" if is_open else ""}>\n'
        f'<summary><i class="swatch"></i><span class="names">{text(fold(group.hosts))}</span> '
        f'<span class="count">{plural(len(group.hosts), "host")}</span> {ended}'
        f'<span class="size">{size(total)}{f", {group.note}" if group.note else ""}</span> '
        f'<span class="first">{output(first)[1:]}</span></summary>\n'
        f"{''.join(_stream(stream, excerpt) for stream, excerpt in group.streams.items())}</details>\n"
    )


def _stream(stream: Stream, excerpt: Excerpt) -> str:
    head, tail = excerpt.parts()
    shown = f'<pre class="{stream}">{output(head)}</pre>\n'
    if tail:
        missing = size(excerpt.size - len(head) - len(tail))
        shown += f'<p class="gap">{missing} of {size(excerpt.size)} are left out here</p>\n'
        shown += f'<pre class="{stream}">{output(tail)}</pre>\n'
    return f'<div class="stream"><span class="label">{stream}</span>\n{shown}</div>\n'
