"""Scripts: what is refused, how they come in and leave nothing, by every login shell of a real sshd."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from multirsh.commands import prepare, remote_shell
from multirsh.commands.command import Command, Script
from multirsh.commands.prepare import PrefixedStdin
from multirsh.engine.fleet import Fleet
from multirsh.engine.spool import Given
from multirsh.errors import UsageError
from multirsh.model import Assignment, Fate, Host, Status
from tests.commands.guests import HOST, fleet_as_guest, lines, told
from tests.commands.shells import at
from tests.servers.daemon import Daemon
from tests.servers.mounts import own_mounts
from tests.servers.namespace import Namespace
from tests.servers.processes import naming
from tests.waiting import wait_until

on_servers = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

ODD = ("", "a b", "it's", '"', "$HOME `x` \\", "*", "-n", "!", "two\nlines\n", "zwölf \udcff", "{host}", "#")


class CutOff(Given):
    """Standard input that cannot be read to its end."""

    async def read(self, offset: int) -> bytes:
        data = await super().read(offset)
        if not data:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return data


def line_for(script: Script) -> str:
    """What a host is asked to run."""
    return prepare.prepare(Command(script=script), Assignment(Host("h"), 0, "run"), None).line


def run_here(script: Script, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run what a host would be given, by /bin/sh of this machine's."""
    return subprocess.run(
        ["/bin/sh", "-c", line_for(script)],
        input=remote_shell.encode_script(script.content),
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", **environment},
        check=False,
    )


