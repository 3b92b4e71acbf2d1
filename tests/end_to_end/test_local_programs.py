"""-R exec and -R local as a user sees them: words, input, output, endings, stops."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.end_to_end.remotes import Remotes
from tests.program import Program
from tests.servers.namespace import Namespace
from tests.servers.processes import naming
from tests.servers.requirement import program
from tests.waiting import HANG_GUARD_S

LOCAL = ("-R", "local", "-w")
SH = ("-R", "exec", "--exec", "sh -c %c")


def test_every_host_is_this_machine(multirsh: Program) -> None:
    ended = multirsh(*LOCAL, "a,b[1-3]", "pwd; echo on stderr >&2; exit 3")
    assert sorted(ended.out.splitlines()) == [f"{host}: {multirsh.home}" for host in ("a", "b1", "b2", "b3")]
    assert ended.err.count("on stderr") == 4
    assert "failed (exit 3): a,b[1-3]" in ended.err
    assert ended.code == 5


def test_each_host_has_its_own_values(multirsh: Program) -> None:
    multirsh.write(
        "hosts.yaml", "defaults: {port: 22}\nhosts:\n- web1: {address: 10.0.0.7, user: app}\n- web2\n"
    )
    template = "sh -c 'echo \"$*\"' sh %n %h %u@%h:%p 100%% %c"
    ended = multirsh("-f", "hosts.yaml", "-l", "me", "-R", "exec", "--exec", template, "a  'b", '"$HOME"')
    assert sorted(ended.out.splitlines()) == [
        'web1: web1 10.0.0.7 me@10.0.0.7:22 100% a  \'b "$HOME"',
        'web2: web2 web2 me@web2:22 100% a  \'b "$HOME"',
    ]
    assert ended.code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-R", "exec", "x"), "exec needs to know what program reaches a host; say it, such as --exec 'kube"),
        (("-R", "exec", "--exec", "ssh %h", "x"), "--exec has no %c, so the command would go nowhere; put"),
        (("-R", "exec", "--exec", "sh %y %c", "x"), "--exec: %y stands for nothing; there are %h the host's"),
        (("-R", "exec", "--exec", "sh %u %c", "x"), "a: --exec has %u, and no user is said; give -l USER"),
        (("-R", "exec", "--exec", "shh %c", "x"), "--exec: there is no program 'shh' in PATH"),
        (
            ("--exec", "sh -c %c", "x"),
            "--exec is only for -R exec, which reaches none of these hosts",
        ),
        (("-R", "locl", "x"), "-R/--transport: there is no transport 'locl'; did you mean local?"),
        (("-R", "telnet", "x"), "there is no transport 'telnet'; it is one of ssh, rsh, exec, local"),
        (("-R", "local", "-l", "stranger", "x"), ", and not as stranger; leave -l out"),
        (("-R", "local", "-J", "b", "x"), "-R local goes nowhere, so through no jump host; leave -J out"),
        (("-R", "exec", "--exec", "sh -c %c", "-J", "b", "x"), "a: exec cannot go through a jump host (b)"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_runs(
    multirsh: Program, words: tuple[str, ...], message: str
) -> None:
    ended = multirsh("-w", "a", *words)
    assert message in ended.err
    assert (ended.code, ended.out) == (2, "")


def test_the_template_may_be_a_setting(multirsh: Program) -> None:
    multirsh.write("hosts.yaml", "hosts:\n- here: {transport: exec}\n- there: {transport: local}\n")
    ended = multirsh(
        "-f", "hosts.yaml", "echo $0", env={"MULTIRSH_EXEC": "sh -c %c by-%n", "SHELL": "/bin/sh"}
    )
    assert sorted(ended.out.splitlines()) == ["here: by-here", "there: sh"]
    # A setting is for whoever needs it, and no error for others.
    assert multirsh(*LOCAL, "a", "true", env={"MULTIRSH_EXEC": "sh -c %c"}).code == 0


def test_a_host_whose_program_is_not_there_is_unreachable(multirsh: Program) -> None:
    script = multirsh.write("bin/a", '#!/bin/sh\nexec sh -c "$1"\n', mode=0o755)
    multirsh.write("bin/c", "#!/nowhere/sh\n", mode=0o755)
    multirsh.write("bin/d", "")
    template = f"{script.parent}/%n %c"
    ended = multirsh("-w", "a,b,c,d", "-R", "exec", "--exec", template, "--json", "--retries", "1", "echo hi")
    endings = {
        event["host"]: event
        for event in map(json.loads, ended.out.splitlines())
        if event["event"] == "host_finished"
    }
    assert {host: event["status"] for host, event in endings.items()} == {
        "a": "ok",
        "b": "unreachable",
        "c": "unreachable",
        "d": "unreachable",
    }
    errors = {host: event["error"] for host, event in endings.items() if host != "a"}
    assert {error["kind"] for error in errors.values()} == {"program"}
    assert {error["phase"] for error in errors.values()} == {"session"}
    assert errors["b"]["message"] == f"{script.parent}/b cannot be started: No such file or directory"
    assert errors["c"]["message"] == f"{script.parent}/c cannot be started: No such file or directory"
    assert errors["d"]["message"] == f"{script.parent}/d cannot be started: Permission denied"
    assert endings["a"]["local_port"] is endings["a"]["closed_by"] is None
    assert ended.code == 4


def test_input_goes_to_all_and_output_comes_exactly(multirsh: Program) -> None:
    data = os.urandom(5_000_000)
    (multirsh.home / "data").write_bytes(data)
    digest = hashlib.sha1(data).hexdigest()  # noqa: S324 - a sum, and no secret
    ended = multirsh(*SH, "-w", "h[1-20]", "--stdin-file", "data", "sha1sum")
    assert set(ended.out.splitlines()) == {f"h{number}: {digest}  -" for number in range(1, 21)}
    assert multirsh(
        *SH, "-w", "h[1-20]", "--stdin-file", "data", "head -c 3 >/dev/null; exit 4"
    ).err.startswith("20 hosts: 20 failed in ")


def test_the_fanout_holds(multirsh: Program, remotes: Remotes) -> None:
    command = (
        "n=$(ls running.* 2>/dev/null | wc -l); [ $n -le 3 ] || exit 9; f=running.$$; : >$f; sleep 0.1; rm $f"
    )
    ended = multirsh("-j", "4", *LOCAL, "h[1-24]", command)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(("how", "fate"), [(LOCAL, "dead"), ((*SH, "-w"), "unknown")])
def test_a_timeout_ends_all_that_was_started(multirsh: Program, how: tuple[str, ...], fate: str) -> None:
    nap = f"7{os.getpid()}.{len(fate)}"
    command = f"trap '' TERM; sleep {nap} & setsid sleep {nap} & sleep {nap}; sleep {nap}"
    ended = multirsh("--json", "-u", "0.5", "--kill-after", "0.3", *how, "h[1-8]", command)
    events = [json.loads(line) for line in ended.out.splitlines()]
    endings = [event for event in events if event["event"] == "host_finished"]
    assert {(event["status"], event["error"]["fate"]) for event in endings} == {("timeout", fate)}
    assert len(endings) == 8
    assert not naming(nap)
    assert ended.code == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_a_stop_ends_them_in_order(multirsh: Program, number: signal.Signals) -> None:
    nap = f"8{os.getpid()}.{number}"
    process = multirsh.start(*LOCAL, "h[1-4]", f"sleep {nap} & sleep {nap}")
    deadline = time.monotonic() + 10
    while len(naming(f"sleep\0{nap}")) < 8 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    if number is signal.SIGINT:  # the first one only starts no more hosts
        time.sleep(0.2)
        assert len(naming(f"sleep\0{nap}")) == 8
        process.send_signal(number)
    _, err = process.communicate(timeout=HANG_GUARD_S)
    assert "cancelled" in err.decode()
    assert process.returncode == 128 + number
    assert not naming(nap)


def test_who_started_us_may_have_no_wish_to_hear_of_children(multirsh: Program) -> None:
    ended = multirsh.shell(f"trap '' CHLD; multirsh {shlex.join(LOCAL)} a 'exit 3'")
    assert "failed (exit 3): a" in ended.err


def test_a_flood_is_held_back_by_who_reads_it(multirsh: Program) -> None:
    ended = multirsh.shell(f"multirsh -N {shlex.join(LOCAL)} 'h[1-4]' yes | head -c 1000000 | wc -c")
    assert ended.out.strip() == "1000000"


@pytest.mark.root
def test_nsenter_reaches_network_namespaces(multirsh: Program) -> None:
    """As ``kubectl exec`` reaches containers: a program that others' commands run in another place."""
    with Namespace() as one, Namespace() as two:
        one.run(["ip", "address", "add", "10.1.1.1/32", "dev", "lo"])
        two.run(["ip", "address", "add", "10.2.2.2/32", "dev", "lo"])
        multirsh.write(
            "hosts.yaml", f"hosts:\n- one: {{address: '{one.pid}'}}\n- two: {{address: '{two.pid}'}}\n"
        )
        ended = multirsh(
            *("-f", "hosts.yaml", "-R", "exec", "--exec", "nsenter --net=/proc/%h/ns/net sh -c %c"),
            "ip -o -4 address show dev lo scope global | awk '{ print $4 }'",
        )
    assert sorted(ended.out.splitlines()) == ["one: 10.1.1.1/32", "two: 10.2.2.2/32"]


