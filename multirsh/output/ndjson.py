r"""Events as NDJSON: one JSON object a line, on stdout, alone.

If a chunk ends within a character, its last bytes wait for the next chunk, so that text stays text (``data``)
and only bytes that are not UTF-8 become ``data_b64``. All ``data`` and ``data_b64`` of one stream of one
host, joined, are its exact bytes.

A line is pure UTF-8 and safe to look at: characters with power over a terminal, and those that some readers
take for the end of a line, are written as JSON's ``\uXXXX``, which every parser reads back as the same
character. A lone surrogate has no place in UTF-8 and becomes U+FFFD.

Sources: RFC 8259 section 8.1 (UTF-8) and section 7 (escapes).
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Final

from multirsh.events import Event, HostFinished, HostStarted, Output
from multirsh.output.batch import STREAMS, Stream, Write
from multirsh.output.escape import TERMINAL_CONTROLS, torn_tail

_UNSAFE: Final = re.compile(f"[{TERMINAL_CONTROLS}\u2028\u2029\ud800-\udfff]")
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class Ndjson:
    """Writes events as NDJSON. It holds at most three bytes for each stream of each host in flight."""

    def __init__(self) -> None:
        self._torn: dict[tuple[str, Stream], Output] = {}
        self._t = 0.0

    def feed(self, event: Event) -> tuple[Write, ...]:
        """Take the next event, and give the lines that it makes ready."""
        self._t = event.t
        match event:
            case Output():
                return _writes(self._output(event))
            case HostStarted() | HostFinished():
                return _writes(*self._flush(event.host), event)
            case _:
                return _writes(event)

    def close(self) -> tuple[Write, ...]:
        """Give the held bytes of all hosts that never finished."""
        hosts = dict.fromkeys(host for host, _ in self._torn)
        return _writes(*(output for host in hosts for output in self._flush(host)))

    def _output(self, event: Output) -> Output | None:
        key = (event.host, event.stream)
        held = self._torn.pop(key, None)
        text = event.data if held is None else held.data + event.data
        cut = len(text) - torn_tail(text)
        if cut < len(text):
            self._torn[key] = dataclasses.replace(event, data=text[cut:])
        return dataclasses.replace(event, data=text[:cut]) if cut else None

    def _flush(self, host: str) -> list[Output]:
        """Release the held bytes of a host, with the present time, so that ``t`` never goes back."""
        waiting = [self._torn.pop((host, stream), None) for stream in STREAMS]
        return [dataclasses.replace(output, t=self._t) for output in waiting if output is not None]


def encode(event: Event) -> bytes:
    """Encode an event as one line, with its end."""
    return safe(_ENCODER.encode(event.to_dict())).encode() + b"\n"


def safe(line: str) -> str:
    """Make a line of JSON safe to look at and to split into lines; its value stays the same."""
    return _UNSAFE.sub(_as_json_escape, line)


def _as_json_escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return "\\ufffd" if 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"  # noqa: PLR2004 - the surrogates


def _writes(*events: Event | None) -> tuple[Write, ...]:
    return tuple(Write("stdout", encode(event)) for event in events if event is not None)
