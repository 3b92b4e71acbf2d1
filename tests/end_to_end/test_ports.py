"""``multirsh ports``, from the outside: on real sockets, at a terminal, in a pipe."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.end_to_end import port_situations as situations
from tests.program import Program, ended
from tests.servers.namespace import Namespace
from tests.terminal import Terminal
from tests.waiting import wait_until

# ---------------------------------------------------------------- situations


@pytest.mark.root
def test_a_port_that_is_listened_on(multirsh: Program) -> None:
    with situations.listening() as namespace:
        text = multirsh("ports", "8080").out
        found = json.loads(multirsh("ports", "8080", "--json").out)
        table = namespace.sockets()

    assert re.match(r"Port 8080: shopd \(pid \d+\) listens on it\.\n", text)
    assert found["situation"] == "listening"
    assert {group["state"]: group["count"] for group in found["sockets"]} == {"listen": 1, "established": 2}
    assert {program["name"] for group in found["sockets"] for program in group["programs"]} == {"shopd"}
    assert [bind["probed"] for bind in found["binds"]] == ["in_use"] * 4
    assert [bind["predicted"] for bind in found["binds"]] == ["fails"] * 4
    (towards,) = found["towards"]
    assert (towards["address"], towards["port"], towards["count"]) == ("127.0.0.1", 8080, 2)
    assert len([row for row in table if row.local.port == 8080]) == 3


@pytest.mark.root
def test_a_server_that_was_restarted(multirsh: Program) -> None:
    with situations.restarted():
        found = json.loads(multirsh("ports", "8080", "--json").out)
        text = multirsh("ports", "8080").out

    assert found["situation"] == "lingering"
    assert 50 < found["free_in_s"] <= 60
    assert [(bind["reuse_address"], bind["works"], bind["reason"]) for bind in found["binds"]] == [
        (False, False, "not_set"),
        (True, True, "other_has_it"),
    ] * 2
    assert 'A new server gets it with SO_REUSEADDR; without, bind(2) says "Address already' in text


@pytest.mark.root
def test_a_client_that_runs_out_of_ports(multirsh: Program) -> None:
    with situations.running_out():
        found = json.loads(multirsh("ports", "--json").out)

    assert found["states"] == {"time_wait": 85}
    (destination,) = found["destinations"]
    assert (destination["port"], destination["used"], destination["left"]) == (5432, 85, 15)
    assert found["time_wait"]["client"] == 85
    assert found["per_second"]["local_first"] == 1.7
    assert [finding["kind"] for finding in found["findings"]] == ["few_ports_left"]


@pytest.mark.root
def test_what_is_left_is_what_can_still_be_had(multirsh: Program) -> None:
    """The headroom is no estimate: so many connections succeed, and the next does not."""
    with (
        situations.running_out(),
        socket.create_server(("127.0.0.1", 5432), backlog=200) as server,
        ExitStack() as connected,
    ):
        (destination,) = json.loads(multirsh("ports", "--json").out)["destinations"]
        assert destination["left"] == 15
        for _ in range(15):
            connected.enter_context(socket.create_connection(server.getsockname()))
        with pytest.raises(OSError, match="Cannot assign requested address"):
            socket.create_connection(server.getsockname())


@pytest.mark.root
def test_reserved_ports_that_rsh_has_used(
    namespace: Namespace, in_namespace: Namespace, multirsh: Program
) -> None:
    with socket.create_server(("127.0.0.1", 5514)) as server:
        for port in range(1023, 1003, -1):
            with socket.socket() as client:
                client.bind(("127.0.0.1", port))
                client.connect(server.getsockname())
                accepted, _ = server.accept()
                client.close()
                assert accepted.recv(1) == b""
                accepted.close()
        reserved = json.loads(multirsh("ports", "--json").out)["reserved"]
    assert (reserved["taken"], reserved["free"]) == (20, 492)
    (group,) = reserved["sockets"]
    assert (group["state"], group["port"], group["count"]) == ("time_wait", 5514, 20)


@pytest.mark.root
def test_another_users_program_is_named_by_its_user(namespace: Namespace, in_namespace: Namespace) -> None:
    """Without root's rights the report says whose it is, and how to learn more."""
    script = (
        "import os, sys\n"
        "import multirsh.cli.ports_look, multirsh.cli.signals, multirsh.cli.ports\n"
        "from multirsh.cli.main import main\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); main(['ports', '8080'])\n"
    )
    with socket.create_server(("127.0.0.1", 8080)):
        shown = namespace.run([sys.executable, "-c", script], check=False).stdout.decode()
    assert "a program of root" in shown
    assert "sudo multirsh ports 8080" in shown
    assert "kill" not in shown


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("0",), "PORT: '0' is not a whole number from 1 to 65535"),
        (("70000",), "PORT: '70000' is not a whole number from 1 to 65535"),
        (("abc",), "PORT: 'abc' is not a whole number from 1 to 65535"),
        (("--watch", "0"), "--watch: '0' is not a number of seconds above 0"),
        (
            ("--watch", "8080"),
            "--watch: 8080 seconds are more than 3600; for a port, put it first: multirsh ports 8080 --watch",
        ),
    ],
)
def test_what_cannot_be_meant(multirsh: Program, args: tuple[str, ...], said: str) -> None:
    end = multirsh("ports", *args)
    assert (end.code, end.out, end.err) == (2, "", f"multirsh: {said}\n")


