"""Output that is too much, too long, or no text: exact, and within bounds of memory."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.end_to_end.remotes import Remotes
from tests.program import MULTIRSH, Program
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

MEBIBYTE = 1024 * 1024
MANY = 64
BEFORE_A_RUN = 100 * MEBIBYTE
"""What Python, asyncssh and a fleet take, generously."""


def peak(pid: int) -> int:
    """The most memory that a process has had so far, in bytes (proc_pid_status(5)); 0 once it has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


@pytest.fixture
def many(sshd: Daemon, in_module_namespace: Namespace, multirsh: Program) -> Program:
    """The program, and 64 hosts that are one sshd."""
    multirsh.knows(sshd, MANY)
    return multirsh


def test_a_hundred_megabytes_without_a_line_end_are_exact_in_files_and_bounded(
    on_sshd: Program, tmp_path: Path
) -> None:
    """With NUL and 0xff among them; live lines are cut, files and gathered output are not."""
    piece = b"\0\xff\x80x" * 1024
    (tmp_path / "big").write_bytes(piece * 25_000)
    expected = hashlib.sha256(piece * 25_000).hexdigest()
    argv = [*MULTIRSH, "-f", "hosts.yaml", "-w", "h01", "-b", "-N", "--outdir", "out", f"cat {tmp_path}/big"]
    process = subprocess.Popen(
        argv, env=on_sshd.environ, cwd=on_sshd.home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    gathered, most = hashlib.sha256(), 0
    assert process.stdout is not None
    with process.stdout as stdout:
        while came := stdout.read(MEBIBYTE):
            gathered.update(came.removesuffix(b"\n"))  # which the last line lacked
            most = max(most, peak(process.pid))
    assert process.wait(60) == 0
    assert hashlib.sha256((on_sshd.home / "out" / "h01").read_bytes()).hexdigest() == expected
    assert gathered.hexdigest() == expected
    assert 0 < most < BEFORE_A_RUN + 64 * MEBIBYTE + 20 * MEBIBYTE


def test_hosts_that_flood_a_reader_who_is_slow_are_held_back(many: Program, remotes: Remotes) -> None:
    """And when the reader goes away: 141, without a word, and nothing goes on at the hosts."""
    process = many.start("-j", str(MANY), "-f", "hosts.yaml", remotes.marking("exec yes"))
    assert process.stdout is not None
    remotes.wait_for(MANY)
    sizes = [0]
    for _ in range(60):  # windows and buffers fill up, and then it is flat for a second
        process.stdout.read(MEBIBYTE)
        time.sleep(0.25)
        sizes.append(peak(process.pid))
        if sizes[-1] - sizes[-5 if len(sizes) > 5 else 0] < MEBIBYTE:
            break
    else:
        pytest.fail(f"it grows: {sizes}")
    process.stdout.close()
    assert process.wait(60) == 128 + signal.SIGPIPE
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert max(sizes) < BEFORE_A_RUN + MANY * 4 * MEBIBYTE, "windows, buffers, and a connection each"
    wait_until(lambda: not remotes.alive, what="an end of all commands")


def test_what_could_harm_a_terminal_is_shown_there_and_exact_elsewhere(on_sshd: Program) -> None:
    harm = rb"\033]52;c;aGk=\007 \302\2331m \342\200\256 [bold]x[/bold] \000\377"
    command = f"printf '{harm.decode()}\\n'"
    exact = b"\x1b]52;c;aGk=\x07 \xc2\x9b1m \xe2\x80\xae [bold]x[/bold] \x00\xff\n"
    shown = rb"\x1b]52;c;aGk=\x07 \u009b1m \u202e [bold]x[/bold] \x00\xff"
    for option, before in (("", b"h01: "), ("-b", b"---- h01 (1)"), ("-L", b"---- h01")):
        argv = [*MULTIRSH, "-f", "hosts.yaml", "-w", "h01", "--color", "never", *option.split(), command]
        piped = subprocess.run(argv, env=on_sshd.environ, cwd=on_sshd.home, capture_output=True, check=True)
        assert exact in piped.stdout
        terminal = subprocess.run(
            ["script", "-qec", " ".join(map(_quoted, argv)), "/dev/null"],
            env=on_sshd.environ,
            cwd=on_sshd.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
        assert before in terminal.stdout
        assert shown in terminal.stdout
        assert not re.search(rb"\x1b\]|\x07|\x00|\xff|\xc2\x9b|\xe2\x80\xae", terminal.stdout)


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


@pytest.mark.parametrize("options", ["", "-b", "-L", "--json", "--outdir out"])
def test_a_stdout_that_is_full_or_closed_is_told_and_fails(on_sshd: Program, options: str) -> None:
    for to in (">/dev/full", ">&-"):
        ended = on_sshd.shell(f"multirsh -f hosts.yaml -w h01 {options} 'echo a' {to}")
        assert ended.code == 1
        assert ended.err.count("cannot write to standard output") == 1
        assert "Traceback" not in ended.err


def test_names_of_files_lead_nowhere_else(on_sshd: Program, sshd: Daemon) -> None:
    """A name is what the hosts file says, and it may say much."""
    on_sshd.write("odd.yaml", "hosts:\n  - .hidden: {address: 127.1.0.1}\n")
    ended = on_sshd("-f", "odd.yaml", "--outdir", "out", "echo x")
    assert ended.code in {0, 2}, ended.err
    assert {path.name for path in (on_sshd.home / "out").glob("*")} <= {"%2Ehidden"}
