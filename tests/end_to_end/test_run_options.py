"""The options of a run's course, on a real sshd: batches, gates, retries, deadlines, the barrier."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartScripted
from tests.end_to_end.remotes import Remotes
from tests.program import Program, ended, said
from tests.servers.daemon import Daemon
from tests.servers.processes import naming
from tests.servers.scripted import SILENT
from tests.waiting import wait_until

pytestmark = pytest.mark.root

ALL = ("-f", "hosts.yaml")
FEW = ("-f", "hosts.yaml", "-g", "few")


def told(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def endings(out: str) -> dict[str, dict[str, Any]]:
    """Each host's one ending."""
    finished = [row for row in told(out) if row["event"] == "host_finished"]
    assert len({row["host"] for row in finished}) == len(finished)
    return {row["host"]: row for row in finished}


def order(out: str) -> list[str]:
    """Whose output came when."""
    return [line.partition(":")[0] for line in out.splitlines()]


# Batches, gates.


def test_batches_follow_each_other(on_sshd: Program) -> None:
    """20 hosts in batches of 1, of 10 %, and of half of them."""
    end = on_sshd(*ALL, "--json", "--batch", "1,10%,50%", "true")

    rows = told(end.out)
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if row["event"] in {"host_started", "host_finished"}:
            places.setdefault(row["host"], []).append(place)
    names = [f"h{number:02}" for number in range(1, 21)]
    assert list(places) == names
    starts = {name: rows[place[0]]["t"] for name, place in places.items()}
    ends = {name: row["t"] - row["seconds"]["close"] for name, row in endings(end.out).items()}
    for batch, after in ((names[:1], names[1:3]), (names[1:3], names[3:13]), (names[3:13], names[13:])):
        assert max(ends[name] for name in batch) <= min(starts[name] for name in after) + 0.001
    assert (end.code, end.err.count("\n")) == (0, 2)


def test_a_gate_of_this_machine_is_told_of_the_batch(on_sshd: Program) -> None:
    gate = "echo batch $MULTIRSH_BATCH: $MULTIRSH_HOSTS; test $MULTIRSH_BATCH != 2"
    end = on_sshd(*FEW, "--batch", "2", "--gate", gate, "echo done")

    assert sorted(order(end.out)) == ["h01", "h02", "h03", "h04"]
    assert end.err.startswith(
        "batch 1: h[01-02]\nbatch 2: h[03-04]\nthe gate after batch 2 did not pass: exit status 1\n"
        "5 hosts: 4 ok, 1 not run in "
    )
    assert "\nnot run: h05\n" in end.err
    assert end.code == 6


def test_a_gate_on_the_hosts_must_pass_on_each(on_sshd: Program) -> None:
    command = "case $SSH_CONNECTION in *' 127.1.0.3 '*) echo too warm >&2; exit 7;; esac"
    end = on_sshd(*FEW, "--batch", "1", "--gate", f"hosts:{command}", "echo done")

    assert order(end.out) == ["h01", "h02", "h03"]
    assert "gate: h03: too warm\nthe gate after batch 3 did not pass: not ok on h03\n" in end.err
    assert end.code == 6


@pytest.mark.parametrize(
    ("gate", "why"),
    [
        ("exit 7", "exit status 7"),
        ("kill -9 $$", "signal KILL"),
        ("sleep 60", "the command did not end within 1 s"),
    ],
)
def test_a_gate_on_hosts_that_is_silent_is_explained(on_sshd: Program, gate: str, why: str) -> None:
    end = on_sshd(*FEW, "--batch", "1", "-u", "1", "--gate", f"hosts:{gate}", "true")

    assert end.err.startswith(f"gate: h01: {why}\nthe gate after batch 1 did not pass: not ok on h01\n")
    assert end.code == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_a_gate_is_ended_with_all_that_it_started(on_sshd: Program, number: signal.Signals) -> None:
    asleep = f"6{number}.{os.getpid()}"
    gate = f"echo begun >&2; sleep {asleep} & sleep {asleep}; echo never"
    process = on_sshd.start(*FEW, "--batch", "1", "--gate", gate, "true")
    said(process, "begun")

    process.send_signal(number)
    end = ended(process)

    assert end.code == 128 + number
    assert "5 hosts: 1 ok, 4 not run in " in end.err
    assert "never" not in end.err
    assert not naming(asleep)


def test_a_gate_that_ignores_term_is_killed(on_sshd: Program) -> None:
    gate = "trap '' TERM; echo begun >&2; while :; do sleep 0.1; done"
    process = on_sshd.start(*FEW, "--batch", "1", "--kill-after", "0.3", "--gate", gate, "true")
    said(process, "begun")

    process.send_signal(signal.SIGINT)

    assert ended(process).code == 130


