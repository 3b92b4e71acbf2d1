"""Which host keys and certificates are accepted: a table, with real ssh(1) beside multirsh in every row."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from multirsh.model import HostKeyPolicy, Status
from tests.conftest import StartServer
from tests.fleets import fleet_of, hosts_on, run_all, ssh_options
from tests.servers.daemon import Daemon
from tests.servers.keys import make_key, public
from tests.servers.namespace import Namespace
from tests.servers.requirement import program

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

HOST: Final = "127.1.2.3"
PORT: Final = 2222
SSH_WORDS: Final = {
    HostKeyPolicy.STRICT: "yes",
    HostKeyPolicy.ACCEPT_NEW: "accept-new",
    HostKeyPolicy.OFF: "no",
}
"""StrictHostKeyChecking as ssh writes it."""
NO_LOGIN: Final = ("PubkeyAuthentication=no", "PasswordAuthentication=no", "KbdInteractiveAuthentication=no")
"""Enough to see whether a host is accepted: then the login is refused."""

CERTIFICATES: Final[dict[str, Sequence[str] | None]] = {
    "none": None,
    "for host": ("-s", "A", "-n", HOST),
    "for db": ("-s", "A", "-n", "db"),
    "for DB": ("-s", "A", "-n", "DB"),
    "for [host]:port": ("-s", "A", "-n", f"[{HOST}]:{PORT}"),
    "for *": ("-s", "A", "-n", "*"),
    "for 127.1.*": ("-s", "A", "-n", "127.1.*"),
    "for all": ("-s", "A"),
    "expired": ("-s", "A", "-n", HOST, "-V", "20200101:20200102"),
    "not yet": ("-s", "A", "-n", HOST, "-V", "20990101:20990102"),
    "critical": ("-s", "A", "-n", HOST, "-O", "critical:x@example.com=y"),
    "by SHA-1": ("-s", "R", "-t", "ssh-rsa", "-n", HOST),
    "by SHA-2": ("-s", "R", "-t", "rsa-sha2-256", "-n", HOST),
}
"""What the host shows: its key H, and beside it a certificate, by the options of ssh-keygen that sign it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        shows: Which certificate the host shows.
        lines: Of known_hosts; a capital letter stands for a key.
        accepts: Whether ssh accepts the host where checking is strict, accept-new, off: ``y`` or ``n`` each.
        alias: HostKeyAlias.
        port: The port connected to.
        revoked: A line of RevokedHostKeys.
        ours: What multirsh does where that is not what ssh does; stricter on purpose, as ``verdict`` says.
    """

    shows: str
    lines: tuple[str, ...]
    accepts: str
    alias: str | None = None
    port: int = PORT
    revoked: str | None = None
    ours: str | None = None


TABLE: Final = (
    # Plain keys.
    Row("none", (), "nyy"),
    Row("none", ("[host]:port H",), "yyy"),
    Row("none", ("host H",), "yyy"),
    Row("none", ("host H",), "yyy", port=22),
    Row("none", ("[host]:22 H",), "nyy", port=22),
    Row("none", ("[host]:port O",), "nny"),
    Row("none", ("host O",), "nyy"),
    Row("none", ("host O",), "nny", port=22),
    Row("none", ("[host]:port O", "host H"), "nny"),
    Row("none", ("@cert-authority * A",), "nyy"),
    Row("none", ("@cert-authority * A", "* H"), "yyy"),
    Row("none", ("* CERTIFICATE",), "nny"),
    # An alias stands for the host and its port.
    Row("none", ("db H",), "yyy", alias="db"),
    Row("none", ("db H",), "yyy", alias="DB"),
    Row("none", ("[db]:port H",), "nyy", alias="db"),
    Row("none", ("[host]:port H", "host H"), "nyy", alias="db"),
    Row("none", ("db O", "host H"), "nny", alias="db"),
    # Certificates.
    Row("for host", ("@cert-authority * A",), "yyy"),
    Row("for host", ("@cert-authority [127.1.*]:* A",), "yyy"),
    Row("for host", ("@cert-authority host A",), "yyy"),
    Row("for host", ("@cert-authority host A",), "yyy", port=22),
    Row("for host", ("@cert-authority other A",), "nyy"),
    Row("for host", ("@cert-authority * B",), "nyy"),
    Row("for host", ("@cert-authority * B", "@cert-authority * A"), "yyy"),
    Row("for host", ("@cert-authority * A", "[host]:port O"), "yyy"),
    Row("for host", ("@cert-authority * B", "[host]:port H"), "yyy"),
    Row("for host", ("@cert-authority * B", "[host]:port O"), "nny"),
    Row("for host", ("[host]:port O", "host H"), "yyy", ours="nny"),
    Row("for host", ("@cert-authority * CERTIFICATE",), "nyy"),
    Row("for db", ("@cert-authority * A",), "nyy"),
    Row("for db", ("@cert-authority * A", "host H"), "yyy"),
    Row("for db", ("@cert-authority * A", "[host]:port O"), "nny"),
    Row("for [host]:port", ("@cert-authority * A",), "nyy"),
    # A certificate is for the alias, where there is one, and not for the host's name.
    Row("for db", ("@cert-authority * A",), "yyy", alias="db"),
    Row("for db", ("@cert-authority db A",), "yyy", alias="db"),
    Row("for db", ("@cert-authority db A",), "yyy", alias="DB"),
    Row("for db", ("@cert-authority host A",), "nyy", alias="db"),
    Row("for DB", ("@cert-authority * A",), "nyy", alias="DB"),
    Row("for host", ("@cert-authority * A",), "nyy", alias="db"),
    Row("for host", ("@cert-authority db A",), "nyy", alias="db"),
    Row("for host", ("@cert-authority db A", "db O"), "nny", alias="db"),
    Row("for host", ("@cert-authority db A", "db H"), "yyy", alias="db"),
    # Principals are no patterns; without any, it is for every host.
    Row("for *", ("@cert-authority * A",), "nyy"),
    Row("for 127.1.*", ("@cert-authority * A",), "nyy"),
    Row("for all", ("@cert-authority * A",), "yyy"),
    Row("for all", ("@cert-authority * A",), "yyy", alias="db"),
    # Certificates that do not hold.
    Row("expired", ("@cert-authority * A",), "nyy"),
    Row("not yet", ("@cert-authority * A",), "nyy"),
    Row("not yet", ("@cert-authority * A", "* H"), "yyy"),
    Row("critical", ("@cert-authority * A",), "nyy"),
    Row("by SHA-1", ("@cert-authority * R",), "nyy"),
    Row("by SHA-2", ("@cert-authority * R",), "yyy"),
    # Revoked keys.
    Row("none", ("* H", "@revoked * H"), "nny", ours="nnn"),
    Row("none", ("* H", "@revoked * O"), "yyy"),
    Row("none", ("[host]:port H", "@revoked host H"), "yyy", ours="nnn"),
    Row("none", ("db H", "@revoked db H"), "nny", alias="db", ours="nnn"),
    Row("none", ("db H", "@revoked host H"), "yyy", alias="db"),
    Row("none", ("* H", "@revoked * CERTIFICATE"), "nny", ours="nnn"),
    Row("for host", ("@cert-authority * A", "@revoked * H"), "nny", ours="nnn"),
    Row("for host", ("@cert-authority * A", "@revoked * CERTIFICATE"), "nny", ours="nnn"),
    # Revoked authorities, known and unknown.
    Row("for host", ("@cert-authority * A", "@revoked * A"), "nny", ours="nnn"),
    Row("for host", ("@cert-authority [host]:port A", "@revoked host A"), "yyy", ours="nnn"),
    Row("for host", ("* H", "@revoked * A"), "nny", ours="nnn"),
    Row("for host", ("* H", "@revoked * B"), "yyy"),
    # RevokedHostKeys.
    Row("none", ("* H",), "nnn", revoked="H"),
    Row("none", ("* H",), "yyy", revoked="O"),
    Row("none", ("* H",), "nnn", revoked="CERTIFICATE"),
    Row("for host", ("@cert-authority * A",), "nnn", revoked="H"),
    Row("for host", ("@cert-authority * A",), "nnn", revoked="A"),
    Row("for host", ("@cert-authority * A",), "yyy", revoked="B"),
    Row("for host", ("@cert-authority * A",), "nnn", revoked="CERTIFICATE"),
    Row("for host", ("* H",), "nnn", revoked="A"),
    Row("for host", ("db H",), "nnn", revoked="CERTIFICATE", alias="db"),
)


class Stage:
    """A host, its keys, and those who judge it."""

    def __init__(self, start: StartServer, folder: Path, shows: str) -> None:
        """Start the host.

        Args:
            start: Starts sshd.
            folder: For the keys and files.
            shows: Which certificate the host shows.
        """
        self._folder = folder
        kinds = {"H": "ed25519", "O": "ed25519", "A": "ed25519", "B": "ed25519", "R": "rsa"}
        self._keys = {letter: make_key(folder / letter, kind=kind) for letter, kind in kinds.items()}
        options: dict[str, str | Sequence[str]] = {"HostKey": str(self._keys["H"]), "Port": ["22", str(PORT)]}
        # One that is only named by files: the host shows it in no row.
        self._certify(CERTIFICATES["for host"] or ())
        self._named = " ".join((folder / "H-cert.pub").read_text().split()[:2])
        argv = CERTIFICATES[shows]
        if argv is not None:
            self._certify(argv)
            options["HostCertificate"] = str(folder / "H-cert.pub")
        self._server: Daemon = start(port=PORT, options=options)

    def _certify(self, argv: Sequence[str]) -> None:
        words = [str(self._keys.get(word, word)) for word in argv]
        keygen = program("ssh-keygen", package="openssh-client")
        subprocess.run(
            [keygen, "-q", "-h", "-I", "x", *words, f"{self._keys['H']}.pub"],
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )

    def files(self, row: Row) -> list[str]:
        """Write a row's files; the options that name them."""
        known = self._folder / "known_hosts"
        known.write_text("".join(f"{self._worded(line)}\n" for line in row.lines))
        options = [f"UserKnownHostsFile={known}"]
        if row.alias is not None:
            options.append(f"HostKeyAlias={row.alias}")
        if row.revoked is not None:
            revoked = self._folder / "revoked"
            revoked.write_text(f"{self._worded(row.revoked)}\n")
            options.append(f"RevokedHostKeys={revoked}")
        return options

    def _worded(self, line: str) -> str:
        *before, letter = line.split()
        names = [word.replace("host]", f"{HOST}]").replace("port", str(PORT)) for word in before]
        names = [HOST if word == "host" else word for word in names]
        key = self._named if letter == "CERTIFICATE" else public(self._keys[letter])
        return " ".join((*names, key))

    def ssh_accepts(self, row: Row, policy: HostKeyPolicy) -> bool:
        """Whether ssh goes on to the login."""
        options = [*self.files(row), f"StrictHostKeyChecking={SSH_WORDS[policy]}", *NO_LOGIN]
        options += ["GlobalKnownHostsFile=/dev/null", "IdentityAgent=none", "BatchMode=yes"]
        ssh = program("ssh", package="openssh-client")
        where = ["-F", "none", "-p", str(row.port)]
        said = subprocess.run(
            [ssh, *where, *(f"-o{option}" for option in options), f"{self._server.user}@{HOST}", "true"],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        ).stderr
        is_refused = "Host key verification failed" in said
        assert is_refused or "Permission denied" in said, said
        return not is_refused

    async def multirsh_accepts(self, row: Row, policy: HostKeyPolicy) -> bool:
        """Whether multirsh does."""
        known, *options = self.files(row)
        ssh = ssh_options(Path(known.partition("=")[2]), *options, *NO_LOGIN, host_keys=policy)
        hosts = hosts_on(self._server, [HOST], port=row.port)
        finished, _, _ = await run_all(fleet_of(hosts, ssh), "true")
        ending = finished[HOST]
        assert ending.status in {Status.AUTH, Status.HOSTKEY}, ending
        return ending.status is Status.AUTH


