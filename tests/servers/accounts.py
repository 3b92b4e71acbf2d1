"""Users that exist for one server only: the machine's own /etc/passwd and homes stay untouched.

The server is started with libnss_wrapper (nss_wrapper(1)), which answers
getpwnam(3) from a file of ours. ``root`` keeps uid 0 but gets a home that is
private to the server; ``guest`` is there to log in without privileges, and by
password. The commands that users run are started by the server without it, so
``whoami`` as ``guest`` says ``nobody``, whose uid it has.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from tests.servers.requirement import require

ROOT: Final = "root"
GUEST: Final = "guest"
PASSWORD: Final = "correct horse"
"""The password of both; the machine's own root password does not count at these servers."""

_GUEST_UID: Final = 65534
_WRAPPER: Final = "libnss_wrapper.so"


class Person(NamedTuple):
    """One user more.

    Attributes:
        name: Of nobody on the machine.
        uid: The same.
        shell: The login shell.
    """

    name: str
    uid: int
    shell: str = "/bin/sh"


@dataclass(frozen=True, slots=True)
class Accounts:
    """The users of one server, and where they live.

    Attributes:
        directory: Holds the passwd and group files and the homes.
        users: Their names.
    """

    directory: Path
    users: tuple[str, ...] = (ROOT, GUEST)

    def home(self, user: str) -> Path:
        """Where ``user`` lives."""
        return self.directory / "home" / user

    def environment(self) -> dict[str, str]:
        """Word the environment in which a server sees these users; all that it needs, and nothing of ours."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "LD_PRELOAD": _WRAPPER,
            "NSS_WRAPPER_PASSWD": str(self.directory / "passwd"),
            "NSS_WRAPPER_GROUP": str(self.directory / "group"),
        }

    def marks(self) -> tuple[str, ...]:
        """Name the environment entries by which what these users left running is recognised."""
        return tuple(f"HOME={self.home(user)}" for user in self.users)


def make_accounts(
    directory: Path, *, authorized: str, shell: str | Path = "/bin/sh", people: Sequence[Person] = ()
) -> Accounts:
    """Create the users' files and homes.

    Args:
        directory: An existing folder that everybody may pass through.
        authorized: Lines for both users' ``.ssh/authorized_keys``.
        shell: The guest's login shell; root's is /bin/sh.
        people: More users.
    """
    # The same search that the dynamic linker makes; ctypes.util.find_library would want a compiler.
    require(_loadable(_WRAPPER), "needs libnss_wrapper.so (Debian package libnss-wrapper)")
    accounts = Accounts(directory, (ROOT, GUEST, *(person.name for person in people)))
    password = hashed(PASSWORD)
    private = set(accounts.users)
    # The others stay: sshd looks for its own unprivileged user.
    lines = [
        line for line in Path("/etc/passwd").read_text().splitlines() if line.split(":")[0] not in private
    ]
    for user, uid, program in (Person(ROOT, 0), Person(GUEST, _GUEST_UID, str(shell)), *people):
        home = accounts.home(user)
        ssh = home / ".ssh"
        ssh.mkdir(parents=True)
        keys = ssh / "authorized_keys"
        keys.write_text(authorized)
        for path, mode in ((home, 0o755), (ssh, 0o700), (keys, 0o600)):
            path.chmod(mode)
            os.chown(path, uid, uid)
        lines.append(f"{user}:{password}:{uid}:{uid}:multirsh test:{home}:{program}")
    (directory / "passwd").write_text("\n".join(lines) + "\n")
    shutil.copyfile("/etc/group", directory / "group")
    return accounts


def _loadable(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def hashed(password: str) -> str:
    """Hash a password as crypt(5) does with SHA-512; Python's own crypt module is gone from 3.13 on."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    hashed = library.crypt(password.encode(), b"$6$multirsh$")
    return bytes(hashed).decode()