def test_two_ports_are_one_too_many(multirsh: Program) -> None:
    """The words are click's."""
    end = multirsh("ports", "80", "81")
    assert (end.code, end.out) == (2, "")
    assert "81" in end.err
    assert end.err.endswith("; see multirsh ports --help\n")


def test_it_explains_itself(multirsh: Program) -> None:
    end = multirsh("ports", "--help")
    assert end.code == 0
    assert end.out.startswith("Usage: multirsh ports [OPTIONS] [PORT]\n")
    assert max(map(len, end.out.splitlines())) <= 80
    assert 'multirsh ports 8080   "Address already in use"' in end.out


def test_a_pipe_gets_plain_text_and_the_report_is_stdouts(multirsh: Program) -> None:
    end = multirsh("ports")
    assert (end.code, end.err) == (0, "")
    assert end.out.startswith("Local ports of this machine\n")
    assert "\x1b" not in end.out
    assert max(map(len, end.out.splitlines())) <= 80
    assert "\x1b[1m" in multirsh("ports", "--color", "always").out
    assert "\x1b" not in multirsh("ports", env={"NO_COLOR": "1"}).out
    assert "\x1b[1m" in multirsh("ports", env={"FORCE_COLOR": "1"}).out


def test_a_stdout_that_takes_nothing(multirsh: Program) -> None:
    end = multirsh.shell("multirsh ports >/dev/full")
    assert (end.code, end.err) == (1, "multirsh: standard output: No space left on device\n")


