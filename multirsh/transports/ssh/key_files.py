"""Private keys, public keys and certificates in files.

One file is read at a time and nothing is asked here; what to do about a key
that is missing or locked is decided in ``credentials``.

Source: authfile.c and ssh.c (load_public_identity_files) of OpenSSH 9.2.
"""

from __future__ import annotations

import base64
import binascii
import enum
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncssh
from asyncssh.public_key import CERT_TYPE_USER, SSHOpenSSHCertificate

_OPENSSH_MAGIC: Final = b"openssh-key-v1\0"
_PRIVATE: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----(.*?)-----END", re.DOTALL)


class KeyState(enum.Enum):
    """What a file that should hold a private key holds."""

    READY = "ready"
    """A private key."""
    LOCKED = "locked"
    """A private key under a passphrase."""
    PUBLIC = "public"
    """Only its public half: an agent may hold the private one."""
    MISSING = "missing"
    """Nothing."""
    EXPOSED = "exposed"
    """A private key that others can read: not used."""
    HARDWARE = "hardware"
    """A handle to a FIDO authenticator: only an agent can use it."""
    UNREADABLE = "unreadable"
    """Something that cannot be opened or understood."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file that should hold a private key.

    Attributes:
        path: Where it is.
        state: What it holds.
        public: The public half, where it is known.
        private: The key, where it is ready.
        reason: For people: what is wrong with it, where something is.
        certificate: The certificate beside it (``-cert.pub``), or ``None``.
    """

    path: str
    state: KeyState
    public: asyncssh.SSHKey | None = None
    private: asyncssh.SSHKey | None = None
    reason: str = ""
    certificate: asyncssh.SSHCertificate | None = None


def read_key_file(path: str) -> KeyFile:
    """Read a private key's file, and the public key and certificate that lie beside it. Blocks."""
    public = _read_public(f"{path}.pub")
    certificate = read_certificate_file(f"{path}-cert.pub")
    beside = certificate if isinstance(certificate, asyncssh.SSHCertificate) else None

    def found(
        state: KeyState,
        reason: str = "",
        *,
        private: asyncssh.SSHKey | None = None,
        half: asyncssh.SSHKey | None = public,
    ) -> KeyFile:
        return KeyFile(path, state, half, private, reason, beside)

    try:
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read()
    except FileNotFoundError:
        return found(KeyState.MISSING if public is None else KeyState.PUBLIC, "there is no such file")
    except OSError as error:
        return found(KeyState.UNREADABLE, error.strerror or "it cannot be read")
    if _PRIVATE.search(content) is None:
        half = _import_public(content) or public
        return found(KeyState.PUBLIC, half=half) if half else found(KeyState.UNREADABLE, "it holds no key")
    public = public or _import_public(content)
    if status.st_uid == os.getuid() and status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        return found(KeyState.EXPOSED, f"it can be read by others (mode {mode:04o})", half=public)
    if public is not None and public.algorithm.startswith(b"sk-"):
        return found(KeyState.HARDWARE, "FIDO keys are used through an agent only", half=public)
    if is_encrypted(content):
        return found(KeyState.LOCKED, "it is encrypted", half=public)
    try:
        private = asyncssh.import_private_key(content)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
        return found(KeyState.UNREADABLE, str(error), half=public)
    return found(KeyState.READY, private=private, half=private.convert_to_public())


def unlock(path: str, passphrase: str) -> asyncssh.SSHKey | None:
    """Open an encrypted private key; ``None`` if the passphrase is wrong. Blocks: it is slow on purpose.

    Raises:
        OSError: The file cannot be read any more.
    """
    try:
        return asyncssh.import_private_key(Path(path).read_bytes(), passphrase)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError):
        return None


def is_encrypted(content: bytes) -> bool:
    """Whether a private key is under a passphrase: OpenSSH's format, PKCS#8, or old PEM.

    Source: PROTOCOL.key of OpenSSH; RFC 7468 section 11; RFC 1421 section 4.6.1.1.
    """
    found = _PRIVATE.search(content)
    if found is None:
        return False
    if found[1] == b"OPENSSH ":
        try:
            raw = base64.b64decode(found[2])
        except binascii.Error:
            return False
        if not raw.startswith(_OPENSSH_MAGIC):
            return False
        at = len(_OPENSSH_MAGIC)
        length = int.from_bytes(raw[at : at + 4], "big")
        return raw[at + 4 : at + 4 + length] != b"none"
    return found[1] == b"ENCRYPTED " or b"Proc-Type: 4,ENCRYPTED" in found[2]


def read_certificate_file(path: str) -> asyncssh.SSHCertificate | str | None:
    """Read a user certificate. Blocks.

    Returns:
        The certificate; ``None`` if there is no such file; or one line on why it is of no use.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.strerror or "it cannot be read"
    try:
        certificate = asyncssh.import_certificate(content)
        if isinstance(certificate, SSHOpenSSHCertificate):
            certificate.validate(CERT_TYPE_USER, None)
    except (asyncssh.KeyImportError, ValueError) as error:
        return str(error)
    return certificate


def _read_public(path: str) -> asyncssh.SSHKey | None:
    try:
        return _import_public(Path(path).read_bytes())
    except OSError:
        return None


def _import_public(content: bytes) -> asyncssh.SSHKey | None:
    try:
        return asyncssh.import_public_key(content)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError):
        return None