def test_a_gate_on_hosts_is_left_by_the_third_signal(on_sshd: Program, remotes: Remotes) -> None:
    """The commands of a gate resist TERM, and --kill-after is long: the third does not wait for them."""
    gate = remotes.marking("trap '' TERM; while :; do sleep 0.1; done")
    process = on_sshd.start(*FEW, "--batch", "1", "--kill-after", "600", "--gate", f"hosts:{gate}", "true")
    remotes.wait_for(1)

    process.send_signal(signal.SIGINT)
    said(process, "SIGINT: starting no more hosts")
    process.send_signal(signal.SIGINT)
    said(process, "SIGINT: ending")
    process.send_signal(signal.SIGINT)
    end = ended(process)

    assert end.code == 130
    assert "5 hosts: 1 ok, 4 not run in " in end.err


def test_the_deadline_holds_for_a_gate_too(on_sshd: Program) -> None:
    end = on_sshd(*FEW, "--batch", "1", "--deadline", "1", "--gate", "sleep 60", "true")

    assert end.err.startswith("the run's deadline of 1 s has passed\n5 hosts: 1 ok, 4 not run in 1.")
    assert end.code == 6


def test_the_delay_between_batches(on_sshd: Program) -> None:
    end = on_sshd(*FEW, "--json", "--batch", "3", "--batch-delay", "0.7", "true")

    starts = [row["t"] for row in told(end.out) if row["event"] == "host_started"]
    assert starts[3] - starts[2] > 0.7
    assert end.code == 0


def test_step_needs_a_terminal(on_sshd: Program) -> None:
    process = on_sshd.start(*FEW, "--batch", "1", "--step", "true", prefix=["setsid", "--wait"])
    end = ended(process)

    assert (
        end.err == "multirsh: --step asks at the terminal, and there is none; use --gate or --batch-delay\n"
    )
    assert end.code == 2


# When to stop.


def test_the_first_failure_ends_all(on_sshd: Program, remotes: Remotes) -> None:
    command = remotes.marking(
        f"case $SSH_CONNECTION in *' 127.1.0.2 '*) until test $(ls {remotes.folder}/marks "
        "| wc -l) = 3; do sleep 0.02; done; exit 3;; esac; exec sleep 60"
    )
    end = on_sshd(*FEW, "-k", "-j", "3", command)

    assert end.err.startswith("h02 has failed (--fail-fast)\n5 hosts: 1 failed, 2 cancelled, 2 not run in ")
    assert "failed (exit 3): h02\n" in end.err
    assert "cancelled (stopped, its processes are dead): h[01,03]\n" in end.err
    assert end.code == 6
    assert not remotes.alive


def test_so_many_may_fail(on_sshd: Program) -> None:
    end = on_sshd(*ALL, "-j", "1", "--max-fail", "10%", "--batch", "3", "exit 1")

    assert end.err.startswith("2 hosts have failed (--max-fail 10%)\n20 hosts: 2 failed, 18 not run in ")
    assert end.code == 6


def test_the_deadline_ends_what_runs(on_sshd: Program, remotes: Remotes) -> None:
    end = on_sshd(*FEW, "-j", "3", "--json", "--deadline", "2", remotes.marking())

    assert Counter(row["status"] for row in endings(end.out).values()) == {"timeout": 3, "not_run": 2}
    assert endings(end.out)["h01"]["error"] == {
        "kind": "timeout",
        "phase": "run",
        "message": "the run's deadline of 2 s has passed",
        "fate": "dead",
    }
    assert end.code == 6
    assert len(remotes.pids) == 3
    assert not remotes.alive


def test_a_command_that_ignores_term_is_killed(on_sshd: Program, remotes: Remotes) -> None:
    command = remotes.marking("trap '' TERM; while :; do sleep 0.1; done")
    end = on_sshd(*FEW, "--json", "-u", "1", "--kill-after", "0.5", command)

    assert {row["error"]["fate"] for row in endings(end.out).values()} == {"dead"}
    assert len(remotes.pids) == 5
    assert not remotes.alive
    assert end.code == 3


# Retries, and how fast.


def test_a_host_that_refuses_is_tried_again(on_sshd: Program) -> None:
    end = on_sshd("-w", "127.9.0.1", "-p", "1", "--json", "--retries", "2", "--retry-delay", "0.1", "true")

    assert endings(end.out)["127.9.0.1"]["attempts"] == 3
    assert [row["attempt"] for row in told(end.out) if row["event"] == "host_started"] == [1, 2, 3]
    assert end.code == 4


def test_who_is_not_let_in_is_not_tried_again(on_sshd: Program) -> None:
    end = on_sshd(*FEW, "--json", "-l", "nobody-here", "--retries", "3", "--retry-delay", "0.1", "true")

    assert {row["attempts"] for row in endings(end.out).values()} == {1}
    assert {row["status"] for row in endings(end.out).values()} == {"auth"}
    assert end.code == 4


