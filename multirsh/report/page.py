"""The HTML page: what can be read without its script, and the data for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Final

from multirsh.events import RunStarted
from multirsh.inventory import fold
from multirsh.model import ClosedBy, Status
from multirsh.output.batch import Stream
from multirsh.output.formatting import duration, format_ending, format_status, plural, size
from multirsh.output.summary import FailureGroup
from multirsh.report.markup import json_data, output, policy, text
from multirsh.report.outputs import Excerpt, PageOutput, PageOutputs
from multirsh.report.record import PartTimes, ReportData, figures

_SCRIPTS: Final = (
    "data.js",
    "view.js",
    "draw.js",
    "timeline.js",
    "chart.js",
    "host.js",
    "outputs.js",
    "main.js",
)
"""The scripts, joined in this order; each may use those before it."""

_FINE: Final = 1.0
"""The time in seconds below which milliseconds are shown."""


def pieces(
    record: ReportData, selection: PageOutputs, *, began: datetime | None, notes: Sequence[str]
) -> Iterator[str]:
    """Write the page, in pieces.

    Raises:
        ValueError: No run has begun.
    """
    started = record.started
    if started is None:
        raise ValueError("there is no run to be shown")
    style, script = _style(), _script()
    yield (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy(style=style, script=script)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{text(_title(started, record))}</title>\n"
        f"<style>{style}</style>\n</head>\n<body>\n"
    )
    yield _header(started, record, began, notes)
    yield "<main>\n"
    yield _outcome(record)
    yield _failures(record.failures())
    yield _files(record)
    yield _TIMELINE
    yield _times(record.times())
    yield from output_groups(selection)
    yield "</main>\n"
    yield f'<script type="application/json" id="data">{json_data(figures(record, selection))}</script>\n'
    yield f"<script>{script}</script>\n</body>\n</html>\n"


@cache
def _style() -> str:
    return _asset("report.css")


@cache
def _script() -> str:
    joined = "\n".join(_asset(name) for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{joined}\n}})();\n'


def _asset(name: str) -> str:
    return (resources.files("multirsh.report") / "assets" / name).read_text(encoding="utf-8")


def _title(started: RunStarted, record: ReportData) -> str:
    counts = record.counts()
    return f"{counts.get(Status.OK, 0):,} of {len(started.hosts):,} ok: {started.command}"


_NO_END: Final = (
    "No end of this run is recorded: it broke off, or is still running. Hosts that had begun and have no end "
    "are shown as lost; their commands may have run."
)


def _header(started: RunStarted, record: ReportData, began: datetime | None, notes: Sequence[str]) -> str:
    finished = record.finished
    facts = [f"run {started.run}"]
    if began is not None:
        facts.append(f"{began.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")
    facts += [_hosts(len(started.hosts)), f"{started.fanout:,} at once"]
    facts.append(duration(record.last if finished is None else finished.seconds))
    facts.append("no end is recorded" if finished is None else f"exit code {finished.exit_code}")
    facts.append(f"multirsh {started.version}")
    listed = "".join(f"<li>{text(fact)}</li>" for fact in facts)
    all_notes = [*([_NO_END] if finished is None else []), *notes]
    noted = "".join(f'<p class="note">{text(note)}</p>\n' for note in all_notes)
    return (
        f"<header>\n<h1><code>{text(started.command)}</code></h1>\n"
        f'<ul class="facts">{listed}</ul>\n{noted}</header>\n'
    )


def _hosts(count: int) -> str:
    return f"{count:,} {'host' if count == 1 else 'hosts'}"


def _outcome(record: ReportData) -> str:
    counts = record.counts()
    total = sum(counts.values())
    ok = counts.get(Status.OK, 0)
    bar, left = [], 0.0
    for outcome, count in counts.items():
        width = 100 * count / total
        bar.append(f'<rect class="fill {outcome}" x="{left:.3f}" width="{width:.3f}" height="1"/>')
        left += width
    chips = "".join(
        f'<li><button type="button" class="chip {outcome}" data-outcome="{outcome}" aria-pressed="true">'
        f'<i class="swatch"></i><b>{count:,}</b> {format_status(outcome)}</button></li>'
        for outcome, count in counts.items()
    )
    return (
        '<section id="outcome">\n'
        f'<p class="lead"><b>{ok:,}</b> of {total:,} ok</p>\n'
        '<svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none" role="img" '
        f'aria-label="hosts by outcome">{"".join(bar)}</svg>\n'
        f'<ul class="chips">{chips}</ul>\n{_connections(record)}</section>\n'
    )


def _connections(record: ReportData) -> str:
    """Show which end closed first, and what that left in TIME_WAIT."""
    closed = record.closed_by()
    if not any(closed.values()):
        return ""
    remote, reset, local = (closed.get(end, 0) for end in (ClosedBy.REMOTE, ClosedBy.RESET, ClosedBy.LOCAL))
    tiles = [
        _tile(f"{remote:,}", "closed by the remote first", "good" if remote else ""),
        _tile(f"{local:,}", "closed by this end first", "bad" if local else "good"),
    ]
    if reset:
        tiles.append(_tile(f"{reset:,}", "ended by a reset"))
    if record.finished is not None:
        ports = record.finished.ports
        left = ports.time_wait_left
        figure = "not known" if left is None else f"{left:,}"
        tone = "" if left is None else "bad" if left else "good"
        tiles.append(_tile(figure, "left in TIME_WAIT here", tone))
        tiles.append(_tile(f"{ports.peak:,}", "most connections open at once"))
    return f'<dl class="tiles">{"".join(tiles)}</dl>\n'


def _tile(figure: str, words: str, tone: str = "") -> str:
    return f'<div class="{tone}"><dt>{words}</dt><dd>{figure}</dd></div>'


def _failures(groups: Sequence[FailureGroup]) -> str:
    if not groups:
        return ""
    rows = []
    for each in groups:
        message = each.shown_message
        reason = f' <span class="reason">{text(each.reason)}</span>' if each.reason else ""
        said = f'<div class="message">{text(message)}</div>' if message else ""
        rows.append(
            f'<tr><td class="n">{len(each.hosts):,}</td>'
            f'<th scope="row" class="{each.status}"><i class="swatch"></i>'
            f"{format_status(each.status)}{reason}</th>"
            f'<td><div class="names">{text(fold(each.hosts))}</div>{said}</td></tr>\n'
        )
    return (
        '<section id="troubles">\n<h2>Not ok</h2>\n<table class="troubles"><tbody>\n'
        f"{''.join(rows)}</tbody></table>\n</section>\n"
    )


def _files(record: ReportData) -> str:
    if not record.copies:
        return ""
    counts = ", ".join(f"{count:,} {text(how)}" for how, count in sorted(record.copies.items()))
    failed = "".join(
        f"<li><b>{text(host)}</b> <code>{text(path)}</code> {text(why)}</li>\n"
        for host, path, why in record.failed_files
    )
    more = record.copies["failed"] - len(record.failed_files)
    rest = f'<p class="note">{more:,} more are not named here.</p>' if more > 0 else ""
    return (
        f'<section id="files">\n<h2>Files</h2>\n<p>{counts}; {size(record.copied_bytes)}</p>\n'
        f'<ul class="plain">{failed}</ul>\n{rest}</section>\n'
    )


_TIMELINE: Final = """<section id="time">
<h2>Time</h2>
<noscript><p class="note">The timeline is drawn by the page's script, which is off here.</p></noscript>
<div class="tools" hidden>
<label>Hosts <input type="search" id="find-host" placeholder="part of a name" spellcheck="false"></label>
<label>Order <select id="order"><option value="start">start</option><option value="end">end</option>
<option value="longest">longest first</option><option value="outcome">outcome</option>
<option value="selection">selection</option></select></label>
<label>Rows <input type="range" id="rows" min="0" max="100" value="0" step="1"></label>
<label><input type="checkbox" id="aligned"> from each host's start</label>
<button type="button" id="whole">Whole run</button>
<output id="shown"></output>
</div>
<div class="plot" hidden>
<ul class="key" id="chart-key"></ul>
<canvas id="chart" role="img" aria-label="hosts in flight, connections and local ports over time"></canvas>
<ul class="key" id="timeline-key"></ul>
<div id="timeline" tabindex="0" role="group" aria-label="a row for each host, over time">
<canvas></canvas><div class="spacer"></div><div class="cursor" hidden></div><div class="brush" hidden></div>
</div>
<p class="hint">Drag across to zoom into a time, or use Ctrl and the wheel. A click, or the
arrow keys, show the details of a host.</p>
</div>
<aside id="host" hidden aria-live="polite"></aside>
<div id="tip" hidden></div>
</section>
"""


def _times(times: Sequence[PartTimes]) -> str:
    if not times:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{each.name}</th><td class="n">{each.hosts:,}</td>'
        f'<td class="n">{_took(each.median)}</td><td class="n">{_took(each.most)}</td>'
        f'<td class="n">{_took(each.longest)}</td><td>{text(each.slowest)}</td></tr>\n'
        for each in times
    )
    return (
        '<section id="times">\n<h2>How long it took</h2>\n<table class="times">\n<thead><tr><th></th>'
        '<th class="n">hosts</th><th class="n">median</th><th class="n">95 %</th><th class="n">longest</th>'
        f"<th>slowest host</th></tr></thead>\n<tbody>\n{rows}</tbody></table>\n</section>\n"
    )


def _took(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < _FINE else duration(seconds)


_OPEN_GROUPS: Final = 8
_OPEN_BYTES: Final = 4_000
"""The first groups are open if they are short."""

_MANY: Final = 300
"""The number of outputs above which the browser lays out only those that are visible."""

_FIRST_LINE: Final = 160
"""The bytes of the first line that are shown while a group is closed."""


def output_groups(selection: PageOutputs) -> Iterator[str]:
    """Write the section of outputs, in pieces."""
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


def _group(number: int, group: PageOutput) -> str:
    ending = group.ending
    total = sum(excerpt.size for excerpt in group.streams.values())
    is_open = number < _OPEN_GROUPS and total <= _OPEN_BYTES
    first = next(iter(group.streams.values())).parts()[0].lstrip().partition(b"\n")[0][:_FIRST_LINE]
    ended = (
        "" if ending.status is Status.OK else f'<span class="ending">{text(format_ending(ending))}</span> '
    )
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
