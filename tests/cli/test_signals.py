"""Ctrl-C and its kin: everybody's ending is told, the remotes close first, nothing is left."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import time

import pytest

from tests.cli.program import Program, ended, wait_until
from tests.cli.test_json import events_of
from tests.conftest import StartHooked
from tests.servers.daemon import Daemon
from tests.servers.hooked import AtClose, Conduct, never_ends
from tests.servers.namespace import Namespace

pytestmark = pytest.mark.root

SLEEPING = ("-f", "hosts.yaml", "-j", "5", "sleep 60")
RUNNING = 5


def wait_for_commands(process: subprocess.Popen[bytes], namespace: Namespace, port: int) -> None:
    """Wait until five connections stand, and a little for their commands: sshd says nothing of those."""
    wait_until(lambda: len(namespace.client_side([port], state="ESTAB")) == RUNNING, what="five connections")
    time.sleep(0.3)
    assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_a_signal_stops_in_order(
    on_sshd: Program, sshd: Daemon, in_module_namespace: Namespace, number: signal.Signals
) -> None:
    process = on_sshd.start("--json", "--close-timeout", "3", *SLEEPING)
    wait_for_commands(process, in_module_namespace, sshd.port)

    process.send_signal(number)
    sent = time.monotonic()
    end = ended(process)

    assert time.monotonic() - sent < 2.5  # sshd closes at once: the close timeout is not needed
    assert not in_module_namespace.client_side([sshd.port])
    rows = events_of(end.out)
    assert end.code == 128 + number == rows[-1]["exit_code"]
    statuses = [row["status"] for row in rows if row["event"] == "host_finished"]
    assert sorted(statuses) == ["cancelled"] * 5 + ["not_run"] * 15
    assert len({row["host"] for row in rows if row["event"] == "host_finished"}) == 20
    assert rows[-1]["ports"]["closed_by"] == {"remote": 5, "local": 0, "reset": 0}
    assert end.err.startswith(
        f"multirsh: {number.name}: stopping; once more to stop waiting for the remotes\n"
    )
    assert "\n20 hosts: 5 cancelled, 15 not run in " in end.err
    assert "\ncancelled (stopped): h[01-05]\n" in end.err
    assert "\nnot run: h[06-20]\n" in end.err


def test_a_second_signal_waits_for_nobody(
    namespace: Namespace, in_namespace: Namespace, hooked: StartHooked, multirsh: Program
) -> None:
    server = hooked(Conduct(session=never_ends, at_close=AtClose.IGNORES), address="0.0.0.0")
    multirsh.knows(server, 8)
    process = multirsh.start("--close-timeout", "30", *SLEEPING)
    wait_for_commands(process, namespace, server.port)

    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    end = ended(process)

    assert time.monotonic() - sent < 2
    assert end.code == 130
    assert ", 5 by a reset, in TIME_WAIT 0\n" in end.err
    assert not namespace.client_side([server.port])


def test_what_the_starter_ignores_is_ignored(
    on_sshd: Program, sshd: Daemon, in_module_namespace: Namespace
) -> None:
    """nohup(1) ignores SIGHUP for us; that must hold."""
    process = on_sshd.start("-f", "hosts.yaml", "-j", "5", "-g", "few", "sleep 1.5", prefix=["nohup"])
    wait_for_commands(process, in_module_namespace, sshd.port)

    process.send_signal(signal.SIGHUP)
    end = ended(process)

    assert end.code == 0


def test_a_signal_before_the_first_connection(multirsh: Program) -> None:
    """While the password is waited for, nothing has run and there is nothing to tell."""
    process = multirsh.start("-w", "a", "--password-command", "touch asked; exec sleep 5 2>&-", "true")
    wait_until((multirsh.home / "asked").exists, what="the password command")

    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    end = ended(process)

    assert time.monotonic() - sent < 2
    assert (end.code, end.out, end.err) == (143, "", "")


def test_a_signal_ends_it_though_stdout_takes_nothing(
    on_sshd: Program, sshd: Daemon, in_module_namespace: Namespace
) -> None:
    """Nobody reads the pipe: its writer waits, and the run must not wait for it."""
    process = on_sshd.start("--close-timeout", "1", "-f", "hosts.yaml", "-j", "5", "yes")
    wait_for_commands(process, in_module_namespace, sshd.port)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 128 + signal.SIGTERM
    assert not in_module_namespace.client_side([sshd.port])
    assert process.stderr is not None
    assert b"20 hosts: 5 cancelled, 15 not run" in process.stderr.read()
    ended(process)


def test_a_known_hosts_that_somebody_holds_does_not_hold_us(
    on_sshd: Program, sshd: Daemon, in_module_namespace: Namespace
) -> None:
    """Each new key waits for the lock in a thread; the end of the run waits for none of them."""
    file = on_sshd.home / "held"
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        new = ("-o", f"UserKnownHostsFile={file}", "--host-keys", "accept-new")
        process = on_sshd.start("-t", "1", "--close-timeout", "1", *new, "-f", "hosts.yaml", "true")
        end = ended(process)
    assert end.code == 3
    assert "20 hosts: 20 timeout" in end.err
    assert not in_module_namespace.client_side([sshd.port])