@pytest.mark.parametrize(("words", "attempts", "code"), [((), 1, 3), (("--retry-command",), 2, 0)])
def test_a_command_in_doubt_is_repeated_only_if_told(
    on_sshd: Program, remotes: Remotes, words: tuple[str, ...], attempts: int, code: int
) -> None:
    """The first time, the command ends its own connection; the second, it finds the first one's mark."""
    first = f"test -e {remotes.folder}/first && exit 0; touch {remotes.folder}/first; kill -9 $PPID; sleep 5"
    end = on_sshd(
        "-f", "hosts.yaml", "-w", "h01", "--json", *words, "--retries", "1", "--retry-delay", "0.1", first
    )

    (ending,) = endings(end.out).values()
    assert ending["attempts"] == attempts
    assert ending["status"] == ("ok" if code == 0 else "lost")
    assert end.code == code


def test_who_waits_for_a_retry_ends_as_it_last_did(on_sshd: Program) -> None:
    process = on_sshd.start(
        "-w",
        "127.9.0.1",
        "-p",
        "1",
        "--json",
        "--retries",
        "5",
        "--retry-delay",
        "1000",
        "true",
    )
    assert process.stdout is not None
    while b'"host_started"' not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGUSR1)
    said(process, "in flight")

    process.send_signal(signal.SIGINT)
    end = ended(process)

    assert "1 host: 1 unreachable in " in end.err
    assert "unreachable (connect refused): 127.9.0.1\n" in end.err
    assert end.code == 130


def test_logins_at_once(on_sshd: Program) -> None:
    """One login at a time: no attempt begins before the one before it is logged in."""
    end = on_sshd(*FEW, "--json", "--handshakes", "1", "true")

    starts = {row["host"]: row["t"] for row in told(end.out) if row["event"] == "host_started"}
    seconds = {name: row["seconds"] for name, row in endings(end.out).items()}
    names = sorted(starts)
    for name, following in itertools.pairwise(names):
        logged_in = starts[name] + seconds[name]["connect"] + seconds[name]["auth"]
        assert starts[following] >= logged_in - 0.01


def test_connections_a_second(on_sshd: Program) -> None:
    end = on_sshd(*FEW, "--json", "--start-rate", "5", "true")

    starts = [row["t"] for row in told(end.out) if row["event"] == "host_started"]
    assert 0.75 < starts[-1] - starts[0] < 3


# The barrier.


def with_another(program: Program, server: Daemon, port: int) -> tuple[str, ...]:
    """Three hosts that are well, and ``other``, which is at ``port``."""
    program.write(
        "more.yaml",
        "hosts:\n"
        + "".join(
            f"- h0{number}: {{address: 127.1.0.{number}, port: {server.port}}}\n" for number in (1, 2, 3)
        )
        + f"- other: {{address: 127.9.0.1, port: {port}}}\n",
    )
    config = program.home / ".ssh/config"
    config.write_text(re.sub(r"^Port .*\n", "", config.read_text(), flags=re.MULTILINE))
    return ("-f", "more.yaml")


def test_all_log_in_before_the_command_is_sent(on_sshd: Program, sshd: Daemon, tmp_path: Path) -> None:
    """Each command ends when all three have begun, and the fanout is 1."""
    hosts = with_another(on_sshd, sshd, 1)
    begun = tmp_path / "begun"
    begun.mkdir()
    command = f"touch {begun}/$$; until test $(ls {begun} | wc -l) -ge 3; do sleep 0.02; done; echo all"
    end = on_sshd(*hosts, "--barrier", "-j", "1", command)

    assert re.match(
        r"barrier: 3 of 4 hosts are ready; missing: other\n"
        r"barrier: the command was sent to all within \d+\.\d ms\n"
        r"4 hosts: 3 ok, 1 unreachable in ",
        end.err,
    ), end.err
    assert end.out.count(": all\n") == 3
    assert end.code == 4


def test_a_signal_before_the_barrier_is_open_sends_the_command_to_nobody(
    on_sshd: Program, sshd: Daemon, scripted: StartScripted, tmp_path: Path
) -> None:
    """One host is silent; the others wait for it."""
    hosts = with_another(on_sshd, sshd, scripted(SILENT, address="127.9.0.1").port)
    process = on_sshd.start(*hosts, "--barrier", "-t", "60", f"touch {tmp_path}/sent")
    wait_until(lambda: len(naming(f"sshd: {sshd.user}") & sshd.processes()) >= 3, what="three logins")

    process.send_signal(signal.SIGINT)
    end = ended(process)

    assert re.search(r"^barrier: called off; \d of 4 hosts were ready$", end.err, re.MULTILINE)
    assert "4 hosts: 4 cancelled in " in end.err
    assert not (tmp_path / "sent").exists()
    assert end.code == 130
