"""Hosts' outputs, host by host, with a fingerprint each by which equals are found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from multirsh.events import Event, HostFinished, HostStarted, Output
from multirsh.model import Status
from multirsh.output.batch import STREAMS, Stream
from multirsh.output.gather.normalize import Normalizer
from multirsh.output.gather.store import Keeper, Kept
from multirsh.output.lines import LineAssembler

DIGEST_BYTES: Final = 32


class Likeness(NamedTuple):
    """What hosts have to share to stand together.

    Attributes:
        ending: Their status, and the exit status or signal.
        digests: Of what they wrote, normalized, for each stream. A line feed at its end is not part of the
            digest proper, but stands after it.
    """

    ending: tuple[Status, int | None, str | None]
    digests: tuple[bytes, ...]

    def but_for_last_newlines(self) -> Likeness:
        """What is shared by outputs that differ in a line feed at their end alone, too."""
        return Likeness(self.ending, tuple(digest[:DIGEST_BYTES] for digest in self.digests))


@dataclass(slots=True)
class Written:
    """What one host, or several alike, have written.

    Attributes:
        hosts: Their names; the first has written just this.
        ending: How they ended.
        texts: The streams that are collected.
        unended: Of these, those without a line feed at the end, where others differ in that alone.
    """

    hosts: list[str]
    ending: HostFinished
    texts: dict[Stream, Kept]
    unended: list[Stream] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written."""
        return not any(text.size for text in self.texts.values())

    def drop(self) -> None:
        """Throw it away."""
        for text in self.texts.values():
            text.drop()


class Collector:
    """Keeps what hosts write until they end; then it is the taker's.

    Args:
        store: Where to.
        streams: Which are collected.
        normalizer: What is not looked at in comparing.
    """

    def __init__(
        self, store: Keeper, streams: Sequence[Stream], normalizer: Normalizer | None = None
    ) -> None:
        self._store = store
        self._streams = tuple(stream for stream in STREAMS if stream in streams)
        self._normalizer = normalizer
        self._hosts: dict[str, dict[Stream, _Collected]] = {}

    def feed(self, event: Event) -> tuple[Likeness, Written] | None:
        """Take the next event; of a host that ends with it, what it has written."""
        match event:
            case Output():
                self._add(event)
            case HostStarted():
                self._restart(event.host)
            case HostFinished():
                return self._take(event)
            case _:
                pass
        return None

    def _add(self, output: Output) -> None:
        """Take output; of a stream that is not collected, nothing."""
        if output.stream not in self._streams:
            return
        collected = self._hosts.get(output.host)
        if collected is None:
            collected = self._hosts[output.host] = self._nothing(output.host)
        collected[output.stream].append(output.data)

    def _restart(self, host: str) -> None:
        """Another attempt begins: what the last one wrote is none of its output."""
        for collected in self._hosts.pop(host, {}).values():
            collected.text.drop()

    def _take(self, finished: HostFinished) -> tuple[Likeness, Written]:
        """What a host has written, which has ended."""
        host = finished.host
        collected = self._hosts.pop(host, None) or self._nothing(host)
        ending = (finished.status, finished.exit_status, finished.signal)
        likeness = Likeness(ending, tuple(collected[stream].digest() for stream in self._streams))
        return likeness, Written([host], finished, {stream: each.text for stream, each in collected.items()})

    def _nothing(self, host: str) -> dict[Stream, _Collected]:
        normalized = None if self._normalizer is None else self._normalizer.for_host(host)
        return {stream: _Collected(self._store.text(), normalized) for stream in self._streams}


@dataclass(slots=True)
class _Collected:
    """One stream of one host.

    Attributes:
        text: What it wrote.
        normalized: Makes its lines comparable; ``None`` where they are as they are.
        is_ended: Whether it ends with a line feed so far, which is not in the digest.
    """

    text: Kept
    normalized: Callable[[bytes], bytes] | None
    is_ended: bool = False
    _hash: hashlib.blake2b = field(default_factory=lambda: hashlib.blake2b(digest_size=DIGEST_BYTES))
    _lines: LineAssembler = field(default_factory=LineAssembler)

    def append(self, data: bytes) -> None:
        self.text.append(data)
        self._compare(data if self.normalized is None else self.normalized(self._lines.feed(data)))

    def digest(self) -> bytes:
        if self.normalized is not None:
            self._compare(self.normalized(self._lines.finish()))
        return self._hash.digest() + (b"\n" if self.is_ended else b"")

    def _compare(self, data: bytes) -> None:
        if not data:
            return
        if self.is_ended:
            self._hash.update(b"\n")
        self.is_ended = data.endswith(b"\n")
        self._hash.update(memoryview(data)[: -1 if self.is_ended else None])
