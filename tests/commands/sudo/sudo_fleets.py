"""Fleets of one server's users, for sudo."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from multirsh.commands.command import Command
from multirsh.commands.sudo.options import Become, Sudo
from multirsh.engine.fleet import Fleet
from multirsh.engine.options import Limits, Timeouts
from multirsh.engine.results import HostResult
from multirsh.transports.passwords import PasswordSource
from tests.fleets import addresses, hosts_on, known, ssh_options
from tests.servers.accounts import PASSWORD, Person
from tests.servers.daemon import Daemon
from tests.waiting import HANG_GUARD_S


@dataclass
class Fleets:
    """Makes fleets of the server's users."""

    server: Daemon
    folder: Path
    warnings: list[str] = field(default_factory=list)

    def of(self, *people: Person, password: str | None = PASSWORD, fanout: int = 64) -> Fleet:
        """A host for each of ``people``, in order."""
        names = addresses(len(people))
        hosts = [
            host
            for name, person in zip(names, people, strict=True)
            for host in hosts_on(self.server, [name], user=person.name)
        ]
        return Fleet(
            hosts,
            limits=Limits(fanout=fanout),
            timeouts=Timeouts(connect=HANG_GUARD_S, close=HANG_GUARD_S, kill_after=0.5),
            ssh=ssh_options(known(self.server, names, self.folder)),
            sudo_password=None if password is None else PasswordSource(call=lambda: password),
            warn=self.warnings.append,
        )

    async def run(
        self,
        *people: Person,
        command: str | Command = "id -un",
        password: str | None = PASSWORD,
        user: str = "root",
        by: Become = Become.SUDO,
        stdin: bytes | None = None,
        fanout: int = 64,
    ) -> list[HostResult]:
        """Run ``command`` as ``user``."""
        async with self.of(*people, password=password, fanout=fanout) as fleet:
            results = await fleet.run(command, sudo=Sudo(user, by), stdin=stdin).gather()
        return [results[host.name] for host in fleet.hosts]