@pytest.mark.root
def test_chroot_reaches_folders_with_a_system_in_them(multirsh: Program, tmp_path: Path) -> None:
    busybox = program("busybox", package="busybox")
    needs = re.findall(
        r"(/\S+) \(0x", subprocess.run(["ldd", busybox], capture_output=True, text=True, check=False).stdout
    )
    for name in ("first", "second"):
        for file in (busybox, *map(Path, needs)):
            there = tmp_path / name / file.relative_to("/")
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, there)
        (tmp_path / name / "hostname").write_text(f"{name}\n")
    ended = multirsh(
        *("-w", "first,second", "-R", "exec", "--exec", f"chroot {tmp_path}/%n {busybox} sh -c %c"),
        "read name </hostname; echo $name; kill -9 $$",
    )
    assert sorted(ended.out.splitlines()) == ["first: first", "second: second"]
    assert "signalled (KILL): first,second" in ended.err


DOCUMENT = (
    """awk 'BEGIN { printf "{\\"a\\": \\""; for (i = 0; i < 30000; i++) printf "%0100d", i;"""
    """ printf "\\"}" }'"""
)
"""JSON of 3 MB on one line, which has no end."""


def test_a_document_of_one_host_passes_without_a_prefix_byte_for_byte(multirsh: Program) -> None:
    ended = multirsh(*LOCAL, "a", "-N", "-q", DOCUMENT)
    assert len(json.loads(ended.out)["a"]) == 3_000_000
    assert not ended.out.endswith("\n")


@pytest.mark.parametrize("how", [(), ("--output-mem", "1M"), ("-b",), ("-L",), ("-N",)], ids=" ".join)
def test_a_line_of_any_length_is_one_line_beside_others(multirsh: Program, how: tuple[str, ...]) -> None:
    other = "case $MULTIRSH_HOST in b) exec echo short;; esac"
    ended = multirsh(*LOCAL, "a,b", *how, "-q", f"{other}; {DOCUMENT}")
    (line,) = [line for line in ended.out.splitlines() if len(line) > 1000]
    assert len(json.loads(line.removeprefix("a: "))["a"]) == 3_000_000
    assert "short" in ended.out
