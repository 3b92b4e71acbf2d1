"""What the commands read: -I, --stdin-file, -n; and bytes that no option speaks of."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.remotes import Remotes
from tests.program import MULTIRSH, Ended, Program, ended
from tests.terminal import Terminal
from tests.waiting import HANG_GUARD_S

ONE = ("-f", "hosts.yaml", "-w", "h01", "-N")
HERE = ("-R", "local", "-w", "a", "-N", "-q", "--no-journal")
WAITING = (
    "multirsh: standard input has data, and no option says what it is for; "
    "use -I to send it to every host, or -n to ignore it\n"
)
LATE_BYTES = (
    "multirsh: data arrived on standard input during the run and was not sent to the hosts; "
    "use -I to send it, or -n to ignore it\n"
)


def run_with(program: Program, stdin: int | None, *args: str, **environ: str) -> Ended:
    """Run it with this descriptor as its standard input."""
    done = subprocess.run(
        [*MULTIRSH, *args],
        stdin=stdin,
        capture_output=True,
        env=program.environ | environ,
        cwd=program.home,
        check=False,
        timeout=HANG_GUARD_S,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.root
def test_a_pipe_a_file_and_nothing(on_sshd: Program) -> None:
    on_sshd.write("input", "from the file\n")
    assert on_sshd(*ONE, "-I", "cat", stdin=b"piped\0\n").out == "piped\0\n"
    assert on_sshd(*ONE, "-n", "--stdin-file", "input", "cat", "-n", stdin=b"piped").out == (
        "     1\tfrom the file\n"
    )
    assert on_sshd(*ONE, "cat; echo end").out == "end\n"


def test_bytes_that_wait_are_refused_before_anything_is_done(multirsh: Program) -> None:
    live = multirsh.write("live.conf", "as it was\n")

    refused = multirsh(*HERE, f"cat > {live}", stdin=b"new\n")
    assert refused == Ended(2, "", WAITING)
    assert live.read_text() == "as it was\n"

    assert multirsh(*HERE, "-n", "cat; echo end", stdin=b"new\n") == Ended(0, "end\n", "")
    assert multirsh(*HERE, "-I", f"cat > {live}", stdin=b"new\n") == Ended(0, "", "")
    assert live.read_text() == "new\n"


@pytest.mark.parametrize(
    "args",
    [
        ("lab", "--hosts", "1", "true"),
        ("script", *HERE, "job.sh"),
        (*HERE, "--stdin-file", "job.sh", "cat"),
        ("run", *HERE, "true"),
    ],
    ids=" ".join,
)
def test_every_subcommand_that_runs_a_command_asks(multirsh: Program, args: Sequence[str]) -> None:
    multirsh.write("job.sh", "true\n")
    assert multirsh(*args, stdin=b"x") == Ended(2, "", WAITING)


def test_a_file_that_is_open_for_writing_alone_holds_nothing_for_the_commands(multirsh: Program) -> None:
    log = multirsh.write("log", "what others have written\n")
    descriptor = os.open(log, os.O_WRONLY)
    try:
        assert run_with(multirsh, descriptor, *HERE, "echo ran") == Ended(0, "ran\n", "")
    finally:
        os.close(descriptor)


def test_a_copy_reads_no_input_and_does_not_ask(multirsh: Program) -> None:
    multirsh.write("a", "a")
    assert (
        multirsh("push", "-R", "local", "-w", "a", "-q", "a", str(multirsh.home / "b"), stdin=b"x").code == 0
    )


def test_a_setting_says_it_for_good(multirsh: Program) -> None:
    assert multirsh(*HERE, "cat", stdin=b"x", env={"MULTIRSH_STDIN": "none"}) == Ended(0, "", "")
    multirsh.write(".config/multirsh/config.toml", 'stdin = "none"\n')
    assert multirsh(*HERE, "cat", stdin=b"x") == Ended(0, "", "")
    assert multirsh(*HERE, "-I", "cat", stdin=b"x").out.strip() == "x"

    wrong = multirsh(*HERE, "cat", env={"MULTIRSH_STDIN": "all"})
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err.startswith("multirsh: MULTIRSH_STDIN: 'all' is not ")
    assert multirsh("--stdin-default", "none", "x").code == 2  # no word of the command line is this setting


def test_what_is_read_by_something_else_is_not_asked_about(multirsh: Program) -> None:
    local = ("-R", "local", "-N", "-q")
    assert multirsh("script", *HERE, "-", stdin=b"echo ran; cat") == Ended(0, "ran\n", "")
    assert multirsh(*local, "-f", "-", "echo ran", stdin=b"a\n") == Ended(0, "ran\n", "")
    assert multirsh("shell", *local, "-w", "a", stdin=b"echo one\necho two\n") == Ended(0, "one\ntwo\n", "")


def test_a_loop_keeps_what_it_has_not_read(multirsh: Program) -> None:
    multirsh.write("list", "a\nb\nc\n")
    loop = "while read -r host; do multirsh -n -N -q -R local -w $host 'cat; echo $MULTIRSH_HOST'; done"

    for line in (f"{loop} < list", f"cat list | {loop}"):
        assert multirsh.shell(line) == Ended(0, "a\nb\nc\n", "")

    without = multirsh.shell(f"{loop.replace(' -n ', ' ')} < list")
    assert (without.out, without.err) == ("c\n", WAITING * 2)  # only the last has nothing left to lose


class TestKindsOfInput:
    def test_a_file_at_its_end_and_before_it(self, multirsh: Program) -> None:
        with multirsh.write("file", "bytes").open("rb") as file:
            assert run_with(multirsh, file.fileno(), *HERE, "echo ran") == Ended(2, "", WAITING)
            assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0
            os.lseek(file.fileno(), 0, os.SEEK_END)
            assert run_with(multirsh, file.fileno(), *HERE, "echo ran") == Ended(0, "ran\n", "")
        with Path("/proc/self/status").open("rb") as of_no_size:
            assert run_with(multirsh, of_no_size.fileno(), *HERE, "echo ran") == Ended(2, "", WAITING)

    def test_a_pipe_that_is_open_and_empty(self, multirsh: Program) -> None:
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        with os.fdopen(ours, "rb"), os.fdopen(theirs, "wb", buffering=0) as writer:
            assert run_with(multirsh, ours, *HERE, "echo ran") == Ended(0, "ran\n", "")
            writer.write(b"x")
            assert run_with(multirsh, ours, *HERE, "echo ran") == Ended(2, "", WAITING)
            assert os.read(ours, 10) == b"x"

    def test_a_socket_as_of_a_server_that_starts_programs(self, multirsh: Program) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            assert run_with(multirsh, ours.fileno(), *HERE, "echo ran") == Ended(0, "ran\n", "")
            theirs.sendall(b"x")
            assert run_with(multirsh, ours.fileno(), *HERE, "echo ran") == Ended(2, "", WAITING)
            assert ours.recv(10) == b"x"

    def test_none_a_device_and_one_that_cannot_be_read(self, multirsh: Program) -> None:
        for redirection in ("<&-", "</dev/null", "</dev/zero", "0>written"):
            told = multirsh.shell(f"multirsh {' '.join(HERE)} 'echo ran' {redirection}")
            assert told == Ended(0, "ran\n", ""), redirection

    def test_what_is_typed_ahead_at_a_terminal(self, multirsh: Program) -> None:
        with Terminal(multirsh) as terminal:
            terminal.run(f"read -r -p 'gate? ' gate; multirsh {' '.join(HERE)} 'echo r\"a\"n'")
            terminal.expect(r"gate\? ")  # by then the shell has left the terminal's modes to its commands
            terminal.type("go\rtrue\r")
            terminal.expect("^ran\\s")


def test_bytes_that_come_later_are_told_of_at_the_end(multirsh: Program, remotes: Remotes) -> None:
    process = multirsh.start(*HERE, remotes.waiting, stdin=subprocess.PIPE)
    remotes.wait_for(1)
    assert process.stdin is not None
    process.stdin.write(b"late\n")
    remotes.let_go()

    assert ended(process) == Ended(0, "done\n", LATE_BYTES)


@contextmanager
def fifo(folder: Path, content: str) -> Iterator[Path]:
    """A FIFO with a writer."""
    path = folder / "fifo"
    os.mkfifo(path)
    writer = subprocess.Popen(["sh", "-c", 'printf %s "$1" > "$2"', "sh", content, path])
    try:
        yield path
    finally:
        writer.kill()
        writer.wait()


def test_a_file_is_whatever_can_be_read(multirsh: Program) -> None:
    multirsh.write("file", "of the file\n")
    assert multirsh(*HERE, "--stdin-file", "file", "cat").out == "of the file\n"
    assert multirsh(*HERE, "--stdin-file=file", "cat").out == "of the file\n"
    with fifo(multirsh.home, "of the fifo\n") as path:
        assert multirsh(*HERE, "--stdin-file", path, "cat").out == "of the fifo\n"
    substituted = multirsh.shell(f"multirsh {' '.join(HERE)} --stdin-file <(echo of bash) cat")
    assert substituted == Ended(0, "of bash\n", "")
    for ours in ("-", "/dev/stdin", "/proc/self/fd/0"):
        assert multirsh(*HERE, "--stdin-file", ours, "cat", stdin=b"ours\n") == Ended(0, "ours\n", "")


def test_the_word_after_the_flag_is_the_commands(multirsh: Program) -> None:
    """``-I mistyped.sh bash -s`` and ``-I fifo cat`` must not depend on which files there are here."""
    multirsh.write("here", "")
    for args in (("-I", "here", "cat"), ("--stdin", "here", "cat"), ("-NI", "here", "cat")):
        ran = multirsh(*HERE, "--json", *args, stdin=b"x")
        assert '"command":"here cat"' in ran.out.splitlines()[0].replace(": ", ":")


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (
            ("-n", "--stdin-file", "nowhere", "cat"),
            "--stdin-file nowhere: No such file or directory; give a file that can be read",
        ),
        (
            ("-n", "--stdin-file", ".", "cat"),
            "--stdin-file .: it is a directory; give a file that can be read",
        ),
        (
            ("-I", "--stdin-file", "x", "cat"),
            "-I and --stdin-file exclude each other; use one of them",
        ),
        (("-I", "-n", "cat"), "-I and -n exclude each other; use one of them"),
        (
            ("-n", "--stdin-file", "-", "cat"),
            "--stdin-file - and -n exclude each other; use one of them",
        ),
        (
            ("-f", "-", "-I", "cat"),
            (
                "standard input is read by -f - and cannot be sent to the hosts, too; "
                "name a file for one of them"
            ),
        ),
    ],
)
def test_what_cannot_be_read_is_told_before_anything_connects(
    multirsh: Program, args: Sequence[str], complaint: str
) -> None:
    told = multirsh("-R", "local", "-w", "h21", *args, stdin=b"h21\n")
    assert (told.code, told.out, told.err) == (2, "", f"multirsh: {complaint}\n")
