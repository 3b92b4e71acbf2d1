"""What sudo began is ended with the password that began it."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from multirsh.commands.sudo.options import Sudo
from multirsh.events import HostFinished, Output
from multirsh.model import Fate, Status
from tests.commands.sudo.sudo_fleets import Fleets
from tests.servers.sudoers import FREE, OTHER, TRUSTED, SudoRules

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

_SECONDS = itertools.count(random.SystemRandom().randrange(10**8, 9 * 10**8))


def sleepers(nap: str) -> list[str]:
    """The command lines of those who sleep for ``nap``, sudo's and shells' aside."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if words[:2] == [b"sleep", nap.encode()]:
            found.append(entry.name)
    return found


@pytest.mark.parametrize("rule", ["", "Defaults use_pty\n", "Defaults timestamp_timeout=0\n"])
@pytest.mark.parametrize("user", ["root", OTHER.name])
@pytest.mark.parametrize(
    "command",
    [
        "sleep NAP",
        "sleep NAP; echo went on",
        "(sleep NAP & sleep NAP); echo went on",
        "trap '' TERM; sleep NAP; sleep NAP",
    ],
)
async def test_nothing_is_left(fleets: Fleets, rules: SudoRules, rule: str, user: str, command: str) -> None:
    rules.rule(rule)
    nap = str(next(_SECONDS))
    endings: list[HostFinished] = []
    async with fleets.of(TRUSTED, FREE) as fleet:
        assert (await fleet.run("true", sudo=Sudo(user)).gather()).is_ok
        run = fleet.run("echo up; " + command.replace("NAP", nap), sudo=Sudo(user))
        up = 0
        async for event in run.events():
            if isinstance(event, Output):
                up += 1
                if up == 2:
                    run.stop()
            elif isinstance(event, HostFinished):
                endings.append(event)

    assert sleepers(nap) == []
    assert [ending.status for ending in endings] == [Status.CANCELLED] * 2
    assert [ending.error and ending.error.fate for ending in endings] == [Fate.DEAD] * 2
    assert "incorrect" not in rules.log
