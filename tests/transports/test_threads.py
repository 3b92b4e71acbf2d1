"""Calls in threads of their own, and what is done where no thread can be had."""

from __future__ import annotations

import asyncio
import threading

import pytest

from multirsh.model import ErrorKind, Phase, Status
from multirsh.ports.allocator import PortAllocator
from multirsh.ports.tally import Tally
from multirsh.shortage import NoThreadError
from multirsh.transports.dialling import Dialler
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.tcp import DialError
from multirsh.transports.threads import daemon_thread, in_daemon_thread
from tests.waiting import HANG_GUARD_S

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """pthread_create(3) says EAGAIN."""

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


async def test_a_call_is_made_in_a_thread_of_its_own() -> None:
    assert await in_daemon_thread(lambda: threading.current_thread().name, name="its own") == "its own"
    with pytest.raises(ValueError, match="wrong"):
        await in_daemon_thread(lambda: int("wrong"), name="its own")


@pytest.mark.usefixtures("no_threads")
async def test_where_there_is_none_it_is_made_here_if_it_may() -> None:
    assert await in_daemon_thread(threading.get_ident, name="any", or_here=True) == threading.get_ident()
    with pytest.raises(ValueError, match="wrong"):
        await in_daemon_thread(lambda: int("wrong"), name="any", or_here=True)
    with pytest.raises(NoThreadError):
        daemon_thread(lambda: None, name="any")


@pytest.mark.usefixtures("no_threads")
async def test_a_name_that_no_thread_is_left_for_is_no_fault_of_the_hosts() -> None:
    dialler = Dialler(ports=PortAllocator(), tally=Tally(), close_timeout=1)
    async with asyncio.timeout(HANG_GUARD_S) as scope:
        with pytest.raises(DialError) as raised:
            await dialler.dial(
                "host.invalid",
                22,
                on_phase=lambda _phase: None,
                login_deadline=LoginDeadline(scope, port_seconds=None, passed=lambda: None),
            )
    assert raised.value.status is Status.LOCAL
    assert (raised.value.failure.kind, raised.value.failure.phase) == (ErrorKind.MEMORY, Phase.RESOLVE)
