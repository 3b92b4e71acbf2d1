"""The script: real shells run it over socket pairs, and its markers are found however the stream is cut."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from multirsh.model import Exited
from multirsh.sh_text import LONGEST_ARGUMENT
from multirsh.transports.rsh import wrapper
from multirsh.transports.rsh.wrapper import (
    GOODBYE,
    SCRIPT,
    MarkerFinder,
    Part,
    make_key,
    order,
)
from tests.servers.requirement import program
from tests.servers.rshd import SHELLS
from tests.transports.rsh.test_rcmd import cut

KEY = b"0123456789abcdef"

_ALWAYS = ("dash", "bash", "busybox", "tcsh", "fish")
"""Those that the test command installs; the others are tried where they are."""

LOGIN_SHELLS = [shell for shell in SHELLS if shell in _ALWAYS or shutil.which(shell)]
SCRIPT_SHELLS = [
    shell for shell in ("dash", "bash", "busybox", "ksh", "mksh") if shell in _ALWAYS or shutil.which(shell)
]
"""What /bin/sh is somewhere; called by that name, as bash and busybox are different by another."""

EVERY_BYTE = bytes(range(1, 256))


class Ran:
    """What a script wrote, and how its shell ended."""

    def __init__(self, key: bytes, stdout: bytes, stderr: bytes) -> None:
        self.stdout, self.out = _found(key, stdout)
        self.stderr, self.err = _found(key, stderr)


def _found(key: bytes, data: bytes) -> tuple[bytes, MarkerFinder]:
    finder = MarkerFinder(key)
    return finder.feed(data) + finder.end(), finder


def needed(shell: str) -> Path:
    return program(shell, package=shell)


@contextmanager
def started(
    program: Path, argv: Sequence[str], *, env: dict[str, str] | None = None
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A process as in.rshd leaves it: one socket for input and output, one for stderr."""
    main, theirs = socket.socketpair()
    stderr, their_stderr = socket.socketpair()
    with main, stderr:
        main.settimeout(20)
        stderr.settimeout(20)
        with theirs, their_stderr:
            process = subprocess.Popen(
                argv,
                executable=program,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=their_stderr.fileno(),
                env=env,
            )
        try:
            yield main, stderr
        finally:
            process.kill()
            process.wait()


def ran(
    program: Path, argv: Sequence[str], sent: bytes, *, key: bytes, env: dict[str, str] | None = None
) -> Ran:
    with started(program, argv, env=env) as (main, stderr):
        main.sendall(sent)
        return Ran(key, _read(main), _read(stderr))


def _read(sock: socket.socket) -> bytes:
    came = b""
    while data := sock.recv(65_536):
        came += data
    return came


def in_login_shell(shell: str, command: bytes, stdin: bytes = b"", *, home: Path) -> Ran:
    """As in.rshd does it: the login shell is given the line."""
    path = needed(shell)
    key = make_key()
    name = "ash" if shell == "busybox" else shell
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "USER": "guest"}
    env["SHELL"] = "/bin/sh" if shell == "busybox" else str(path)
    return ran(
        path, [name, "-c", wrapper.line(key).decode()], order(command, len(stdin)) + stdin, key=key, env=env
    )


AS_SH = ["sh", "-c", SCRIPT, KEY.decode()]


def in_script(shell: str, command: bytes, stdin: bytes = b"") -> Ran:
    """The script alone, run by one of the shells that /bin/sh may be."""
    sent = order(command, len(stdin)) + stdin
    return ran(needed(shell), AS_SH, sent, key=KEY, env={"SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"})


class TestLoginShells:
    """Whatever the remote user's shell is."""

    @pytest.mark.parametrize("shell", LOGIN_SHELLS)
    @pytest.mark.parametrize("status", [0, 5, 255])
    def test_the_status_comes_back(self, shell: str, status: int, tmp_path: Path) -> None:
        ended = in_login_shell(shell, b"exit %d" % status, home=tmp_path)
        assert ended.out.outcome == ended.err.outcome == Exited(status)
        assert (ended.stdout, ended.stderr) == (b"", b"")

    @pytest.mark.parametrize("shell", LOGIN_SHELLS)
    def test_it_is_the_users_own_shell_that_runs_the_command(self, shell: str, tmp_path: Path) -> None:
        is_csh = shell in {"csh", "tcsh"}
        command = b"if ( 1 ) echo yes" if is_csh else b"if true; echo yes; end"
        if shell not in {"csh", "tcsh", "fish"}:
            command = b"if true; then echo yes; fi"
        assert in_login_shell(shell, command, home=tmp_path).stdout == b"yes\n"

    @pytest.mark.parametrize("shell", LOGIN_SHELLS)
    def test_known_input_comes_and_ends(self, shell: str, tmp_path: Path) -> None:
        ended = in_login_shell(shell, b"cat; echo ended", b"one\ntwo\0\xff", home=tmp_path)
        assert ended.stdout == b"one\ntwo\0\xffended\n"

    @pytest.mark.parametrize("shell", LOGIN_SHELLS)
    def test_quotes_and_signs_arrive_as_typed(self, shell: str, tmp_path: Path) -> None:
        command = b'echo \'$HOME `id` ! * "\' "a  b" # no'
        assert in_login_shell(shell, command, home=tmp_path).stdout == b'$HOME `id` ! * " a  b\n'


