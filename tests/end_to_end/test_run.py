"""A run as a user sees it: lines, ending, exit code, standard streams."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import StartHooked, StartScripted
from tests.program import Program
from tests.servers.daemon import Daemon
from tests.servers.hooked import AtClose, Conduct, answers, drops, exits_by_signal, floods
from tests.servers.namespace import Namespace
from tests.servers.scripted import SILENT, RefusingPort

pytestmark = pytest.mark.root

ONE = ("-f", "hosts.yaml", "-w", "h01")
FEW = ("-f", "hosts.yaml", "-g", "few")

SECONDS = re.compile(r"(?<= in )\d+\.\d s$", re.MULTILINE)


def timeless(text: str) -> str:
    """The ending without its time."""
    return SECONDS.sub("T", text)


# The command's words.


@pytest.mark.parametrize(
    "words",
    [
        ("echo one  two",),
        ("run", "echo", "one", "", "two"),
        ("--", "echo", "one", "", "two"),
        ("echo", "one", "", "two"),
    ],
    ids=" ".join,
)
def test_words_are_joined_with_one_space(on_sshd: Program, words: tuple[str, ...]) -> None:
    """As ssh does: an empty word leaves two spaces, which the remote's shell takes as one."""
    run, words = (("run",), words[1:]) if words[0] == "run" else ((), words)

    ended = on_sshd(*run, *ONE, "--json", *words)

    assert '"command":"echo one  two"' in ended.out
    assert '"data":"one two\\n"' in ended.out


def test_options_after_the_first_word_belong_to_the_command(on_sshd: Program) -> None:
    ended = on_sshd(*ONE, "ls", "-l", "-d", "/", "--color=never")

    assert re.fullmatch(r"h01: d.* root root .* /\n", ended.out)


def test_a_command_may_be_called_as_a_subcommand(on_sshd: Program) -> None:
    for words in ((*ONE, "--", "hosts"), (*ONE, "run", "hosts"), ("run", *ONE, "hosts")):
        assert on_sshd(*words).err.startswith("h01: ")


# Lines.


def test_streams_stay_apart_and_lines_carry_names(on_sshd: Program) -> None:
    ended = on_sshd(*ONE, "printf 'a\\nb'; echo c >&2")

    assert ended.out == "h01: a\nh01: b\n"
    assert timeless(ended.err) == (
        "h01: c\n1 host: 1 ok in T\nlocal ports: 1 at once, 1 closed by the remote, in TIME_WAIT 0\n"
    )
    assert ended.code == 0


def test_no_prefix_and_quiet(on_sshd: Program) -> None:
    ended = on_sshd(*ONE, "-N", "-q", "echo a; echo b >&2")

    assert (ended.out, ended.err) == ("a\n", "b\n")


def test_quiet_still_tells_who_failed(on_sshd: Program) -> None:
    ended = on_sshd(*FEW, "-q", "exit 3")

    assert (ended.code, ended.out, ended.err) == (5, "", "failed (exit 3): h[01-05]\n")


def test_lines_are_never_torn_between_hosts(on_sshd: Program) -> None:
    """20 hosts write at once, each line in three pieces with a pause between them."""
    pieces = "for i in 1 2 3 4 5; do for p in begin middle; do printf $p-; sleep 0.01; done; echo end$i; done"

    ended = on_sshd("-f", "hosts.yaml", pieces)

    assert sorted(ended.out.splitlines()) == sorted(
        f"h{host:02}: begin-middle-end{line}" for host in range(1, 21) for line in range(1, 6)
    )


def test_no_more_than_j_at_once(on_sshd: Program, tmp_path: Path) -> None:
    """Each command leaves a mark while it runs and counts the marks that there are."""
    marks = tmp_path / "marks"
    marks.mkdir()
    counting = f"cd {marks} && touch $$ && sleep 0.1 && ls | wc -l; rm $$"

    ended = on_sshd("-f", "hosts.yaml", "-j", "4", "-N", "--", counting)

    counts = [int(line) for line in ended.out.split()]
    assert len(counts) == 20
    assert max(counts) == 4


# Standard streams.


