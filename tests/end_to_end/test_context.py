"""``--env``, ``--cwd``, ``--tty`` and ``--template``, and ``multirsh script``, as a user meets them."""

from __future__ import annotations

import contextlib
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.program import Program, ended
from tests.servers.namespace import Namespace
from tests.servers.processes import naming
from tests.waiting import wait_until


def _received(pid: int) -> Path | None:
    """The file into which a process writes a script, once some of it is there."""
    with contextlib.suppress(OSError):
        named = re.search(rb"multirsh-[0-9a-f]{16}", Path(f"/proc/{pid}/cmdline").read_bytes())
        if named is not None:
            file = Path("/tmp", named[0].decode())
            return file if file.stat().st_size > 0 else None
    return None


ONE = ("-f", "hosts.yaml", "-w", "h01", "-N", "-q")
TWO = ("-f", "hosts.yaml", "-w", "h[01-02]", "-q")


@pytest.mark.root
class TestRun:
    def test_an_environment_and_a_directory(self, on_sshd: Program) -> None:
        ended = on_sshd(
            *ONE, "--env", "A=b  c", "--env", "PATH=/bin:/x=y", "--cwd", "/usr", 'echo "$A" $PATH; pwd'
        )
        assert (ended.out, ended.err, ended.code) == ("b  c /bin:/x=y\n/usr\n", "", 0)

    def test_which_host_of_which_run_without_the_servers_consent(
        self, sshd_here: StartServer, in_namespace: Namespace, multirsh: Program
    ) -> None:
        multirsh.knows(sshd_here(options={"AcceptEnv": "NOTHING"}))
        ended = multirsh(*TWO, "--json", "echo $MULTIRSH_HOST $MULTIRSH_INDEX $MULTIRSH_RUN")
        events = [json.loads(line) for line in ended.out.splitlines()]
        told = {event["data"] for event in events if event["event"] == "stdout"}
        run = events[0]["run"]
        assert told == {f"h01 0 {run}\n", f"h02 1 {run}\n"}
        assert events[0]["command"] == "echo $MULTIRSH_HOST $MULTIRSH_INDEX $MULTIRSH_RUN"

    def test_a_directory_that_is_not_there(self, on_sshd: Program) -> None:
        ended = on_sshd("-S", *ONE, "--cwd", "/no/where", "echo ran")
        assert (ended.code, ended.out) == (125, "")
        assert "/no/where" in ended.err

    def test_a_terminal(self, on_sshd: Program) -> None:
        ended = on_sshd(*ONE, "--tty", "tty; stty size; echo c >&2")
        assert ended.out.splitlines()[1:] == ["24 80", "c"]

    def test_a_template(self, on_sshd: Program) -> None:
        vars_ = "hosts:\n" + "".join(
            f"  - h0{n}: {{address: 127.1.0.{n}, vars: {{rack: r {n}}}}}\n" for n in (1, 2)
        )
        on_sshd.write("racks.yaml", vars_)
        words = ("printf '<%s>'", "{host} {var.rack} {index} {{}}")
        ended = on_sshd("-f", "racks.yaml", "-q", "--template", *words)
        assert sorted(ended.out.splitlines()) == ["h01: <h01><r 1><0><{}>", "h02: <h02><r 2><1><{}>"]

    @pytest.mark.parametrize(
        ("args", "complaint"),
        [
            (("--env", "A", "x"), "--env: 'A' is no K=V"),
            (("--env", "A-B=1", "x"), "'A-B' is not a variable name; use letters, digits and _"),
            (("--env", "MULTIRSH_HOST=1", "x"), "MULTIRSH_HOST is set by multirsh; choose another name"),
            (("--cwd", "", "x"), "'' is not a directory name"),
            (("--template", "{hots}"), "template: {hots} is not known; known are {host}, {user}, {index}"),
            (
                ("--template", "{var.rack}"),
                "h01: {var.rack} has no value; known are {host}, {user}, {index};",
            ),
            (("--tty", "-R", "rsh", "x"), "h01: there are no terminals by rsh"),
        ],
    )
    def test_what_cannot_be_meant_is_told_before_anything_connects(
        self, on_sshd: Program, args: Sequence[str], complaint: str
    ) -> None:
        ended = on_sshd(*ONE, *args)
        assert (ended.code, ended.out) == (2, "")
        assert complaint in ended.err
        assert "Traceback" not in ended.err

    def test_the_lab_has_a_context_too(self, multirsh: Program) -> None:
        ended = multirsh(
            *("lab", "--hosts", "2", "-q", "--template", "--env", "A=b", "--cwd", "/usr"),
            "echo {host} $A; sh -c pwd",
        )
        lines = [f"{name}: {told}" for name in ("web01", "web02") for told in ("/usr", f"{name} b")]
        assert sorted(ended.out.splitlines()) == lines


