"""What waits for a run's record, and what does not."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest

from multirsh.engine.emitter import Record
from multirsh.engine.fleet import Fleet
from multirsh.engine.options import Timeouts
from multirsh.events import Event, HostFinished, HostStarted, RunFinished, RunStarted
from multirsh.model import Host, Status, TransportName
from multirsh.testing import FakeTransport
from tests.engine.watched import watching
from tests.virtual_time import idle, in_virtual_time

pytestmark = pytest.mark.usefixtures("no_leaks")


class SlowRecord(Record):
    """A record whose disk answers when the test says so."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.tickets: list[Future[None]] = []
        self.is_closed = False
        self.given_up: list[str] = []

    def record(self, event: Event) -> Future[None]:
        """Take it."""
        assert not self.is_closed
        self.events.append(event)
        return self._ticket()

    def close(self) -> Future[None]:
        """Take no more."""
        self.is_closed = True
        return self._ticket()

    def give_up(self, reason: str) -> None:
        """Have all of it done."""
        self.given_up.append(reason)
        for ticket in self.tickets:
            if not ticket.done():
                ticket.set_result(None)

    def _ticket(self) -> Future[None]:
        ticket: Future[None] = Future()
        ticket.set_running_or_notify_cancel()
        if self.given_up:
            ticket.set_result(None)
        self.tickets.append(ticket)
        return ticket

    async def answer(self, kind: type[Event] | None = None) -> None:
        """Have what came so far safe, up to the first of a kind; then let the run go on."""
        kinds = [type(event) for event in self.events]
        upto = len(self.tickets) if kind is None else kinds.index(kind) + 1
        for ticket in self.tickets[:upto]:
            if not ticket.done():
                ticket.set_result(None)
        await idle()


@in_virtual_time
async def test_a_command_is_sent_when_its_start_is_durable_and_an_event_is_read_when_it_is() -> None:
    record, transport = SlowRecord(), FakeTransport()
    async with watching(transport, "a", journal=record) as watched:
        assert [type(event) for event in record.events] == [RunStarted, HostStarted]
        assert watched.events == []
        (connection,) = transport.connections
        await record.answer(RunStarted)
        assert connection.authenticated_at is not None
        assert connection.commands == []
        await record.answer(HostStarted)
        assert connection.commands == ["true"]
        assert [type(event) for event in watched.events] == [RunStarted, HostStarted]
        assert isinstance(record.events[-1], RunFinished), (
            "the run is over, and the reader has not been given that"
        )
        await record.answer()
    assert watched.events == record.events
    assert watched.statuses == {"a": Status.OK}


@in_virtual_time
async def test_a_run_that_waits_for_its_record_can_be_stopped_and_no_command_has_run() -> None:
    record, transport = SlowRecord(), FakeTransport()
    async with watching(transport, "a b", journal=record) as watched:
        watched.run.stop()
        await idle()
        assert {type(event) for event in record.events[-3:]} == {HostFinished, RunFinished}
        while not record.is_closed:
            await record.answer()
        await record.answer()
    assert watched.statuses == {"a": Status.CANCELLED, "b": Status.CANCELLED}
    assert all(connection.commands == [] for connection in transport.connections)


@in_virtual_time
async def test_a_reader_that_leaves_early_leaves_a_complete_record() -> None:
    fleet = Fleet([Host("a"), Host("b")], transports={TransportName.SSH: FakeTransport()})

    class QuickRecord(SlowRecord):
        def _ticket(self) -> Future[None]:
            ticket = super()._ticket()
            ticket.set_result(None)
            return ticket

    record = QuickRecord()
    async with fleet:
        async for _ in fleet.run("true", journal=record):
            break
    assert isinstance(record.events[-1], RunFinished)
    assert {event.host for event in record.events if isinstance(event, HostFinished)} == {"a", "b"}
    assert record.is_closed


@in_virtual_time
async def test_a_record_that_never_answers_is_given_up_and_the_run_continues() -> None:
    record, transport = SlowRecord(), FakeTransport()
    async with watching(transport, "a b", journal=record) as watched:
        pass
    assert watched.statuses == {"a": Status.OK, "b": Status.OK}
    assert set(record.given_up) == {"no answer within 10 s"}


@pytest.mark.parametrize("ends", ["by a signal", "at its deadline"])
@in_virtual_time
async def test_a_run_that_is_being_stopped_gives_up_a_record_sooner(ends: str) -> None:
    record, transport, now = SlowRecord(), FakeTransport(), asyncio.get_running_loop().time
    began = now()
    timeouts = Timeouts(run=3.0 if ends == "at its deadline" else None)
    async with watching(transport, "a b", journal=record, timeouts=timeouts) as watched:
        if ends == "by a signal":
            watched.run.stop(signal=15)
    status = Status.CANCELLED if ends == "by a signal" else Status.TIMEOUT
    assert watched.statuses == {"a": status, "b": status}
    assert set(record.given_up) == {"no answer within 2 s"}
    assert now() - began == pytest.approx(2.0 if ends == "by a signal" else 5.0, abs=0.1)