def test_standard_input_is_at_its_end_and_ours_is_left_alone(on_sshd: Program) -> None:
    ended = on_sshd.shell(
        "printf 'h01\\nh02\\nh03\\n' | while read -r host; do multirsh -n -q -f hosts.yaml -w $host cat; "
        "echo $host $?; done"
    )

    assert (ended.out, ended.err) == ("h01 0\nh02 0\nh03 0\n", "")


def test_hosts_from_standard_input(on_sshd: Program) -> None:
    hosts = (on_sshd.home / "hosts.yaml").read_bytes()

    ended = on_sshd("-f", "-", "-w", "h01", "echo a", stdin=hosts)

    assert ended.out == "h01: a\n"


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_a_closed_stream_is_no_trouble(on_sshd: Program, closed: str) -> None:
    ended = on_sshd.shell(f"multirsh -f hosts.yaml -g few -N 'cat; echo a; echo b >&2' {closed}")

    assert (ended.code, ended.out) == (0, "a\n" * 5)


def test_a_closed_stdout_is_told(on_sshd: Program) -> None:
    """And no socket takes its place: what a remote prints must not be sent to another."""
    ended = on_sshd.shell("multirsh -f hosts.yaml -w h01 'echo a' >&-")

    assert ended.code == 1
    assert ended.err.endswith("multirsh: cannot write to standard output: Bad file descriptor\n")


def test_a_full_disk_is_told(on_sshd: Program) -> None:
    ended = on_sshd.shell("multirsh -f hosts.yaml -w h01 'echo a' >/dev/full")

    assert ended.code == 1
    assert ended.err.endswith("multirsh: cannot write to standard output: No space left on device\n")


@pytest.mark.parametrize("mode", ["", "--json"])
def test_a_reader_that_goes_away_ends_it_quietly(
    namespace: Namespace, in_namespace: Namespace, hooked: StartHooked, multirsh: Program, mode: str
) -> None:
    server = hooked(Conduct(session=floods(64 * 1024 * 1024)), address="0.0.0.0")
    multirsh.knows(server, 2)

    ended = multirsh.shell(
        f"multirsh -f hosts.yaml --kill-after 0.2 {mode} yes | head -1; exit ${{PIPESTATUS[0]}}"
    )

    assert (ended.code, ended.err) == (141, "")
    assert ended.out.count("\n") == 1
    assert not namespace.client_side([server.port])


# Exit codes.


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("true",), 0, "1 host: 1 ok in T\n"),
        (("exit 3",), 5, "1 host: 1 failed in T\nfailed (exit 3): h01\n"),
        (("-S", "exit 3"), 3, "1 host: 1 failed in T\nfailed (exit 3): h01\n"),
        (("kill -9 $$",), 5, "1 host: 1 signalled in T\nsignalled (KILL): h01\n"),
        (("-S", "kill -9 $$"), 255, "1 host: 1 signalled in T\nsignalled (KILL): h01\n"),
        (
            ("-u", "0.2", "sleep 60"),
            3,
            (
                "1 host: 1 timeout in T\ntimeout (run, its processes are dead): h01\n"
                "  the command did not end within 0.2 s\n"
            ),
        ),
        (("-l", "nobody-here", "x"), 4, "1 host: 1 auth in T\nauth (denied): h01\n"),
    ],
    ids=["ok", "failed", "failed -S", "signalled", "signalled -S", "timeout", "auth"],
)
def test_exit_codes(on_sshd: Program, args: tuple[str, ...], code: int, told: str) -> None:
    ended = on_sshd(*ONE, *args)

    assert timeless(ended.err).startswith(told)
    assert (ended.code, ended.out) == (code, "")


def test_an_unknown_host_key_is_4(on_sshd: Program) -> None:
    (on_sshd.home / ".ssh/known_hosts").unlink()

    ended = on_sshd(*FEW, "true")

    assert ended.code == 4
    assert "hostkey (unknown): h[01-05]\n" in ended.err


def test_refused_is_4_and_told_once(
    module_namespace: Namespace, in_module_namespace: Namespace, refusing_port: RefusingPort, on_sshd: Program
) -> None:
    ended = on_sshd(*FEW, "-p", str(refusing_port.port), "true")

    assert ended.code == 4
    assert timeless(ended.err).startswith(
        "5 hosts: 5 unreachable in T\nunreachable (connect refused): h[01-05]\n"
    )


