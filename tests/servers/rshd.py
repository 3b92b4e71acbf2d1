"""The real in.rshd(8), behind an inetd of ours, with users and an /etc of its own.

The server's /etc is the machine's, seen through symbolic links, with some
files replaced: users, ``.rhosts`` that let everybody in, and a hosts file, so
that no resolver is asked. It is mounted in a mount namespace of the server's
own (mount_namespaces(7)): the machine's /etc stays as it is, and nothing is
mounted once the server's last process has ended. libnss_wrapper would not do:
ruserok(3), which pam_rhosts(8) asks, reads the user database inside libc.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.servers.log import ServerLog
from tests.servers.mounts import own_mounts
from tests.servers.namespace import Namespace
from tests.servers.processes import descendants, end_tree
from tests.servers.requirement import program, require_root
from tests.servers.stoppable import Stoppable

PORT: Final = 514
"""Where rsh servers listen: ``shell`` in services(5)."""

ROOT: Final = "root"
GUEST: Final = "guest"
STRANGER: Final = "stranger"
"""Has an account and no ``.rhosts``: nobody may log in as this user."""

SHELLS: Final[Mapping[str, str]] = {
    "dash": "dash",
    "bash": "bash",
    "busybox": "busybox",
    "tcsh": "tcsh",
    "fish": "fish",
    "zsh": "zsh",
    "ksh": "ksh",
    "mksh": "mksh",
    "csh": "csh",
}
"""Users by the name of their login shell; only those are there whose shell this machine has."""

_UNPACKED: Final = Path(__file__).parents[2] / ".rshd/usr/sbin/in.rshd"
"""Where .ci/setup puts it: its package, installed, would switch it on for the whole machine."""

_PAM: Final = """\
auth required pam_rhosts.so
account required pam_unix.so
session required pam_unix.so
"""
"""The package's own /etc/pam.d/rsh, less what reads more of the machine's files."""

_NOBODY: Final = 65534
_INETD: Final = Path(__file__).parent / "inetd.py"

_MOUNT_AND_RUN: Final = """
set -e
mount --bind /etc "$0/etc.machine"
mount --bind "$0/etc" /etc
exec "$@"
"""


class RshServer(Stoppable):
    """in.rshd for every 127.x.y.z of a namespace. Ends as a context manager does, or by ``stop()``.

    Attributes:
        port: Where it listens.
        directory: The server's folder, removed at the end.
        namespace: Where it runs.
        users: Who may log in, each with a home of its own.
    """

    def __init__(
        self,
        namespace: Namespace,
        *,
        port: int = PORT,
        daemon: Path | None = None,
    ) -> None:
        """Start it and wait until it listens.

        Args:
            namespace: Where.
            port: Where it listens.
            daemon: Another in.rshd than Debian's rsh-redone-server.

        Raises:
            AssertionError: It did not start; its log is in the message.
        """
        require_root()
        argv: list[str | Path] = [*own_mounts(), "sh", "-c", _MOUNT_AND_RUN]
        if daemon is None:
            daemon = _UNPACKED if _UNPACKED.exists() else program("in.rshd", package="rsh-redone-server")
        self.port = port
        self.namespace = namespace
        self.directory = Path(tempfile.mkdtemp(prefix="multirsh-rshd-"))
        self.directory.chmod(0o755)
        self.users = _make_users(self.directory)
        _make_etc(self.directory, self.users)
        self._process = subprocess.Popen(
            namespace.argv([*argv, self.directory, sys.executable, "-I", _INETD, str(port), daemon]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        if self._process.stderr is None:
            raise RuntimeError("the server was started without a pipe for its log")
        self.log = ServerLog(self._process.stderr)
        try:
            self.log.wait_for("listening on port")
        except BaseException:
            self.stop()
            raise

    def home(self, user: str) -> Path:
        """Where ``user`` lives."""
        return self.directory / "home" / user

    def processes(self) -> set[int]:
        """Find what it has forked and what its users run."""
        return descendants(self._process.pid)

    def stop(self) -> None:
        """Kill it with everything that it or its users started, and remove its folder."""
        end_tree(self._process, marks=tuple(f"HOME={self.home(user)}" for user in self.users))
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def _make_users(directory: Path) -> dict[str, tuple[int, str]]:
    """Create the homes; the users' ids and shells by name."""
    users = {ROOT: (0, "/bin/sh"), GUEST: (_NOBODY, "/bin/sh"), STRANGER: (_NOBODY, "/bin/sh")}
    for user, name in SHELLS.items():
        shell = shutil.which(name)
        if shell is not None:
            users[user] = (_NOBODY, _as_login_shell(shell, directory))
    for user, (uid, _) in users.items():
        home = directory / "home" / user
        home.mkdir(parents=True)
        os.chown(home, uid, uid)
        if user != STRANGER:
            rhosts = home / ".rhosts"
            rhosts.write_text("+ +\n")  # everybody, from everywhere
            rhosts.chmod(0o600)
            os.chown(rhosts, uid, uid)
    return users


def _as_login_shell(shell: str, directory: Path) -> str:
    """busybox is a shell only by the name of one."""
    if Path(shell).name != "busybox":
        return shell
    link = directory / "ash"
    link.symlink_to(shell)
    return str(link)


def _make_etc(directory: Path, users: Mapping[str, tuple[int, str]]) -> None:
    etc, machines = directory / "etc", directory / "etc.machine"
    etc.mkdir()
    machines.mkdir()
    # No password is ever asked for; a field that is not "x" keeps pam_unix from looking for a shadow entry.
    known = [line for line in Path("/etc/passwd").read_text().splitlines() if line.split(":")[0] not in users]
    ours = [
        f"{user}:*:{uid}:{uid}:multirsh test:{directory / 'home' / user}:{shell}"
        for user, (uid, shell) in users.items()
    ]
    replaced = {
        "passwd": "\n".join([*ours, *known]) + "\n",
        "hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\n",
        "shells": "/bin/sh\n" + "".join(f"{shell}\n" for _, shell in users.values()),
    }
    for name, text in replaced.items():
        (etc / name).write_text(text)
    (etc / "pam.d").mkdir()
    (etc / "pam.d" / "rsh").write_text(_PAM)
    for entry in Path("/etc").iterdir():
        if entry.name not in {*replaced, "pam.d"}:
            (etc / entry.name).symlink_to(machines / entry.name)
