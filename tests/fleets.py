"""Fleets for tests: hosts that a test's own server stands for, reached with nothing of this user's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from multirsh.engine.fleet import Fleet
from multirsh.engine.options import Limits, Timeouts
from multirsh.events import Event, HostFinished, RunFinished
from multirsh.model import Host, HostKeyPolicy, Settings
from multirsh.transports.options import SshOptions
from multirsh.transports.passwords import PasswordSource
from tests.waiting import HANG_GUARD_S


class SshServer(Protocol):
    """What a fleet must know of a server: a ``Daemon`` or a ``HookedServer``."""

    @property
    def port(self) -> int:
        """Where it listens."""

    @property
    def user(self) -> str:
        """Who may log in."""

    @property
    def client_key(self) -> Path:
        """With which key."""

    def known_hosts(self, names: Sequence[str]) -> str:
        """The known_hosts lines by which ``names`` are this server."""


def addresses(count: int, *, network: str = "127.1") -> list[str]:
    """``count`` loopback addresses, each a host of its own."""
    return [f"{network}.{number // 250}.{number % 250 + 1}" for number in range(count)]


def hosts_on(server: SshServer, names: Iterable[str], **settings: object) -> list[Host]:
    """The hosts that ``server`` stands for."""
    base = Settings(user=server.user, port=server.port, identity=str(server.client_key))
    return [Host(name, settings=replace(base, **settings)) for name in names]  # type: ignore[arg-type]  # by the caller


def known(server: SshServer, names: Sequence[str], folder: Path) -> Path:
    """A known_hosts file that says so."""
    path = folder / "known_hosts"
    with path.open("a", encoding="ascii") as file:
        file.write(server.known_hosts(names))
    return path


def ssh_options(known_hosts: Path, *overrides: str, host_keys: HostKeyPolicy | None = None) -> SshOptions:
    """ssh that reads no file but ``known_hosts`` and asks no agent."""
    return SshOptions(
        settings=Settings(host_keys=host_keys),
        config_file="none",
        overrides=(
            f"UserKnownHostsFile={known_hosts}",
            "GlobalKnownHostsFile=/dev/null",
            "IdentityAgent=none",
            "IdentitiesOnly=yes",
            *overrides,
        ),
    )


def fleet_of(
    hosts: Sequence[Host],
    ssh: SshOptions,
    *,
    fanout: int = 64,
    connect_s: float | None = HANG_GUARD_S,
    command_s: float | None = None,
    close_s: float = HANG_GUARD_S,
    kill_s: float = 0.2,
    password: Path | None = None,
) -> Fleet:
    """A fleet whose timeouts are reached only by the tests that say so.

    But for that from TERM to KILL: servers of tests that do not listen to either are waited for.
    """
    return Fleet(
        hosts,
        limits=Limits(fanout=fanout),
        timeouts=Timeouts(connect=connect_s, command=command_s, kill_after=kill_s, close=close_s),
        ssh=replace(ssh, password=PasswordSource(file=password)),
        warn=lambda _message: None,
    )


def endings(events: Iterable[Event]) -> dict[str, HostFinished]:
    """Each host's one ending; two of one host would be a bug."""
    found: dict[str, HostFinished] = {}
    for event in events:
        if isinstance(event, HostFinished):
            assert event.host not in found, f"{event.host} ended twice"
            found[event.host] = event
    return found


async def run_all(fleet: Fleet, command: str) -> tuple[dict[str, HostFinished], RunFinished, list[Event]]:
    """Run ``command``: the endings by host, the run's ending, and every event."""
    async with fleet:
        events = [event async for event in fleet.run(command).events()]
    last = events[-1]
    assert isinstance(last, RunFinished)
    return endings(events), last, events