def test_a_silent_server_is_3(module_namespace: Namespace, on_sshd: Program, scripted: StartScripted) -> None:
    server = scripted(SILENT, address="0.0.0.0")

    ended = on_sshd(*ONE, "-p", str(server.port), "-t", "0.3", "--close-timeout", "0.2", "true")

    assert ended.code == 3
    assert "timeout (handshake): h01\n  not logged in within 0.3 s\n" in ended.err


def test_a_connection_that_dies_is_lost_and_3(
    in_namespace: Namespace, hooked: StartHooked, multirsh: Program
) -> None:
    multirsh.knows(hooked(Conduct(session=drops(b"half a line")), address="0.0.0.0"), 1)

    ended = multirsh("-f", "hosts.yaml", "x")

    assert (ended.code, ended.out) == (3, "h01: half a line\n")
    # Which of the two depends on whether the server had read our last packet when it closed.
    assert re.search(r"^lost \(run (closed|reset)\): h01\n", ended.err, re.MULTILINE)


def test_the_signals_name_comes_from_the_server(
    in_namespace: Namespace, hooked: StartHooked, multirsh: Program
) -> None:
    multirsh.knows(hooked(Conduct(session=exits_by_signal("SEGV")), address="0.0.0.0"), 1)

    ended = multirsh("-f", "hosts.yaml", "x")

    assert ended.code == 5
    assert "signalled (SEGV): h01\n" in ended.err


def test_a_signals_name_is_as_long_as_a_name_may_be(
    in_namespace: Namespace, hooked: StartHooked, multirsh: Program
) -> None:
    hostile = exits_by_signal("\x1b]0;x\x07" + "A" * 20_000)
    multirsh.knows(hooked(Conduct(session=hostile), address="0.0.0.0"), 1)

    ended = multirsh("-f", "hosts.yaml", "--json", "x")

    shown = "?]0;x?" + "A" * 58 + "..."
    assert f"signalled ({shown}): h01\n" in ended.err
    assert f'"signal":"{shown}"' in ended.out
    assert len(ended.err) < 500


def test_the_worst_decides(on_sshd: Program) -> None:
    """3 before 4 before 5; and the ending lists them all."""
    on_sshd.write(
        "mixed.yaml",
        "hosts:\n  - h01: {address: 127.1.0.1}\n  - h02: {address: 127.1.0.2, user: nobody-here}\n"
        "  - h03: {address: 127.1.0.3}\n",
    )
    command = "case $SSH_CONNECTION in *127.1.0.3*) exit 7;; esac"

    ended = on_sshd("-f", "mixed.yaml", command)

    assert ended.code == 4
    assert timeless(ended.err).startswith("3 hosts: 1 ok, 1 failed, 1 auth in T\nfailed (exit 7): h03\n")


@pytest.mark.parametrize(("require", "code"), [((), 0), (("--require-remote-close",), 4)])
def test_a_remote_that_does_not_close(
    namespace: Namespace,
    in_namespace: Namespace,
    hooked: StartHooked,
    multirsh: Program,
    require: tuple[str, ...],
    code: int,
) -> None:
    server = hooked(Conduct(session=answers(b"a\n"), at_close=AtClose.IGNORES), address="0.0.0.0")
    multirsh.knows(server, 2)

    ended = multirsh("-f", "hosts.yaml", "--close-timeout", "0.3", *require, "x")

    assert (ended.code, sorted(ended.out.split("\n"))) == (code, ["", "h01: a", "h02: a"])
    assert timeless(ended.err) == (
        "2 hosts: 2 ok in T\nlocal ports: 2 at once, 0 closed by the remote, 2 by a reset, in TIME_WAIT 0\n"
    )
    assert not namespace.client_side([server.port])


def test_everything_is_closed_by_the_remotes(
    on_sshd: Program, sshd: Daemon, in_module_namespace: Namespace
) -> None:
    ended = on_sshd("-f", "hosts.yaml", "--require-remote-close", "true")

    assert ended.code == 0
    assert not in_module_namespace.client_side([sshd.port])