class TestScript:
    """Whatever /bin/sh is."""

    @pytest.mark.parametrize("shell", SCRIPT_SHELLS)
    def test_every_byte_of_a_command_arrives(self, shell: str) -> None:
        quoted = b"'" + EVERY_BYTE.replace(b"'", b"") + b"'"
        ended = in_script(shell, b"printf %s " + quoted)
        assert ended.stdout == EVERY_BYTE.replace(b"'", b"")

    @pytest.mark.parametrize("shell", SCRIPT_SHELLS)
    def test_blanks_and_line_feeds_at_the_ends_stay(self, shell: str) -> None:
        ended = in_script(shell, b"  cat <<'END'\n a \n\n\nEND\n\n")
        assert ended.stdout == b" a \n\n\n"

    @pytest.mark.parametrize("shell", SCRIPT_SHELLS)
    def test_a_signal_is_128_and_its_number_and_nobody_comments(self, shell: str) -> None:
        ended = in_script(shell, b"echo last >&2; kill -9 $$")
        assert ended.out.outcome == Exited(137)
        assert (ended.stdout, ended.stderr) == (b"", b"last\n")

    @pytest.mark.parametrize("shell", SCRIPT_SHELLS)
    def test_without_input_the_command_reads_dev_null(self, shell: str) -> None:
        assert in_script(shell, b"readlink /proc/self/fd/0").stdout == b"/dev/null\n"

    @pytest.mark.parametrize("shell", SCRIPT_SHELLS)
    def test_no_descriptor_and_no_variable_of_ours_is_left_to_the_command(self, shell: str) -> None:
        ended = in_script(shell, b"env; ls /proc/self/fd")
        names = {line.partition(b"=")[0] for line in ended.stdout.splitlines() if b"=" in line}
        assert names <= {b"SHELL", b"PATH", b"PWD", b"OLDPWD", b"SHLVL", b"_", b"A__z"}
        descriptors = {int(line) for line in ended.stdout.splitlines() if line.isdigit()}
        assert descriptors <= {0, 1, 2, 3}  # 3 is ls's own, for the folder
        assert b"socket" not in in_script(shell, b"readlink /proc/$$/fd/3").stdout

    @pytest.mark.parametrize("shell", SCRIPT_SHELLS)
    def test_a_megabyte_both_ways(self, shell: str) -> None:
        text = bytes(range(256)) * 4096
        with started(needed(shell), AS_SH) as (main, _):
            main.sendall(order(b"wc -c; head -c 1000000 /dev/zero", len(text)) + text)
            assert _found(KEY, _read(main))[0] == b"1048576\n" + bytes(1_000_000)

    @pytest.mark.parametrize("shell", SCRIPT_SHELLS)
    def test_input_that_nobody_reads_delays_no_result_and_is_read_in_the_end(self, shell: str) -> None:
        text = b"x" * 3_000_000
        with started(needed(shell), AS_SH) as (main, stderr):
            main.sendall(order(b"echo done; exit 4", len(text)))
            finder = MarkerFinder(KEY)
            out = b""
            while finder.outcome is None:  # nothing of the input was sent so far
                out += finder.feed(main.recv(65_536))
            assert (out, finder.outcome) == (b"done\n", Exited(4))
            main.sendall(text)  # would fail, were the socket closed with input unread
            assert _read(main) == b""
            assert MarkerFinder(KEY).feed(_read(stderr)) == b""

    @pytest.mark.parametrize("shell", SCRIPT_SHELLS)
    @pytest.mark.parametrize("sent", [GOODBYE, b""])
    def test_a_goodbye_ends_it_and_runs_nothing(self, shell: str, sent: bytes) -> None:
        with started(needed(shell), AS_SH) as (main, stderr):
            if sent:
                main.sendall(sent)
            else:
                main.shutdown(socket.SHUT_WR)  # this is not TCP
            assert _read(main) == _read(stderr) == KEY + b"["


