"""After a timeout, and after Ctrl-C twice, nothing of the command is left on the remote, as ps there says."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end.finished_run import sleeping, start, told_by
from tests.program import Program
from tests.servers.daemon import Daemon
from tests.servers.dropbear import start_dropbear
from tests.servers.namespace import Namespace
from tests.servers.requirement import program
from tests.servers.sshd import start_sshd
from tests.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

NAPS = itertools.count(10**8 + os.getpid() * 1000)
"""Numbers of seconds that nobody else sleeps: each stands for NAP in the commands."""

COMMANDS = {
    "plain": "sleep NAP; echo went on",
    "pipeline": "sleep NAP | cat | cat",
    "children": "sh -c 'sleep NAP & sleep NAP & wait'; echo went on",
    "ignores TERM": "trap '' TERM; sleep NAP; sleep NAP",
    "sudo": "sudo sleep NAP; echo went on",
}
"""One for each host, in this order."""

SLEEPERS = 6


def each_its_own(nap: str) -> str:
    """A command that is another on each host: a host's address is the third word of SSH_CONNECTION."""
    cases = [
        f"*' 127.1.0.{number} '*) {command.replace('NAP', nap)};;"
        for number, command in enumerate(COMMANDS.values(), 1)
    ]
    return f'case "$SSH_CONNECTION" in {" ".join(cases)} esac'


@pytest.fixture(scope="module")
def servers(
    module_namespace: Namespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Daemon]]:
    """One sshd and one dropbear, where the guest, whom sudo calls nobody, may do everything."""
    program("sudo", package="sudo")
    sudoers = tmp_path_factory.mktemp("sudo") / "sudoers"
    sudoers.write_text("nobody ALL=(ALL) NOPASSWD: ALL\nroot ALL=(ALL) NOPASSWD: ALL\n")
    sudoers.chmod(0o440)
    replaced: dict[str, Path] = {"/etc/sudoers": sudoers}
    with ExitStack() as stack:
        yield {
            "sshd": stack.enter_context(start_sshd(namespace=module_namespace, replaced=replaced)),
            "dropbear": stack.enter_context(start_dropbear(namespace=module_namespace, replaced=replaced)),
        }


def shown_by_ps(nap: str) -> list[str]:
    """What ``ps`` shows of a nap; the client, which names it too, has ended."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], check=True, capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if nap in line]


@pytest.mark.parametrize("user", ["guest", "root"])
@pytest.mark.parametrize("kind", ["sshd", "dropbear"])
@pytest.mark.parametrize("way", ["timeout", "interrupt"])
def test_nothing_is_left(
    way: str,
    kind: str,
    user: str,
    servers: dict[str, Daemon],
    in_module_namespace: Namespace,
    multirsh: Program,
) -> None:
    server, nap = servers[kind], str(next(NAPS))
    multirsh.knows(server, len(COMMANDS))
    words = ["-l", user, "--kill-after", "1", *(["-u", "1.5"] if way == "timeout" else [])]
    process = start(multirsh, *words, each_its_own(nap))
    number = None
    if way == "interrupt":
        number = signal.SIGINT
        wait_until(lambda: len(sleeping(nap)) == SLEEPERS, what="the commands")
        process.send_signal(number)
        wait_until_said(process, b"starting no more hosts")
        process.send_signal(number)
    told = told_by(process, multirsh, in_module_namespace, [server.port], signal=number)
    assert shown_by_ps(nap) == []
    assert told.statuses() == {"timeout" if number is None else "cancelled": len(COMMANDS)}
    assert told.outputs == {}
    assert "its processes are dead" in told.err
    assert told.run["ports"]["closed_by"] == {"remote": len(COMMANDS), "local": 0, "reset": 0}


def wait_until_said(process: subprocess.Popen[bytes], words: bytes) -> None:
    """Read stderr up to a line with ``words``."""
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"it ended and did not say {words!r}")
