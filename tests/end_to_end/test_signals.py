"""Ctrl-C and its kin: everybody's ending is told, the remotes close first, nothing is left."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from multirsh.cli.signals import BURST_S, StopSignals
from tests.conftest import StartHooked
from tests.end_to_end.remotes import Remotes
from tests.end_to_end.test_json import events_of
from tests.program import Program, ended, said
from tests.servers.daemon import Daemon
from tests.servers.hooked import AtClose, Conduct, Link, Process, never_ends
from tests.servers.namespace import Namespace
from tests.virtual_time import in_virtual_time
from tests.waiting import HANG_GUARD_S, wait_until

pytestmark = pytest.mark.root

HOSTS = ("-f", "hosts.yaml", "-j", "5")
RUNNING = 5

FIRST = (
    "multirsh: SIGINT: starting no more hosts; repeat it to end the running commands, "
    "and again to leave them running\n"
)
SECOND = "multirsh: {}: ending the running commands; repeat it to leave them running\n"


TICKS = os.sysconf("SC_CLK_TCK")


def cpu_ticks(pid: int) -> int:
    """The time it has had of a processor, in clock ticks (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def statuses(rows: list[dict[str, Any]]) -> Counter[str]:
    """How many hosts ended how; each once."""
    finished = [row for row in rows if row["event"] == "host_finished"]
    assert len({row["host"] for row in finished}) == len(finished) == len(rows[0]["hosts"])
    assert (rows[0]["event"], rows[-1]["event"]) == ("run_started", "run_finished")
    return Counter(row["status"] for row in finished)


def test_the_first_ctrl_c_lets_those_in_flight_end_and_tells_the_status(
    on_sshd: Program, sshd: Daemon, in_module_namespace: Namespace, remotes: Remotes
) -> None:
    process = on_sshd.start("--json", *HOSTS, remotes.waiting)
    remotes.wait_for(RUNNING)

    process.send_signal(signal.SIGINT)
    told = said(process, "longest in flight")
    assert told.startswith(FIRST)
    assert re.search(r"^0/20, 5 in flight, no more to start, 0:0\d$", told, re.MULTILINE), told
    assert "longest in flight: h01 0:0" in told
    assert process.poll() is None
    remotes.let_go()
    end = ended(process)

    rows = events_of(end.out)
    assert statuses(rows) == {"ok": 5, "not_run": 15}
    assert end.code == 130 == rows[-1]["exit_code"]
    assert "20 hosts: 5 ok, 15 not run in " in end.err
    assert not in_module_namespace.client_side([sshd.port])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_the_second_step_ends_the_commands_and_closes_in_order(
    on_sshd: Program,
    sshd: Daemon,
    in_module_namespace: Namespace,
    remotes: Remotes,
    number: signal.Signals,
) -> None:
    """A second Ctrl-C; or SIGTERM or SIGHUP, whose sender is not there to be told what one more would do."""
    process = on_sshd.start("--json", *HOSTS, remotes.marking())
    remotes.wait_for(RUNNING)

    if number is signal.SIGINT:
        process.send_signal(number)
        said(process, "longest in flight")
    process.send_signal(number)
    end = ended(process)

    assert not remotes.alive
    assert not in_module_namespace.client_side([sshd.port])
    rows = events_of(end.out)
    assert statuses(rows) == {"cancelled": 5, "not_run": 15}
    assert end.code == 128 + number == rows[-1]["exit_code"]
    assert rows[-1]["ports"]["closed_by"] == {"remote": 5, "local": 0, "reset": 0}
    assert end.err.startswith(SECOND.format(number.name))
    assert "\n20 hosts: 5 cancelled, 15 not run in " in end.err
    assert "\ncancelled (stopped, its processes are dead): h[01-05]\n" in end.err
    assert "\nnot run: h[06-20]\n" in end.err


@pytest.mark.parametrize("words", [(), ("--json",)], ids=["live", "json"])
def test_the_third_waits_for_nobody_and_tells_everything(
    namespace: Namespace,
    in_namespace: Namespace,
    hooked: StartHooked,
    multirsh: Program,
    words: tuple[str, ...],
) -> None:
    begun: list[object] = []

    async def endless(process: Process, link: Link) -> None:
        begun.append(process)
        await never_ends(process, link)

    server = hooked(Conduct(session=endless, at_close=AtClose.IGNORES), address="0.0.0.0")
    multirsh.knows(server, 8)
    process = multirsh.start(*words, "--close-timeout", "600", "--kill-after", "600", *HOSTS, "sleep 60")
    wait_until(lambda: len(begun) >= RUNNING, what="five commands")

    process.send_signal(signal.SIGINT)
    said(process, "longest in flight")
    process.send_signal(signal.SIGINT)
    said(process, "repeat it to leave them running")
    process.send_signal(signal.SIGINT)
    end = ended(process)

    assert end.code == 130
    assert "\n8 hosts: 5 cancelled, 3 not run in " in "\n" + end.err
    assert "cancelled (stopped, whether its processes are dead is unknown): h[01-05]\n" in end.err
    assert ", 5 by a reset, in TIME_WAIT 0\n" in end.err
    assert "Traceback" not in end.err
    assert not namespace.client_side([server.port])
    if words:
        assert statuses(events_of(end.out)) == {"cancelled": 5, "not_run": 3}


def test_sigusr1_asks_how_it_goes(on_sshd: Program, remotes: Remotes) -> None:
    process = on_sshd.start("-f", "hosts.yaml", "-g", "few", remotes.waiting)
    remotes.wait_for(RUNNING)

    process.send_signal(signal.SIGUSR1)
    told = said(process, "longest in flight")
    remotes.let_go()
    end = ended(process)

    assert re.fullmatch(
        r"0/5, 5 in flight, 0 to start, 0:0\d\nlongest in flight: h01 0:0\d, h02 0:0\d, .*\n", told
    )
    assert (end.code, end.out.count("done")) == (0, 5)


def test_sigusr1_before_and_after_the_run_asks_nobody(on_sshd: Program) -> None:
    """Whoever asks every now and then asks now and then too early, or too late."""
    slow = "touch asked; until test -e go; do sleep 0.02; done; echo secret"
    process = on_sshd.start("-f", "hosts.yaml", "-w", "h01", "--json", "--password-command", slow, "true")
    wait_until((on_sshd.home / "asked").exists, what="the password command")
    process.send_signal(signal.SIGUSR1)
    on_sshd.write("go", "")
    assert process.stdout is not None
    while b'"run_finished"' not in process.stdout.readline():
        assert process.poll() is None
    while process.poll() is None:
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.001)

    assert ended(process).code == 0