class TestOrder:
    def test_the_line_holds_nothing_that_shells_read_differently(self) -> None:
        line = wrapper.line(KEY).decode("ascii")
        before, script, after = line.split("'")
        assert (before, script, after) == ("exec /bin/sh -c ", SCRIPT, f" {KEY.decode()}")
        assert not set(script) & set("'\\!\n\r")
        assert script.isprintable()
        assert len(line) < 1023  # rsh-redone's buffer

    def test_a_readable_command_stays_readable(self) -> None:
        assert order(b"df -h | grep '^/dev'", 7) == b"7\ndf -h | grep '^/dev'\n"

    @pytest.mark.parametrize("command", [b"", b"a\0b", b"x" * (LONGEST_ARGUMENT + 1)])
    def test_what_cannot_be_sent_is_refused(self, command: bytes) -> None:
        with pytest.raises(ValueError, match="command"):
            order(command, 0)

    def test_the_longest_command_runs(self) -> None:
        filled = b"true ".ljust(LONGEST_ARGUMENT, b"x")
        assert in_script("dash", filled).out.outcome == Exited(0)


MARKER = re.compile(KEY + rb"\][0-9]{1,5};")
chunks = st.lists(st.integers(0, 2000), max_size=8)
# What looks like markers, and is none.
noise = st.lists(
    st.sampled_from(
        [KEY, KEY[:5], KEY + b"]", KEY + b"]1", KEY + b"]x;", KEY + b"]123456;", b"0", b"\xff\0\n"]
    )
    | st.binary(max_size=8),
    max_size=8,
).map(b"".join)


class TestMarkerFinder:
    def feed(self, pieces: list[bytes], beginnings: int = 1) -> tuple[bytes, MarkerFinder]:
        finder = MarkerFinder(KEY, beginnings=beginnings)
        return b"".join(map(finder.feed, pieces)), finder

    @example(b"", KEY + b"]1", 0, b"", [], 1)
    @given(noise, noise, st.integers(0, 255), noise, chunks, st.sampled_from([1, 2]))
    def test_pieces_do_not_matter(
        self, before: bytes, output: bytes, status: int, after: bytes, places: list[int], beginnings: int
    ) -> None:
        beginning, ending = (KEY + b"[") * beginnings, b"%b]%d;" % (KEY, status)
        # Noise may make a marker by chance, which a command's output cannot: it does not know the key.
        assume((before + beginning).find(beginning) == len(before))
        assume(MARKER.search(output + ending, 0, len(output) + len(ending) - 1) is None)
        stream = before + beginning + output + ending + after
        found, finder = self.feed(cut(stream, places), beginnings)
        assert (found, finder.part, finder.outcome) == (output, Part.AFTER, Exited(status))
        assert finder.prelude == before

    @given(noise, chunks)
    def test_without_an_ending_all_is_output(self, output: bytes, places: list[int]) -> None:
        assume(MARKER.search(output) is None)
        found, finder = self.feed(cut(KEY + b"[" + output, places))
        assert found + finder.end() == output
        assert (finder.part, finder.outcome) == (Part.INSIDE, None)

    @given(noise, chunks)
    def test_what_is_held_back_is_less_than_a_marker(self, output: bytes, places: list[int]) -> None:
        assume(MARKER.search(output) is None)
        finder = MarkerFinder(KEY)
        finder.feed(KEY + b"[")
        given_so_far = got = 0
        for piece in cut(output, places):
            given_so_far += len(piece)
            got += len(finder.feed(piece))
            assert given_so_far - got < len(KEY) + len(b"]00000;")

    def test_what_comes_after_the_end_is_dropped(self) -> None:
        found, finder = self.feed([KEY + b"[a" + KEY + b"]0;late", b"later"])
        assert found + finder.end() == b"a"

    def test_without_a_beginning_nothing_is_output(self) -> None:
        found, finder = self.feed([b"Authentication failure\n"])
        assert (found, finder.end(), finder.prelude) == (b"", b"", b"Authentication failure\n")

    def test_ksh93_says_256_and_the_signal(self) -> None:
        _, finder = self.feed([KEY + b"[" + KEY + b"]265;"])
        assert finder.outcome == Exited(137)