@pytest.mark.root
class TestScript:
    def test_a_script_with_arguments_and_input(self, on_sshd: Program) -> None:
        on_sshd.write("fix.py", "#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:], sys.stdin.read())\n")
        on_sshd.write("data", "input")
        words = ("a b", "", "$HOME", "-N", "two\nlines")
        ended = on_sshd("script", *ONE, "--stdin-file", "data", "fix.py", *words)
        assert (ended.out, ended.err, ended.code) == (f"{list(words)!r} input\n", "", 0)
        assert on_sshd("script", *ONE, "-I", "fix.py", stdin=b"typed").out == "[] typed\n"
        assert on_sshd("script", *ONE, "-I", "fix.py", "x", stdin=b"typed").out == "['x'] typed\n"
        assert on_sshd("script", *ONE, "-n", "fix.py", stdin=b"not for it").out == "[] \n"
        assert on_sshd("script", *ONE, "fix.py", stdin=b"for whom?").code == 2

    def test_its_status_is_kept(self, on_sshd: Program) -> None:
        on_sshd.write("fail", "exit 3\n")
        assert on_sshd("script", *ONE, "fail").code == 5
        assert on_sshd("script", "-S", *ONE, "fail").code == 3

    def test_it_is_told_of_as_it_was_called(self, on_sshd: Program) -> None:
        on_sshd.write("fix.sh", "echo hi\n")
        ended = on_sshd("script", *ONE, "--json", "./fix.sh", "a b")
        assert json.loads(ended.out.splitlines()[0])["command"] == "./fix.sh 'a b'"

    def test_standard_input_may_be_the_script(self, on_sshd: Program) -> None:
        ended = on_sshd("script", *ONE, "-", "x", stdin=b"echo $1; cat")
        assert ended.out == "x\n"
        ended = on_sshd("script", *ONE, "-I", "-", stdin=b"echo ran")
        assert ended.code == 2
        assert "standard input is read by the script and cannot be sent to the hosts, too" in ended.err
        ended = on_sshd("script", "-f", "-", "-", stdin=b"h01\n")
        assert ended.code == 2
        assert "standard input is read by -f - and cannot be the script, too" in ended.err

    def test_a_shell_of_ones_choice(self, on_sshd: Program) -> None:
        on_sshd.write("odd", "print(__import__('sys').flags.isolated, '{index}')")
        assert on_sshd("script", *ONE, "--shell", "python3 -I", "odd").out == "1 {index}\n"

    def test_templates_are_for_its_arguments(self, on_sshd: Program) -> None:
        on_sshd.write("fix.sh", "echo \"$1\" '{host}' $MULTIRSH_HOST\n")
        ended = on_sshd("script", *ONE, "--template", "--cwd", "/", "fix.sh", "a  {host}")
        assert ended.out == "a  h01 {host} h01\n"

    def test_we_are_killed_while_it_is_sent(self, on_sshd: Program) -> None:
        on_sshd.write("large", "echo ran\n" + "# and so on\n" * 200_000)
        mark = f"mark-{random.SystemRandom().randrange(10**12)}"
        there = on_sshd.home / mark  # near the beginning of the line, which is parted into words
        there.mkdir()
        process = on_sshd.start("script", *ONE, "--cwd", there, "large")
        files: set[Path] = set()

        def is_read() -> bool:
            files.update(file for pid in naming(mark) if (file := _received(pid)) is not None)
            return bool(files)

        wait_until(is_read, what="the host reads it")
        process.kill()
        assert ended(process).out == ""
        wait_until(lambda: naming(mark) == set(), what="nothing of it runs")
        wait_until(lambda: not any(file.exists() for file in files), what="nothing is left")

    @pytest.mark.parametrize(
        ("args", "complaint"),
        [
            ((), "there is no script to run"),
            (("none.sh",), "none.sh: No such file or directory; give a script that can be read"),
            (("windows.sh", "x"), "windows.sh, line 2: the line ends as on Windows (CR LF); sed -i "),
            (("nul",), "nul, line 1: a NUL byte, so this is not a script"),
            (("empty",), "empty: the script is empty"),
            (("--shell", "", "good"), "--shell names no program"),
            (("--shell", "'", "good"), '--shell "\'": No closing quotation'),
            (("--template", "good", "{x}"), "template: {x} is not known"),
            (("good", "x" * 131_000), "the command is too long"),
        ],
    )
    def test_what_cannot_be_meant_is_told_before_anything_connects(
        self, on_sshd: Program, args: Sequence[str], complaint: str
    ) -> None:
        scripts = {"windows.sh": b"#!/bin/sh\necho a\r\n", "nul": b"\0", "empty": b"", "good": b"echo"}
        for name, content in scripts.items():
            (on_sshd.home / name).write_bytes(content)
        ended = on_sshd("script", *ONE, *args)
        assert (ended.code, ended.out) == (2, "")
        assert complaint in ended.err


def test_no_hosts_are_named(multirsh: Program) -> None:
    multirsh.write("good", "echo")
    ended = multirsh("script", "good")
    assert (ended.code, ended.err.splitlines()[0][:30]) == (2, "multirsh: no hosts are named; ")