def test_arguments_of_programs_are_not_shown(multirsh: Program) -> None:
    """They may hold passwords: only the kernel's short name of a program is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-c", situations.SERVER, "shopd", str(port), "--password=hunter2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        server.stdout.readline()
        shown = multirsh("ports", str(port)).out + multirsh("ports", str(port), "--json").out
    finally:
        server.communicate()
    assert f"shopd (pid {server.pid})" in shown
    assert "hunter2" not in shown


# ---------------------------------------------------------------- again and again


@pytest.fixture
def watching(multirsh: Program) -> Iterator[subprocess.Popen[bytes]]:
    process = multirsh.start("ports", "--watch", "0.05", "--json")
    yield process
    process.kill()
    process.communicate()


def test_watched_in_a_pipe_it_is_a_line_for_each_look(watching: subprocess.Popen[bytes]) -> None:
    assert watching.stdout is not None
    for _ in range(3):
        assert json.loads(watching.stdout.readline())["settings"]
    watching.send_signal(signal.SIGINT)
    end = ended(watching)
    assert (end.code, end.err) == (130, "")
    assert all(json.loads(line) for line in end.out.splitlines())


def test_a_reader_that_goes_away_ends_it(multirsh: Program) -> None:
    end = multirsh.shell("multirsh ports --watch 0.05 --json | head -1 >/dev/null; exit ${PIPESTATUS[0]}")
    assert (end.code, end.err) == (141, "")


def test_watched_at_a_terminal(multirsh: Program) -> None:
    """A screen of its own, which Ctrl-C leaves, and the cursor is there again."""
    with Terminal(multirsh) as terminal:
        terminal.run("multirsh ports --watch 0.2; echo code $?")
        terminal.expect(r"\x1b\[\?1049h")
        terminal.expect("every 0.2 s")
        terminal.expect("Sockets")
        terminal.expect("every 0.2 s")
        terminal.type("\x03")
        after = terminal.expect(r"code \d+")
        assert after.endswith("code 130")
        assert after.rfind("\x1b[?1049l") >= 0
        assert after.rfind("\x1b[?25h") > after.rfind("\x1b[?25l")
        assert "Traceback" not in terminal.seen
        assert terminal.echoes()


def test_watched_at_a_terminal_that_can_do_nothing(multirsh: Program) -> None:
    multirsh.environ["TERM"] = "dumb"
    with Terminal(multirsh) as terminal:
        terminal.run("multirsh ports --watch 0.2; echo code $?")
        terminal.expect("Local ports of this machine")
        terminal.expect("Local ports of this machine")
        terminal.type("\x03")
        terminal.expect("code 130")
        assert "\x1b[?" not in terminal.seen


@pytest.mark.root
def test_watching_sees_a_port_come_free(multirsh: Program) -> None:
    with situations.listening(clients=0) as namespace:
        server = situations.Server(namespace, port=9090)
        process = multirsh.start("ports", "9090", "--watch", "0.05", "--json")
        assert process.stdout is not None
        try:
            assert json.loads(process.stdout.readline())["situation"] == "listening"
            server.end()
            line = process.stdout.readline
            wait_until(lambda: json.loads(line())["situation"] == "free", what="the port is free")
        finally:
            process.send_signal(signal.SIGTERM)
            assert ended(process).code == 143


# ---------------------------------------------------------------- the page


@pytest.mark.root
@pytest.mark.parametrize("name", situations.EXAMPLES)
def test_the_examples_of_the_page_are_what_is_printed(name: str) -> None:
    """But for times, ports and processes; ``python -m tests.end_to_end.port_situations`` writes them anew."""
    text = situations.PAGE.read_text(encoding="utf-8")
    shown = {found[1]: found[3] for found in situations.BLOCK.finditer(text)}
    assert steady(shown[name]) == steady(situations.example(name))


def steady(text: str) -> list[str]:
    """Words without what differs from run to run, however they are broken into lines."""
    text = re.sub(r"(?<=pid )\d+|(?<=kill )\d+|(?<=127\.0\.0\.1:)[3-6]\d{4}|\d+(?= s\b)", "N", text)
    return re.sub(r"(?<=tcp_max_tw_buckets )\s*[\d,]+", "N", text).split()


def test_every_key_is_in_the_page(multirsh: Program) -> None:
    page = situations.PAGE.read_text(encoding="utf-8").split("\n## For programs\n")[1]
    written = set(re.findall(r"`(\w+)`", page))
    for args in ((), (str(os.getpid() % 60000 + 1024),)):
        values = json.loads(multirsh("ports", *args, "--json").out)
        missing = {key for key in keys(values) if key not in written} - set(values["settings"])
        assert missing == set()


def keys(values: object) -> Iterator[str]:
    match values:
        case dict():
            for key, value in values.items():
                yield key
                if key != "states":  # its keys are the states
                    yield from keys(value)
        case list():
            for value in values:
                yield from keys(value)