class TestOnServers:
    pytestmark = on_servers

    async def test_arguments_come_exactly(self, guest: Fleet) -> None:
        script = Script(b'#!/bin/sh\nfor a in "$@"; do printf "<%s>" "$a"; done\n', ODD)
        result = await told(guest, Command(script=script))
        assert result.stderr == b""
        assert result.stdout == "".join(f"<{a}>" for a in ODD).encode("utf-8", "surrogateescape")

    async def test_its_own_input_is_free(self, guest: Fleet) -> None:
        everything = bytes(range(256)) * 2000
        result = await told(guest, Command(script=Script(b"#!/bin/cat -\n")), everything)
        assert result.stdout == everything + b"#!/bin/cat -\n"

    async def test_input_that_is_read_by_turns(self, guest: Fleet) -> None:
        script = Script(b"read -r a; echo got $a; cat")
        assert lines(await told(guest, Command(script=script), b"one\ntwo\nthree")) == [
            "got one",
            "two",
            "three",
        ]

    async def test_without_input_it_sees_the_end(self, guest: Fleet) -> None:
        assert lines(await told(guest, Command(script=Script(b"cat; echo end")))) == ["end"]

    async def test_its_ending_is_its_own(self, guest: Fleet) -> None:
        result = await told(guest, Command(script=Script(b"exit 7")))
        assert (result.status, result.exit_status) == (Status.FAILED, 7)
        result = await told(guest, Command(script=Script(b"kill -KILL $$")))
        assert (result.status, result.signal) == (Status.SIGNALLED, "KILL")

    async def test_it_is_a_file_of_its_own_and_gone_afterwards(self, guest: Fleet) -> None:
        result = await told(guest, Command(script=Script(b'stat -c "%a %F" "$0"; echo "$0"')))
        kind, name = lines(result)
        assert kind == "700 regular file"
        assert Path(name).parent == Path("/tmp")
        assert not Path(name).exists()  # noqa: ASYNC240 - one look

    async def test_it_can_run_itself_again(self, guest: Fleet) -> None:
        script = b'#!/bin/sh\n[ "$1" ] || exec env -i "$0" again\necho "$1"; ls -l /dev/fd/9 2>/dev/null'
        assert lines(await told(guest, Command(script=Script(script)))) == ["again"]

    async def test_processes_of_pythons_that_begin_anew(self, guest: Fleet) -> None:
        script = b"""#!/usr/bin/env python3
import multiprocessing
def double(number):
    return 2 * number
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(double, [1, 2, 3]))
"""
        assert lines(await told(guest, Command(script=Script(script)))) == ["[2, 4, 6]"]

    async def test_its_context(self, guest: Fleet) -> None:
        script = Script(b"echo $MULTIRSH_HOST $MULTIRSH_INDEX $HELLO; pwd; umask; env | grep -c '^__'")
        command = Command(script=script, environment={"HELLO": "you"}, directory="/usr")
        host, where, umask, ours = lines(await told(guest, command))
        assert (host, where, ours) == (f"{HOST} 0 you", "/usr", "0")
        assert umask == lines(await told(guest, "sh -c umask"))[0]

    async def test_python(self, guest: Fleet) -> None:
        script = b"#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:], repr(sys.stdin.read()))"
        result = await told(guest, Command(script=Script(script, ("a b",))), b"in\r\n")
        assert lines(result) == ["['a b'] 'in\\r\\n'"]

    async def test_an_interpreter_that_is_not_there(self, guest: Fleet) -> None:
        result = await told(guest, Command(script=Script(b"#!/no/such/thing\n")))
        assert result.exit_status in {126, 127}
        assert b"/no/such/thing" in result.stderr

    async def test_some_mebibytes(self, guest: Fleet) -> None:
        script = b"cat\n" + b"# a line of comment, and some more of it\n" * 25_000 + b"echo end"
        assert lines(await told(guest, Command(script=Script(script)), b"in\n")) == ["in", "end"]

    @pytest.mark.parametrize("sent", [0, 100, 5000])
    async def test_a_connection_that_is_cut_off_leaves_nothing(self, guest: Fleet, sent: int) -> None:
        script = Script(b"echo ran >&2; sleep 100\n" + b"#\n" * 20_000)
        line = prepare.prepare(Command(script=script), Assignment(Host(HOST), 0, "r"), None).line
        result = await told(guest, line, CutOff(remote_shell.encode_script(script.content)[:sent]))
        assert (result.status, result.stderr) == (Status.LOCAL, b"")
        (name,) = re.findall("multirsh-[0-9a-f]{16}", line)
        await asyncio.to_thread(wait_until, lambda: not Path("/tmp", name).exists(), what="nothing is left")

    async def test_one_that_is_given_up_on_is_ended(
        self, by_shell: Daemon, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        nap = str(random.SystemRandom().randrange(10**8, 9 * 10**8))
        script = Script(f"#!/bin/sh\nsleep {nap} & echo began; sleep {nap}".encode())
        async with fleet_as_guest(by_shell, tmp_path, command_s=1.0) as fleet:
            result = await told(fleet, Command(script=script))
        assert (result.status, result.stdout) == (Status.TIMEOUT, b"began\n")
        assert result.error is not None
        assert result.error.fate is Fate.DEAD
        assert naming(nap) == set()


class TestInterpreters:
    @pytest.mark.parametrize(
        ("content", "shell", "runner"),
        [
            (b"echo hi", None, ("/bin/sh",)),
            (b"#!/bin/bash\n", None, ("/bin/bash",)),
            (b"#! /usr/bin/env  python3 -u \t\nx", None, ("/usr/bin/env", "python3 -u")),
            (b"#!/usr/bin/awk -f", None, ("/usr/bin/awk", "-f")),
            (b"#!perl\n", None, ("./perl",)),
            (b"#!\necho", None, ("/bin/sh",)),
            (b"#! \t\n/bin/x", None, ("/bin/sh",)),
            (b" #!/bin/bash\n", None, ("/bin/sh",)),
            (b"#!/bin/bash\n", "python3 -u 'a b'", ("python3", "-u", "a b")),
        ],
    )
    def test_as_the_kernel_reads_it(
        self, content: bytes, shell: str | None, runner: Sequence[str], tmp_path: Path
    ) -> None:
        path = tmp_path / "script"
        path.write_bytes(content)
        assert Script.read(path, shell=shell).command() == runner

    def test_the_kernel_agrees(self, tmp_path: Path) -> None:
        path = tmp_path / "script"

        @given(st.lists(st.sampled_from([b" ", b"\t", b"a", b"-n", b"#", b"\xff", b"'", b"\\"]), max_size=20))
        @example([b" \t", b"a", b"  ", b"b", b"\t "])
        def holds(words: list[bytes]) -> None:
            path.unlink(missing_ok=True)
            path.write_bytes(b"#! \t/bin/echo x" + b"".join(words) + b"\n")
            path.chmod(0o755)
            told = subprocess.run([path], capture_output=True, check=True).stdout
            _, *rest = Script.read(path).command()
            assert told == os.fsencode(" ".join([*rest, str(path)]) + "\n")

        holds()


class TestRefused:
    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            (b"", "the script is empty"),
            (b"\n \n", "the script is empty"),
            (b"#!/bin/sh\necho\r\n", "fix.sh, line 2: the line ends as on Windows"),
            (b"#!/bin/sh\r\necho\r\n", "fix.sh, line 1: the line ends as on Windows"),
            (b"#!/bin/sh\r", "fix.sh, line 1: the line ends as on Windows"),
            (b"a\nb\n\x7fELF\0\n", "fix.sh, line 3: a NUL byte"),
            (b"\xef\xbb\xbf#!/bin/sh\n", "fix.sh, line 1: the file begins with a byte order mark"),
        ],
    )
    def test_what_is_no_script(self, content: bytes, complaint: str) -> None:
        with pytest.raises(UsageError, match=complaint):
            Script(content, name="fix.sh")

    def test_a_carriage_return_within_a_line_is_nobodys_business(self) -> None:
        Script(b"printf 'a\rb'\n")

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="No such file"):
            Script.read(tmp_path / "none")
        with pytest.raises(UsageError, match="Is a directory"):
            Script.read(tmp_path)

    @pytest.mark.parametrize("shell", ["", " ", "''", "'x"])
    def test_a_shell_without_words(self, shell: str, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("echo")
        with pytest.raises(UsageError, match="--shell"):
            Script.read(tmp_path / "x", shell=shell)

    def test_an_argument_with_a_nul(self) -> None:
        with pytest.raises(UsageError, match="NUL"):
            Script(b"echo", ("a\0",))

    def test_a_text_and_a_terminal_besides(self) -> None:
        with pytest.raises(UsageError, match="not both"):
            Command("echo", script=Script(b"echo"))
        with pytest.raises(UsageError, match="terminal"):
            Command(script=Script(b"echo"), tty=True)

    def test_its_content_is_not_in_its_repr(self) -> None:
        assert "secret" not in repr(Command(script=Script(b"secret")))


class TestHere:
    @given(content=st.binary(min_size=1, max_size=6000))
    @example(b"\\.\n\\.\nx")
    @example(b"%s \\n \\0101 \\c")
    @example(bytes(range(1, 256)) * 30)
    def test_every_byte_comes(self, content: bytes) -> None:
        """An interpreter that prints the file it is given."""
        content = content.replace(b"\0", b"").replace(b"\r", b"") + b"x"
        with contextlib.suppress(UsageError):
            done = run_here(Script(content, interpreter=("/bin/cat",)))
            assert (done.stdout, done.stderr) == (content, b"")

    @pytest.mark.parametrize("shell", ["dash", "bash", "ash", "ksh", "mksh", "zsh"])
    @pytest.mark.root
    def test_whatever_sh_is(self, shell: str, tmp_path: Path) -> None:
        content = bytes(set(range(1, 256)) - {13}) * 20
        sh = tmp_path / "sh"
        sh.symlink_to(Path(at(shell, tmp_path)).resolve())
        script = Script(content, ("a b",), ("/bin/cat", "-"))
        mount = f'mount --bind "{sh.resolve()}" "$(readlink -f /bin/sh)"; exec /bin/sh -c "$0"'
        done = subprocess.run(
            [*own_mounts(), "bash", "-c", mount, line_for(script)],
            input=remote_shell.encode_script(content) + b"the input",
            capture_output=True,
            check=False,
        )
        assert done.stdout == b"the input" + content
        assert b"a b" in done.stderr

    @pytest.mark.root
    @pytest.mark.parametrize(
        ("ending", "status"),
        [("exit 7", 7), ("exit 200", 200), ("kill -TERM $$", -15), ("kill -HUP $PPID; exit 1", 129)],
    )
    def test_the_file_is_removed_afterwards_with_or_without_proc(
        self, ending: str, status: int, tmp_path: Path
    ) -> None:
        script = Script(
            f'read x; echo "$x $1 $#"; cat "$0" >/dev/null && echo "$0"; {ending}'.encode(), ("a b",)
        )
        hidden = 'mount -t tmpfs none /proc; exec /bin/sh -c "$0"'
        done = subprocess.run(
            [*own_mounts(), "sh", "-c", hidden, line_for(script)],
            input=remote_shell.encode_script(script.content) + b"in\n",
            capture_output=True,
            env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
            check=False,
        )
        first, name = done.stdout.decode().splitlines()
        assert (first, done.returncode) == ("in a b 1", status)
        assert Path(name).parent == tmp_path
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.root
    def test_a_full_folder_is_left_for_the_next_one(self, tmp_path: Path) -> None:
        content = b"echo $0 $(wc -c <$0)\n" + b"# filling\n" * 30_000
        small, line = tmp_path / "small", line_for(Script(content))
        small.mkdir()
        mount = f'mount -t tmpfs -o size=64k none {small}; TMPDIR={small} /bin/sh -c "$0"; ls {small}'
        done = subprocess.run(
            [*own_mounts(), "sh", "-c", mount, line],
            input=remote_shell.encode_script(content),
            capture_output=True,
            check=True,
        )
        name, size = done.stdout.split()
        assert (name.startswith(b"/tmp/multirsh-"), int(size), done.stderr) == (True, len(content), b"")
        assert not Path(name.decode()).exists()

    @pytest.mark.root
    @pytest.mark.parametrize("shell", ["dash", "bash", "ash", "ksh", "mksh", "zsh"])
    def test_a_folder_whose_files_cannot_be_run_is_left_for_the_next_one(
        self, shell: str, tmp_path: Path
    ) -> None:
        content = b'#!/bin/sh\n[ "$1" ] || exec "$0" again\necho "$0"\ncat\n'
        sh = Path(at(shell, tmp_path)).resolve()
        barred = tmp_path / "barred"
        barred.mkdir()
        mount = (
            f'mount --bind "{sh}" "$(readlink -f /bin/sh)"; mount -t tmpfs -o noexec none {barred};'
            f' TMPDIR={barred} /bin/sh -c "$0"; ls {barred}'
        )
        done = subprocess.run(
            [*own_mounts(), "bash", "-c", mount, line_for(Script(content))],
            input=remote_shell.encode_script(content) + b"in\n",
            capture_output=True,
            check=True,
        )
        name, given = done.stdout.decode().splitlines()
        assert (name.startswith("/tmp/multirsh-"), given, done.stderr) == (True, "in", b"")
        assert not Path(name).exists()

    @pytest.mark.root
    def test_where_no_file_can_be_run_the_interpreter_reads_it(self, tmp_path: Path) -> None:
        barred = "for d in /tmp /var/tmp /dev/shm; do mount -t tmpfs -o noexec none $d; done"
        mount = f'{barred}; cd /tmp; exec /bin/sh -c "$0"'
        done = subprocess.run(
            [*own_mounts(), "sh", "-c", mount, line_for(Script(b"echo $0"))],
            input=remote_shell.encode_script(b"echo $0"),
            capture_output=True,
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
            check=True,
        )
        assert done.stdout.startswith(b"/tmp/multirsh-")
        assert done.stderr == b""

    @pytest.mark.root
    @pytest.mark.parametrize("shell", ["dash", "bash", "ash", "ksh", "mksh", "zsh"])
    @pytest.mark.parametrize("signal", ["TERM", "KILL", "SEGV", "INT"])
    def test_a_signal_adds_nothing_to_its_output(self, shell: str, signal: str, tmp_path: Path) -> None:
        content = f"echo own >&2; kill -{signal} $$".encode()
        sh = Path(at(shell, tmp_path)).resolve()
        mount = f'mount --bind "{sh}" "$(readlink -f /bin/sh)"; exec /bin/sh -c "$0"'
        done = subprocess.run(
            [*own_mounts(), "bash", "-c", mount, line_for(Script(content, interpreter=("/bin/bash",)))],
            input=remote_shell.encode_script(content),
            capture_output=True,
            check=False,
        )
        assert done.stderr == b"own\n"

    def test_where_there_is_no_room_it_says_so(self, tmp_path: Path) -> None:
        limited = f"ulimit -f 0; trap '' XFSZ; {line_for(Script(b'echo ran'))}"
        done = subprocess.run(
            ["/bin/sh", "-c", limited],
            input=remote_shell.encode_script(b"echo ran"),
            capture_output=True,
            check=False,
        )
        assert (done.stdout, done.returncode) == (b"", 125)
        assert b"multirsh: no folder has space for a temporary file" in done.stderr

    def test_a_temporary_folder_of_ones_own(self, tmp_path: Path) -> None:
        script = Script(b"echo $0")
        told = run_here(script, TMPDIR=str(tmp_path)).stdout.decode()
        assert told.startswith(str(tmp_path))
        told = run_here(script, TMPDIR="/no/such").stdout.decode()
        assert told.startswith("/tmp/")

    @pytest.mark.parametrize("cut", [0, 5, 12])
    def test_what_has_not_come_in_full_is_not_run(self, cut: int) -> None:
        script = Script(b"echo ran\n#")
        done = subprocess.run(
            ["/bin/sh", "-c", line_for(script)],
            input=remote_shell.encode_script(script.content)[:cut],
            capture_output=True,
            check=False,
        )
        assert (done.stdout, done.returncode) == (b"", 125)
        assert b"not received in full" in done.stderr


class TestTheInput:
    @given(st.binary(max_size=50), st.binary(max_size=50) | st.none())
    async def test_it_is_the_one_and_then_the_other(self, first: bytes, then: bytes | None) -> None:
        led = PrefixedStdin(first, None if then is None else Given(then))
        whole = first + (then or b"")
        assert await led.size() == len(whole)
        read = b""
        while data := await led.read(len(read)):
            assert led.at(len(read)) == data
            read += data
        assert read == whole
