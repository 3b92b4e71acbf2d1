"""Keys as files name them, and certificates as hosts show them. Pure.

asyncssh reads both more leniently than OpenSSH, and says less of a certificate
than there is to judge.

Source: sshkey.c of OpenSSH 9.2; PROTOCOL.certkeys.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Final

import asyncssh
from asyncssh.packet import PacketDecodeError, SSHPacket, String
from asyncssh.public_key import decode_ssh_public_key

from multirsh.transports.ssh.known_hosts.index import BLANKS, is_canonical_base64
from multirsh.transports.ssh.known_hosts.verdict import Certificate

_SIGNATURES: Final = {"rsa-sha2-256": "ssh-rsa", "rsa-sha2-512": "ssh-rsa"}
"""What OpenSSH takes for a key's type besides its name (sshkey.c, sshkey_type_from_name)."""
_PASSED_OVER: Final = str.maketrans("", "", "\r\v\f")
"""White space that may stand within base64; blanks end it."""


_CERTIFICATE: Final = b"-cert-v01@openssh.com"
_OF_A_HOST: Final = 2
"""A certificate's type, where it is a host's (SSH2_CERT_TYPE_HOST)."""
_FIELDS: Final = {
    b"ssh-ed25519": 1,
    b"ecdsa-sha2-nistp256": 2,
    b"ecdsa-sha2-nistp384": 2,
    b"ecdsa-sha2-nistp521": 2,
    b"ssh-rsa": 2,
    b"ssh-dss": 4,
    b"sk-ssh-ed25519@openssh.com": 2,
    b"sk-ecdsa-sha2-nistp256@openssh.com": 3,
}
"""How many fields make a public key; in a certificate they come after the nonce (PROTOCOL.certkeys)."""


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A key that a line names.

    Attributes:
        key: The key; of a certificate, the key that it certifies.
        is_certificate: Whether the line names a certificate.
    """

    key: asyncssh.SSHKey
    is_certificate: bool


def read_key(text: str) -> NamedKey | None:
    """Read a key as OpenSSH does, which is stricter than asyncssh; ``None`` where there is none.

    Args:
        text: The type and the key, and maybe a comment.
    """
    kind, *rest = BLANKS.split(text, 2)
    encoded = rest[0].translate(_PASSED_OVER) if rest else ""
    if not encoded or not is_canonical_base64(encoded):
        return None
    kind = _SIGNATURES.get(kind, kind)
    blob = binascii.a2b_base64(encoded)
    if kind_of(blob) != kind.encode(errors="surrogateescape"):
        return None
    certified = is_certificate(blob)
    try:
        key = read_certificate(blob, name="", now=0).key if certified else decode_ssh_public_key(blob)
    except ValueError:  # asyncssh's own errors are among them, and those of numbers that make no key
        return None
    return NamedKey(key, is_certificate=certified)


def read_certificate(blob: bytes, *, name: str, now: float) -> Certificate:
    """Read a host's certificate (PROTOCOL.certkeys).

    Args:
        blob: As the host sends it.
        name: What the certificate has to be for: the host's HostKeyAlias, or else its name, without a port.
        now: In seconds since 1970.

    Raises:
        ValueError: It is no certificate, or its signature is wrong.
    """
    try:
        packet = SSHPacket(blob)
        key = _certified_key(packet)
        packet.get_uint64()  # its serial number
        kind = packet.get_uint32()
        packet.get_string()  # its name
        principals = SSHPacket(packet.get_string())
        begins, ends = packet.get_uint64(), packet.get_uint64()
        critical = packet.get_string()
        packet.get_string()  # extensions: a host has none
        packet.get_string()  # reserved
        authority = decode_ssh_public_key(packet.get_string())
        signed = packet.get_consumed_payload()
        signature = packet.get_string()
        packet.check_end()
        names: list[bytes] = []
        while principals:
            names.append(principals.get_string())
        by_sha1 = SSHPacket(signature).get_string() == b"ssh-rsa"
    except PacketDecodeError as error:
        raise asyncssh.KeyImportError("the certificate is cut short") from error
    if not authority.verify(signed, signature):
        raise asyncssh.KeyImportError("the certificate's signature is wrong")
    flaws = {
        "it is a user's and not a host's": kind != _OF_A_HOST,
        "it is not valid yet": now < begins,
        "it has expired": now >= ends,
        f"it is not for {name}": bool(names) and name.encode(errors="surrogateescape") not in names,
        "it has critical options, which ssh knows none of for hosts": bool(critical),
        "its authority has signed it with SHA-1": by_sha1,
    }
    return Certificate(key, authority, next((flaw for flaw, holds in flaws.items() if holds), ""))


def is_certificate(blob: bytes) -> bool:
    """Whether a key in its wire format is a certificate of OpenSSH's."""
    return kind_of(blob).endswith(_CERTIFICATE)


def plain_kind(kind: bytes) -> bytes:
    """Name the type of the key in a certificate of type ``kind``; a plain key's type stays."""
    if not kind.endswith(_CERTIFICATE):
        return kind
    plain = kind.removesuffix(_CERTIFICATE)
    return plain + b"@openssh.com" if plain.startswith(b"sk-") else plain


def kind_of(blob: bytes) -> bytes:
    """Read the type that a key in its wire format begins with; empty where it does not."""
    try:
        return SSHPacket(blob).get_string()
    except PacketDecodeError:
        return b""


def _certified_key(packet: SSHPacket) -> asyncssh.SSHKey:
    """Read a certificate up to the end of its key."""
    kind = packet.get_string()
    plain = plain_kind(kind)
    if plain == kind or plain not in _FIELDS:
        raise asyncssh.KeyImportError("this is no certificate")
    packet.get_string()  # its nonce
    return decode_ssh_public_key(
        b"".join((String(plain), *(String(packet.get_string()) for _ in range(_FIELDS[plain]))))
    )