@pytest.mark.parametrize("shows", CERTIFICATES)
async def test_multirsh_accepts_what_ssh_accepts(
    shows: str, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
) -> None:
    stage = Stage(sshd_here, tmp_path, shows)
    rows = [row for row in TABLE if row.shows == shows]
    for row in rows:
        for policy, answer in deciding(row.accepts):
            assert stage.ssh_accepts(row, policy) is answer, (row, policy)
        for policy, answer in deciding(row.ours or row.accepts):
            assert await stage.multirsh_accepts(row, policy) is answer, (row, policy)


def deciding(answers: str) -> list[tuple[HostKeyPolicy, bool]]:
    """The policies to try: around where the answer changes. Each policy accepts what a stricter one does."""
    policies = list(HostKeyPolicy)
    assert answers == "".join(sorted(answers)), "a laxer policy refuses what a stricter one accepts"
    first = answers.find("y") if "y" in answers else len(policies)
    return [(policies[at], answers[at] == "y") for at in (first - 1, first) if 0 <= at < len(policies)]


def test_what_multirsh_does_otherwise_is_stricter() -> None:
    assert list(HostKeyPolicy) == list(SSH_WORDS), "strict, accept-new, off"
    for row in TABLE:
        assert row.ours is None or row.ours.count("y") < row.accepts.count("y")
