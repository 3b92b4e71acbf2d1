"""Listening for a fleet."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator

import pytest

from multirsh.errors import UsageError
from multirsh.lab import sockets
from multirsh.lab.plan import DEFAULT_PORT, Addressing
from multirsh.lab.sockets import endpoint_of, has_loopback_range, open_listeners, reserve_descriptors
from multirsh.ports.sockets import Endpoint
from tests.servers.namespace import Namespace
from tests.servers.ports import free_port

pytestmark = pytest.mark.usefixtures("no_leaks")


@contextlib.contextmanager
def listening(count: int, addressing: Addressing, port: int | None) -> Iterator[list[Endpoint]]:
    listeners = open_listeners(count, addressing=addressing, port=port)
    try:
        yield [endpoint_of(listener) for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


@pytest.mark.parametrize("addressing", list(Addressing))
def test_hosts_on_any_free_port_answer(addressing: Addressing) -> None:
    with listening(5, addressing, 0) as endpoints:
        assert len(set(endpoints)) == 5
        if addressing is Addressing.ADDRESSES:
            assert len({endpoint.port for endpoint in endpoints}) == 1
        for endpoint in endpoints:
            socket.create_connection(endpoint).close()


@pytest.mark.parametrize("addressing", list(Addressing))
def test_a_given_port_that_is_in_use_is_an_error(addressing: Addressing) -> None:
    port = free_port(None, address="127.0.0.1")
    with listening(3, addressing, port), pytest.raises(UsageError, match=f"port {port}.*in use"):
        open_listeners(3, addressing=addressing, port=port)


def test_a_default_port_that_is_in_use_is_replaced_by_a_free_one(in_namespace: Namespace) -> None:
    with (
        listening(2, Addressing.ADDRESSES, None) as first,
        listening(2, Addressing.ADDRESSES, None) as second,
    ):
        assert {endpoint.port for endpoint in first} == {DEFAULT_PORT}
        assert DEFAULT_PORT not in {endpoint.port for endpoint in second}


def test_ports_do_not_exceed_the_largest() -> None:
    with pytest.raises(UsageError, match="past 65535"):
        open_listeners(10, addressing=Addressing.PORTS, port=65530)


def test_this_machine_has_the_range() -> None:
    assert has_loopback_range()


def test_the_soft_limit_is_raised_if_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    reserve_descriptors(10)
    assert asked == []
    reserve_descriptors(500)
    assert asked == [(4096, 4096)]


def test_a_lab_that_cannot_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    with pytest.raises(UsageError, match="4096 open files"):
        reserve_descriptors(4000)


def test_without_a_hard_limit_the_soft_limit_is_what_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    reserve_descriptors(10)
    needed = 10 * sockets.DESCRIPTORS_PER_BUSY_HOST + sockets.DESCRIPTORS_BESIDE
    assert asked == [(needed, resource.RLIM_INFINITY)]
