"""Copies that failed, as something that their hosts wrote: so they are gathered and compared like that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from multirsh.events import Copied, Event, Output
from multirsh.output.words import copied_words


def with_copies_told(events: Iterable[Event]) -> Iterator[Event]:
    """Put a line of stderr behind each file that was not copied, as it is shown while a run goes on."""
    for event in events:
        yield event
        words = copied_words(event) if isinstance(event, Copied) else None
        if isinstance(event, Copied) and words is not None:
            yield Output(
                run=event.run, t=event.t, host=event.host, stream="stderr", data=f"{words}\n".encode()
            )
