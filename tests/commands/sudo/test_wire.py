"""sudo for real: Debian's, by sshd, on many hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from multirsh.commands.command import Command
from multirsh.commands.sudo.options import Sudo
from multirsh.engine.fleet import Fleet
from multirsh.engine.limits import Limits, Timeouts
from multirsh.engine.results import HostResult
from multirsh.model import ErrorKind, Failure, Phase, Status
from multirsh.transports.passwords import PasswordSource
from tests.fleets import NEVER_S, addresses, hosts_on, known, ssh_options
from tests.servers.accounts import PASSWORD, Person
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.servers.sudoers import FREE, OTHER, STRANGER, TRUSTED, SudoRules

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

CANARY = "canary-%H-7f3a 'wrong\\"


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
            timeouts=Timeouts(connect=NEVER_S, close=NEVER_S),
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
        stdin: bytes | None = None,
        fanout: int = 64,
    ) -> list[HostResult]:
        """Run ``command`` by sudo."""
        async with self.of(*people, password=password, fanout=fanout) as fleet:
            results = await fleet.run(command, sudo=Sudo(user), stdin=stdin).gather()
        return [results[host.name] for host in fleet.hosts]


@pytest.fixture
def fleets(server: Daemon, rules: SudoRules, in_module_namespace: Namespace, tmp_path: Path) -> Fleets:
    """Of the file's server, whose rules are as at first."""
    return Fleets(server, tmp_path)


def told(results: Sequence[HostResult]) -> list[tuple[Status, bytes, bytes]]:
    return [(result.status, result.stdout, result.stderr) for result in results]


async def test_the_password_is_given_where_it_is_asked_for(fleets: Fleets) -> None:
    results = await fleets.run(TRUSTED, FREE, TRUSTED)

    assert told(results) == [(Status.OK, b"root\n", b"")] * 3


async def test_it_runs_as_another_user(fleets: Fleets) -> None:
    results = await fleets.run(TRUSTED, FREE, user=OTHER.name)

    assert told(results) == [(Status.OK, b"mrother\n", b"")] * 2


async def test_fifty_hosts(fleets: Fleets, rules: SudoRules) -> None:
    people = [TRUSTED] * 30 + [FREE] * 15 + [STRANGER] * 5

    results = await fleets.run(*people, stdin=b"to all\n", command="cat; id -un; echo done >&2; exit 3")

    assert told(results[:45]) == [(Status.FAILED, b"to all\nroot\n", b"done\n")] * 45
    assert [result.exit_status for result in results[:45]] == [3] * 45
    for result in results[45:]:
        assert result.error == Failure(ErrorKind.DENIED, Phase.SUDO, "mrstranger is not in the sudoers file.")
    assert "incorrect" not in rules.log
    assert rules.failures(TRUSTED) == 0


@pytest.mark.parametrize("fanout", [1, 64])
async def test_a_wrong_password_is_one_attempt_of_one_host(
    fleets: Fleets, rules: SudoRules, fanout: int
) -> None:
    people = [TRUSTED] * 45 + [FREE] * 5

    results = await fleets.run(*people, password=CANARY, fanout=fanout)

    statuses = [result.status for result in results]
    assert statuses == [Status.AUTH] * 45 + [Status.OK] * 5
    (refused,) = [
        result
        for result in results[:45]
        if result.error and result.error.message == "the password was refused"
    ]
    untried = Failure(
        ErrorKind.UNTRIED,
        Phase.SUDO,
        f"the password was refused on {refused.host.name}, and was not tried here",
    )
    assert {result.error for result in results[:45] if result is not refused} == {untried}
    assert rules.log.count("incorrect password attempt") == 1
    assert " 1 incorrect password attempt" in rules.log
    assert fleets.warnings == [
        f"sudo: the password was refused on {refused.host.name}; it is not tried on other hosts"
    ]
    # One for the password, and one that PAM counts for the prompt that was not answered.
    assert rules.failures(TRUSTED) == 2
