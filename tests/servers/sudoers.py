"""sudo for the users of one server: who may do what, and how passwords are checked.

The server sees files of ours in the place of /etc/sudoers, /etc/shadow and
others (``replaced`` of ``start_sshd``), and so does the real sudo that its
users start. sudo's notes (who has given a password lately) are kept in a
folder of ours, too. The machine's own stay as they are.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.servers.accounts import PASSWORD, Person, hashed
from tests.servers.requirement import program, require

TRUSTED: Final = Person("mrtrusted", 64101)
"""May do everything, and is asked for the password."""
FREE: Final = Person("mrfree", 64102)
"""May do everything, and is asked for nothing."""
STRANGER: Final = Person("mrstranger", 64103)
"""Has a password, and may do nothing."""
OTHER: Final = Person("mrother", 64104)
"""Whom others become."""

BASH: Final = Person("mrbash", 64105, "/bin/bash")
"""May do everything, and has a start-up file (bash reads it for commands by ssh, too)."""
FREE_BASH: Final = Person("mrfreebash", 64106, "/bin/bash")
"""Likewise, and is asked for nothing."""

PEOPLE: Final = (TRUSTED, FREE, STRANGER, OTHER, BASH, FREE_BASH)

_SUDO_RS: Final = Path(__file__).parents[2] / ".sudo-rs/sudo"

RULES: Final = f"""\
{TRUSTED.name} ALL=(ALL) ALL
{FREE.name} ALL=(ALL) NOPASSWD: ALL
{BASH.name} ALL=(ALL) ALL
{FREE_BASH.name} ALL=(ALL) NOPASSWD: ALL
"""

_MAILER: Final = """\
#!/bin/sh
cat >>{directory}/mails
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

FAILLOCK = """\
auth [success=1 default=bad] pam_unix.so
auth [default=die] pam_faillock.so authfail dir={directory}/faillock deny=3
auth sufficient pam_faillock.so authsucc dir={directory}/faillock deny=3
auth required pam_deny.so
account required pam_unix.so
session required pam_permit.so
"""
"""As pam_faillock(8) has it."""

OATH = """\
auth requisite pam_unix.so
auth required pam_oath.so usersfile={directory}/oath window=10 digits=6
account required pam_unix.so
session required pam_permit.so
"""


@dataclass(frozen=True, slots=True)
class SudoRules:
    """What sudo goes by.

    Attributes:
        directory: Where its files are.
        is_rs: Whether it is sudo-rs, which knows fewer settings, and keeps no log of its own.
    """

    directory: Path
    is_rs: bool = False

    def replaced(self) -> dict[str, Path]:
        """What the server is to see, by path."""
        program = {"/usr/bin/sudo": self.directory / "sudo-rs"} if self.is_rs else {}
        etc = self.directory / "etc"
        return {**({"/etc": etc} if etc.exists() else {}), **program} | {
            "/etc/passwd": self.directory / "passwd",
            "/etc/shadow": self.directory / "shadow",
            "/etc/sudoers": self.directory / "sudoers",
            **{f"/etc/pam.d/{name}": self.directory / "pam" for name in ("sudo", *self._others)},
        }

    @property
    def _others(self) -> tuple[str, ...]:
        return ("doas", "su") if (self.directory / "etc").exists() else ()

    def permit(self, text: str) -> None:
        """Let doas go by ``text``, as of doas.conf(5); before the server is started.

        There is no such file on the machine that another could stand for, so the server sees another /etc.
        """
        program("doas", package="opendoas")
        etc = self.directory / "etc"
        shutil.copytree("/etc", etc, symlinks=True, ignore_dangling_symlinks=True)
        (etc / "doas.conf").write_text(text)
        (etc / "doas.conf").chmod(0o600)

    def rule(self, text: str = "") -> None:
        """Let it go by ``text`` besides, from now on; in place, since the servers see the files themselves.

        What was noted before is forgotten.
        """
        settings = (
            f"Defaults logfile={self.directory}/log, timestampdir={self.directory}/ts, !syslog\n"
            f"Defaults lecture_status_dir={self.directory}/lectured, lecture=never, !use_pty\n"
            f'Defaults mailerpath="{self.directory}/mailer", mailto=root, mail_badpass\n'
        )
        if self.is_rs:
            settings = "Defaults timestamp_timeout=0, !use_pty\n"
        (self.directory / "sudoers").write_text(settings + RULES + text)
        for noted in ("ts", "lectured", "faillock"):
            shutil.rmtree(self.directory / noted, ignore_errors=True)
        (self.directory / "log").unlink(missing_ok=True)
        (self.directory / "mails").write_text("")
        (self.directory / "mails").chmod(0o666)  # Debian's sudo sends mail as the user

    def authenticate(self, stack: str = _PAM) -> None:
        """Let PAM go by ``stack`` from now on; ``{directory}`` stands for the folder of these files."""
        (self.directory / "pam").write_text(stack.format(directory=self.directory))

    @property
    def mails(self) -> int:
        """How many mails sudo has sent; the folder must be one that everybody may enter."""
        return (self.directory / "mails").read_text().count("Subject: ")

    def set_password(
        self, password: str, *, changed: int = 19_000, expires: str = "", is_locked: bool = False
    ) -> None:
        """Give everybody ``password``.

        Args:
            password: In clear.
            changed: Days since 1970 of its last change; 0 makes them change it.
            expires: Days since 1970 at which the accounts end; empty for never.
            is_locked: Whether they are locked, as by ``passwd -l``.
        """
        # The machine's own, but that root has this password, too: su wants it.
        lines = re.sub("(?m)^root:[^:]*", f"root:{hashed(password)}", Path("/etc/shadow").read_text())
        for person in PEOPLE:
            hash_of = "!" * is_locked + hashed(password)
            lines += f"{person.name}:{hash_of}:{changed}:0:99999:7::{expires}:\n"
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


def make_rules(directory: Path, *, is_rs: bool = False) -> SudoRules:
    """Make the files.

    Args:
        directory: An empty folder that only root may enter, or everybody.
        is_rs: Whether sudo is to be sudo-rs.
    """
    program("sudo", package="sudo")
    rules = SudoRules(directory, is_rs)
    if is_rs:
        require(_SUDO_RS.exists(), "needs sudo-rs (.ci/setup --test unpacks it)")
        shutil.copyfile(_SUDO_RS, directory / "sudo-rs")
        (directory / "sudo-rs").chmod(0o4755)
    lines = Path("/etc/passwd").read_text()
    for person in PEOPLE:
        lines += f"{person.name}:x:{person.uid}:{person.uid}:multirsh test:/:{person.shell}\n"
    (directory / "passwd").write_text(lines)
    (directory / "mailer").write_text(_MAILER.format(directory=directory))
    (directory / "mailer").chmod(0o755)
    rules.authenticate()
    rules.rule()
    rules.set_password(PASSWORD)
    (directory / "passwd").chmod(0o644)
    (directory / "shadow").chmod(0o600)
    (directory / "sudoers").chmod(0o440)
    return rules
