"""What sshd and dropbear have in common here: a folder, users, a log, a process, and a tidy end."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers import keys
from tests.servers.accounts import GUEST, PASSWORD, ROOT, Accounts, Person, make_accounts
from tests.servers.log import ServerLog
from tests.servers.mounts import with_files
from tests.servers.namespace import Namespace
from tests.servers.processes import descendants, end_tree
from tests.servers.requirement import require_root
from tests.servers.stoppable import Stoppable


@dataclass(frozen=True, slots=True)
class Site:
    """The folder of one server: users, the client's key, room for configuration."""

    directory: Path
    accounts: Accounts
    client_key: Path


def make_site(kind: str, *, shell: str | Path = "/bin/sh", people: Sequence[Person] = ()) -> Site:
    """Create a server's folder, its users and a key that both of them accept.

    Args:
        kind: For the folder's name.
        shell: The guest's login shell.
        people: More users, who accept the key, too.
    """
    require_root()
    directory = Path(tempfile.mkdtemp(prefix=f"multirsh-{kind}-"))
    # The unprivileged user must reach its home, which pytest's own folders would not allow.
    directory.chmod(0o755)
    client_key = keys.make_key(directory / "client_key")
    accounts = make_accounts(directory, authorized=keys.public(client_key) + "\n", shell=shell, people=people)
    return Site(directory, accounts, client_key)


class Daemon(Stoppable):
    """A real SSH server that was started and listens. Ends as a context manager does, or by ``stop()``.

    Attributes:
        port: Where it listens.
        user: Who logs in with ``client_key``: root, with a home of the server's own.
        guest: Another who may, without privileges (uid 65534).
        password: Both users' password, for a server that takes passwords.
        client_key: Path of the private key that both users accept.
        host_key: The public half of the host's key: kind and base64.
        directory: The server's folder, removed at the end.
        accounts: Where the users live.
        namespace: Where it runs; ``None`` is the machine's own network.
        log: What it wrote to standard error.
    """

    user = ROOT
    guest = GUEST
    password = PASSWORD

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        site: Site,
        port: int,
        host_key: str,
        namespace: Namespace | None,
        ready: str,
        replaced: Mapping[str, Path] | None = None,
    ) -> None:
        self.port = port
        self.client_key = site.client_key
        self.host_key = host_key
        self.directory = site.directory
        self.accounts = site.accounts
        self.namespace = namespace
        argv = [*(with_files(replaced) if replaced else ()), *argv]
        self._process = subprocess.Popen(
            argv if namespace is None else namespace.argv(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=site.accounts.environment(),
        )
        if self._process.stderr is None:
            raise RuntimeError("the server was started without a pipe for its log")
        self.log = ServerLog(self._process.stderr)
        try:
            self.log.wait_for(ready)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The listening process."""
        return self._process.pid

    def processes(self) -> set[int]:
        """Find what it has forked and what its users run: sessions and their commands."""
        return descendants(self.pid)

    def known_hosts(self, names: Sequence[str]) -> str:
        """Word the known_hosts lines by which ``names`` are this server."""
        return keys.known_hosts(names, port=self.port, host_key=self.host_key)

    def stop(self) -> None:
        """Kill it with everything that it or its users started, and remove its folder."""
        end_tree(self._process, marks=self.accounts.marks())
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)