@pytest.mark.parametrize("pair", [("TERM", "HUP"), ("HUP", "TERM")], ids="-".join)
def test_a_burst_of_signals_is_one_step(on_sshd: Program, remotes: Remotes, pair: tuple[str, str]) -> None:
    """As systemd sends them to the processes of a session; a step further would leave the commands."""
    process = on_sshd.start("--json", *HOSTS, remotes.marking())
    remotes.wait_for(RUNNING)

    for name in pair:
        process.send_signal(signal.Signals[f"SIG{name}"])
    end = ended(process)

    assert not remotes.alive
    assert "\ncancelled (stopped, its processes are dead): h[01-05]\n" in end.err
    assert end.code == events_of(end.out)[-1]["exit_code"]
    assert end.code in {128 + signal.SIGTERM, 128 + signal.SIGHUP}  # the kernel delivers the lower first


@in_virtual_time
async def test_what_belongs_to_one_burst() -> None:
    """timeout(1) sends TERM twice. Ctrl-C is a person's, and counts each time."""
    task = asyncio.current_task()
    assert task is not None
    signals = StopSignals(task)
    told: list[tuple[signal.Signals, int]] = []
    with signals.handled_by(lambda number, count: told.append((number, count))):
        signals.come(signal.SIGTERM)
        signals.come(signal.SIGTERM)
        signals.come(signal.SIGINT)
        assert told == [(signal.SIGTERM, 1), (signal.SIGINT, 2)]
        await asyncio.sleep(BURST_S)
        signals.come(signal.SIGTERM)

    assert told[2:] == [(signal.SIGTERM, 3)]


def test_the_fourth_ends_us_even_where_nothing_is_heard(multirsh: Program) -> None:
    """As in a regular expression that goes back and forth for ages: no loop, no thread gets a turn."""
    marker = multirsh.home / "ran"
    process = multirsh.start(
        *("-R", "local", "-w", "h", "-b", "--normalize", "/(a+)+$/"), f"touch {marker}; echo {'a' * 60}b"
    )
    try:
        wait_until(marker.exists, what="the command's start")
        began = cpu_ticks(process.pid)
        wait_until(lambda: cpu_ticks(process.pid) > began + 2 * TICKS, what="a program that is busy")
        for _ in range(4):
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)  # those of a number that wait to be delivered are one (signal(7))
        assert ended(process).code == 130
    finally:
        process.kill()


def test_the_reader_of_stdout_goes_away(on_sshd: Program, remotes: Remotes) -> None:
    """Quiet, and nothing is left running on the hosts."""
    command = remotes.marking("exec yes")
    end = on_sshd.shell(f"multirsh -f hosts.yaml -g few '{command}' | head -1; exit ${{PIPESTATUS[0]}}")

    assert re.fullmatch(r"h0\d: y\n", end.out)
    assert (end.code, end.err) == (141, "")
    assert remotes.pids
    assert not remotes.alive


def test_what_the_starter_ignores_is_ignored(on_sshd: Program, remotes: Remotes) -> None:
    """nohup(1) ignores SIGHUP for us; that must hold."""
    process = on_sshd.start("-f", "hosts.yaml", "-g", "few", remotes.waiting, prefix=["nohup"])
    remotes.wait_for(RUNNING)

    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGUSR1)
    said(process, "longest in flight")  # signals of one process are taken by number: SIGHUP came before
    remotes.let_go()
    end = ended(process)

    assert (end.code, end.out.count("done")) == (0, 5)


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
    on_sshd: Program, sshd: Daemon, in_module_namespace: Namespace, remotes: Remotes
) -> None:
    """Nobody reads the pipe: its writer waits, and the run must not wait for it."""
    process = on_sshd.start("--close-timeout", "1", *HOSTS, remotes.marking("exec yes"))
    remotes.wait_for(RUNNING)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=HANG_GUARD_S) == 128 + signal.SIGTERM
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
