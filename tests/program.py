"""multirsh as a user meets it: a process with a home of its own."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from tests.fleets import SshServer
from tests.waiting import HANG_GUARD_S

ROOT: Final = Path(__file__).parents[1]
MULTIRSH: Final = (sys.executable, "-m", "multirsh")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended.

    Attributes:
        code: Its exit code.
        out: What it wrote to stdout.
        err: What it wrote to stderr.
    """

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Program:
    """The program of one user.

    Attributes:
        home: Where the user lives; also the current folder.
        environ: The whole environment.
    """

    home: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.home / ".ssh").mkdir(mode=0o700, parents=True, exist_ok=True)
        self.environ.update(
            HOME=str(self.home),
            PATH=f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
            PYTHONPATH=str(ROOT),
            LANG="C.UTF-8",
            TERM="xterm",
        )

    def __call__(
        self,
        *args: str | Path,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Ended:
        """Run it to its end."""
        return self._run([*MULTIRSH, *map(str, args)], stdin, env, cwd)

    def shell(self, line: str, *, env: Mapping[str, str] | None = None) -> Ended:
        """Run a line of bash in which ``multirsh`` is the program."""
        function = f'multirsh() {{ {sys.executable} -m multirsh "$@"; }}\n'
        return self._run(["bash", "-c", function + line], b"", env, None)

    def start(
        self,
        *args: str | Path,
        prefix: Sequence[str] = (),
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        """Start it."""
        return subprocess.Popen(
            [*prefix, *MULTIRSH, *map(str, args)],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            bufsize=0,  # so that a line may be read before communicate() reads the rest
            env=self.environ,
            cwd=self.home,
        )

    def write(self, name: str, text: str, *, mode: int = 0o644) -> Path:
        """Write a file below the home."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def knows(self, server: SshServer, hosts: int = 20) -> list[str]:
        """Let ``h01`` ... be ``server``: in hosts.yaml, ~/.ssh/config and ~/.ssh/known_hosts.

        Returns:
            Their names.
        """
        self._settle()
        names = [f"h{number:02}" for number in range(1, hosts + 1)]
        addresses = [f"127.1.0.{number}" for number in range(1, hosts + 1)]
        listed = (
            f"  - {name}: {{address: {address}}}\n" for name, address in zip(names, addresses, strict=True)
        )
        groups = "groups: {few: {hosts: ['h[01-05]']}}\n" if hosts >= 5 else ""
        self.write("hosts.yaml", f"hosts:\n{''.join(listed)}{groups}")
        self.write(
            ".ssh/config",
            f"User {server.user}\nPort {server.port}\nIdentityFile {server.client_key}\nIdentitiesOnly yes\n"
            "IdentityAgent none\nGlobalKnownHostsFile /dev/null\n",
        )
        self.write(".ssh/known_hosts", server.known_hosts(addresses))
        return names

    def _settle(self) -> None:
        """Make the home this user's by the account too: ssh asks that, and not ``HOME`` (nss_wrapper(1))."""
        user = pwd.getpwuid(os.getuid())
        passwd = self.write(
            "passwd", f"{user.pw_name}:x:{user.pw_uid}:{user.pw_gid}:test:{self.home}:/bin/sh\n"
        )
        group = self.write("group", f"{user.pw_name}:x:{user.pw_gid}:\n")
        self.environ.update(
            LD_PRELOAD="libnss_wrapper.so", NSS_WRAPPER_PASSWD=str(passwd), NSS_WRAPPER_GROUP=str(group)
        )

    def _run(
        self, argv: Sequence[str], stdin: bytes, env: Mapping[str, str] | None, cwd: Path | None
    ) -> Ended:
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            timeout=HANG_GUARD_S,
            env={**self.environ, **(env or {})},
            cwd=cwd or self.home,
            check=False,
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def said(process: subprocess.Popen[bytes], *words: str) -> str:
    """Read its stderr, line by line, until ``words`` have come; the lines so far."""
    assert process.stderr is not None
    lines = ""
    while not all(word in lines for word in words):
        line = process.stderr.readline().decode()
        assert line, f"it ended before {words}: {lines}"
        lines += line
    return lines


def ended(process: subprocess.Popen[bytes]) -> Ended:
    """Wait for the end of what ``Program.start`` started."""
    out, err = process.communicate(timeout=HANG_GUARD_S)
    return Ended(process.returncode, out.decode(), err.decode())
