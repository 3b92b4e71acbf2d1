"""Keys and certificates for one test run, made by ssh-keygen(1)."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.servers.requirement import program


def make_key(path: Path, *, passphrase: str = "", kind: str = "ed25519") -> Path:
    """Make a key pair at ``path`` and ``path``.pub; the private key's path."""
    keygen = program("ssh-keygen", package="openssh-client")
    subprocess.run(
        [keygen, "-q", "-t", kind, "-N", passphrase, "-C", "multirsh-test", "-f", path],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return path


def public(path: Path) -> str:
    """Read the public half of the key at ``path``: kind and base64, without the comment."""
    kind, encoded = path.with_name(path.name + ".pub").read_text().split()[:2]
    return f"{kind} {encoded}"


def certify(key: Path, *, authority: Path, principals: Sequence[str], host: bool = False) -> Path:
    """Sign the public half of ``key`` with the key ``authority``; the certificate's path.

    Args:
        key: The private key's path; its ``.pub`` is signed.
        authority: The private key that signs.
        principals: Users, or host names, that the certificate is for.
        host: Whether it is a host's certificate and not a user's.
    """
    keygen = program("ssh-keygen", package="openssh-client")
    kind = ["-h"] if host else []
    subprocess.run(
        [keygen, "-q", *kind, "-s", authority, "-I", key.name, "-n", ",".join(principals), f"{key}.pub"],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return key.with_name(f"{key.name}-cert.pub")


def known_hosts(names: Sequence[str], *, port: int, host_key: str) -> str:
    """Word known_hosts lines (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), one for each name.

    Args:
        names: Host names or addresses as the client will be given them.
        port: The server's port; other than 22 it is part of the name.
        host_key: Kind and base64.
    """
    patterns = names if port == 22 else [f"[{name}]:{port}" for name in names]
    return "".join(f"{pattern} {host_key}\n" for pattern in patterns)
