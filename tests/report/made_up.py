"""A made-up run as large as wanted, whose times look like a real one's; the same each time."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterator

from multirsh.events import Event, HostFinished, HostStarted, Output, PortUse, RunFinished, RunStarted
from multirsh.model import ClosedBy, ErrorKind, Failure, Phase, Seconds, Status

_REFUSED = Failure(ErrorKind.REFUSED, Phase.CONNECT, "connection refused by 10.0.0.4 port 22")
_DENIED = Failure(ErrorKind.DENIED, Phase.AUTH, "permission denied (publickey)")
_LATE = Failure(ErrorKind.TIMEOUT, Phase.RUN, "the command did not end within 20 s")


def made_up_run(
    count: int, *, fanout: int = 64, said: Callable[[str, random.Random], bytes] | None = None
) -> Iterator[Event]:
    """The events of a run of ``count`` hosts, of which one of twelve is not ok."""
    draw = random.Random(7)
    names = tuple(f"web{number:04}.example.com" for number in range(1, count + 1))
    yield RunStarted(run="made-up", t=0.0, command="systemctl is-active nginx; uptime -p", hosts=names,
                     fanout=fanout, version="0.1.0")  # fmt: skip
    places = [0.0] * fanout
    later: list[tuple[float, int, Event]] = []
    counts: Counter[Status] = Counter()
    for number, name in enumerate(names):
        begun = heapq.heappop(places) + draw.expovariate(200)
        finished = _ending(name, begun, draw)
        counts[finished.status] += 1
        heapq.heappush(places, begun + finished.seconds.total)
        heapq.heappush(later, (begun, 3 * number, HostStarted(run="made-up", t=begun, host=name, attempt=1)))
        text = (said or _said)(name, draw)
        if finished.seconds.run is not None and text:
            over = begun + finished.seconds.total
            wrote = Output(run="made-up", t=over, host=name, stream="stdout", data=text)
            heapq.heappush(later, (over, 3 * number + 1, wrote))
        heapq.heappush(later, (finished.t, 3 * number + 2, finished))
    last = 0.0
    while later:
        last, _, event = heapq.heappop(later)
        yield event
    use = PortUse(peak=fanout, closed_by={ClosedBy.REMOTE: count - counts[Status.UNREACHABLE]},
                  time_wait_left=0)  # fmt: skip
    yield RunFinished(run="made-up", t=last, counts=counts, exit_code=5, seconds=last, ports=use)


def _said(name: str, draw: random.Random) -> bytes:
    del name
    return b"active\n" if draw.random() < 0.9 else b"active\nup 3 weeks\n"


def _ending(name: str, begun: float, draw: random.Random) -> HostFinished:
    connect, login = 0.02 + draw.expovariate(40), 0.15 + draw.expovariate(12)
    run, close = 0.1 + draw.expovariate(3), draw.expovariate(300)
    seconds = Seconds(connect=connect, auth=login, run=run, close=close, total=connect + login + run)
    status = Status.OK
    exit_status: int | None = 0
    error: Failure | None = None
    match draw.randrange(48):
        case 0:
            status, exit_status, error = Status.UNREACHABLE, None, _REFUSED
            seconds = Seconds(total=connect)
        case 1:
            status, exit_status, error = Status.AUTH, None, _DENIED
            seconds = Seconds(connect=connect, close=close, total=connect + login)
        case 2:
            status, exit_status, error = Status.TIMEOUT, None, _LATE
            seconds = Seconds(
                connect=connect, auth=login, run=run + 4, close=close, total=connect + login + run + 4
            )
        case 3:
            status, exit_status = Status.FAILED, 3
        case _:
            pass
    reached = status is not Status.UNREACHABLE
    return HostFinished(
        run="made-up",
        t=begun + seconds.total + (seconds.close or 0.0),
        host=name,
        status=status,
        exit_status=exit_status,
        signal=None,
        error=error,
        attempts=1,
        closed_by=ClosedBy.REMOTE if reached else None,
        local_port=draw.randrange(32768, 60999) if reached else None,
        stdout_bytes=7,
        stderr_bytes=0,
        seconds=seconds,
    )
