"""sudo for the users of one server: who may do what, and how passwords are checked.

The server sees files of ours in the place of /etc/sudoers, /etc/shadow and
others (``replaced`` of ``start_sshd``), and so does the real sudo that its
users start. sudo's notes (who has given a password lately) are kept in a
folder of ours, too. The machine's own stay as they are.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.servers.accounts import PASSWORD, Person, hashed
from tests.servers.requirement import program

TRUSTED: Final = Person("mrtrusted", 64101)
"""May do everything, and is asked for the password."""
FREE: Final = Person("mrfree", 64102)
"""May do everything, and is asked for nothing."""
STRANGER: Final = Person("mrstranger", 64103)
"""Has a password, and may do nothing."""
OTHER: Final = Person("mrother", 64104)
"""Whom others become."""

PEOPLE: Final = (TRUSTED, FREE, STRANGER, OTHER)

RULES: Final = f"""\
{TRUSTED.name} ALL=(ALL) ALL
{FREE.name} ALL=(ALL) NOPASSWD: ALL
"""

_PAM: Final = """\
auth required pam_faillock.so preauth silent dir={directory}/faillock deny=1000
auth sufficient pam_unix.so
auth required pam_faillock.so authfail dir={directory}/faillock deny=1000
auth required pam_deny.so
account required pam_unix.so
password required pam_unix.so
session required pam_permit.so
"""


@dataclass(frozen=True, slots=True)
class SudoRules:
    """What sudo goes by.

    Attributes:
        directory: Where its files are.
    """

    directory: Path

    def replaced(self) -> dict[str, Path]:
        """What the server is to see, by path."""
        return {
            "/etc/passwd": self.directory / "passwd",
            "/etc/shadow": self.directory / "shadow",
            "/etc/sudoers": self.directory / "sudoers",
            "/etc/pam.d/sudo": self.directory / "pam",
        }

    def rule(self, text: str = "") -> None:
        """Let it go by ``text`` besides, from now on; in place, since the servers see the files themselves.

        What was noted before is forgotten.
        """
        settings = (
            f"Defaults logfile={self.directory}/log, timestampdir={self.directory}/ts, !syslog\n"
            f"Defaults lecture_status_dir={self.directory}/lectured, lecture=never, !use_pty\n"
        )
        (self.directory / "sudoers").write_text(settings + RULES + text)
        for noted in ("ts", "lectured", "faillock"):
            shutil.rmtree(self.directory / noted, ignore_errors=True)
        (self.directory / "log").unlink(missing_ok=True)

    def set_password(self, password: str, *, changed: int = 19_000, expires: str = "") -> None:
        """Give everybody ``password``.

        Args:
            password: In clear.
            changed: Days since 1970 of its last change; 0 makes them change it.
            expires: Days since 1970 at which the accounts end; empty for never.
        """
        lines = Path("/etc/shadow").read_text()
        for person in PEOPLE:
            lines += f"{person.name}:{hashed(password)}:{changed}:0:99999:7::{expires}:\n"
        (self.directory / "shadow").write_text(lines)

    @property
    def log(self) -> str:
        """sudo's log."""
        file = self.directory / "log"
        return file.read_text().replace("\n    ", " ") if file.exists() else ""

    def failures(self, person: Person) -> int:
        """How often PAM has noted a failure, by pam_faillock(8)."""
        faillock = program("faillock", package="libpam-modules")
        told = subprocess.run(
            [faillock, "--dir", self.directory / "faillock", "--user", person.name],
            check=True,
            capture_output=True,
            text=True,
        )
        return sum(line.rstrip().endswith("V") for line in told.stdout.splitlines()[2:])


def make_rules(directory: Path) -> SudoRules:
    """Make the files.

    Args:
        directory: An empty folder that only root may enter, or everybody.
    """
    program("sudo", package="sudo")
    rules = SudoRules(directory)
    lines = Path("/etc/passwd").read_text()
    for person in PEOPLE:
        lines += f"{person.name}:x:{person.uid}:{person.uid}:multirsh test:/:{person.shell}\n"
    (directory / "passwd").write_text(lines)
    (directory / "pam").write_text(_PAM.format(directory=directory))
    rules.rule()
    rules.set_password(PASSWORD)
    (directory / "passwd").chmod(0o644)
    (directory / "shadow").chmod(0o600)
    (directory / "sudoers").chmod(0o440)
    return rules
