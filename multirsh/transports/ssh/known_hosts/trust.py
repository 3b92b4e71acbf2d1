"""Lines of known_hosts, their keys and certificates, and the verdict on a key that a host presents. Pure.

As OpenSSH does (sshconnect.c, check_host_key; hostfile.c,
check_hostkeys_by_key_or_type; 9.2):

- Any key of the host other than the presented one makes that one *changed*, whatever its type: a host of
  which only an RSA key is known and that presents an Ed25519 key is refused, under ``accept-new`` too. (So
  the types of the known keys have to be requested first.)
- If nothing is known of ``[name]:port``, a key known for ``name`` is trusted; but other keys of ``name``
  do not contradict it: another port may be another machine.

- A certificate is judged first. One that is invalid, or that no known authority has signed, is ignored:
  then its plain key is judged as if it had been presented alone.
- A certificate is for the host's name, or its HostKeyAlias, without a port, and is compared with its
  principals letter by letter: ``*`` in a principal stands for itself.

Stricter than OpenSSH, in each case on purpose:

- A key marked ``@revoked`` is refused even where checking is off.
- A key that is revoked for ``name`` is revoked for all its ports.
- A plain key that contradicts one known for ``[name]:port`` is refused even if it came in a certificate and
  is known for ``name``.

Names are keys of a dict; wildcards are few and are tried one after another.
A hashed name can only be found by hashing the name that is looked for with
the salt of each line: about a microsecond a line. Two things keep that from
growing into hosts x lines: a line that has been found to be of one host is
not tried for another, and for each name it is known up to where the lines
were tried.

asyncssh reads keys and certificates more leniently than OpenSSH, and exposes
less of a certificate than has to be judged, so both are parsed here.

Sources: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT; hostfile.c and sshkey.c of OpenSSH 9.2; PROTOCOL.certkeys.
"""

from __future__ import annotations

import binascii
import enum
import hashlib
import hmac
import re
from dataclasses import dataclass, replace
from typing import Final

import asyncssh
from asyncssh.packet import PacketDecodeError, SSHPacket, String
from asyncssh.public_key import decode_ssh_public_key

from multirsh.model import HostKeyPolicy
from multirsh.transports.ssh.patterns import PatternList


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key that a file lists for a host.

    Attributes:
        key: The key.
        source: Path of the file.
        line: Counts from 1.
        is_certificate: Whether the line lists a certificate and ``key`` is the key in it. As in ssh, it can
            then revoke that key, or name it as an authority, but cannot make it known for a host.
    """

    key: asyncssh.SSHKey
    source: str
    line: int
    is_certificate: bool = False

    def __str__(self) -> str:
        return f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True)
class Trust:
    """What the files contain about one host.

    Attributes:
        known: The host's own keys.
        known_elsewhere: Keys of the same name without a port, if the host has none of its own.
        authorities: Keys that may sign its certificate.
        revoked: Keys that are refused.
    """

    known: tuple[KnownKey, ...] = ()
    known_elsewhere: tuple[KnownKey, ...] = ()
    authorities: tuple[KnownKey, ...] = ()
    revoked: tuple[KnownKey, ...] = ()

    @property
    def host_keys(self) -> list[asyncssh.SSHKey]:
        """Keys by which the host is trusted."""
        return [known.key for known in self.known or self.known_elsewhere]


@dataclass(frozen=True, slots=True)
class Certificate:
    """The contents of a host's certificate.

    Attributes:
        key: The certified key.
        authority: The key that signed it.
        flaw: Why it is invalid for this host, whichever authority has signed it; empty if it is valid.
    """

    key: asyncssh.SSHKey
    authority: asyncssh.SSHKey
    flaw: str = ""


class VerdictKind(enum.Enum):
    """How to proceed with a host's key."""

    TRUSTED = "trusted"
    """The key is known for this host: continue."""
    NEW = "new"
    """No key is known and new keys are accepted: add it to the file, then continue."""
    UNCHECKED = "unchecked"
    """Checking is off: continue. If ``Verdict.entry`` is set, the files contradict the key, and ssh then
    sends no password."""
    UNKNOWN = "unknown"
    """No key is known and new keys are not accepted: refuse."""
    CHANGED = "changed"
    """The files list another key for the host: refuse."""
    REVOKED = "revoked"
    """The files mark this key as revoked: refuse."""


ACCEPTED: Final = frozenset({VerdictKind.TRUSTED, VerdictKind.NEW, VerdictKind.UNCHECKED})


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision about a host's key.

    Attributes:
        kind: How to proceed.
        entry: The line that decided: the same key, the authority, the revoked key, or the contradicting key.
        remark: Why its certificate is ignored; empty if it has none, or if none is needed.
    """

    kind: VerdictKind
    entry: KnownKey | None = None
    remark: str = ""

    @property
    def accepted(self) -> bool:
        """Whether to continue with the host."""
        return self.kind in ACCEPTED


_WITHOUT_KNOWLEDGE: Final = {
    HostKeyPolicy.STRICT: VerdictKind.UNKNOWN,
    HostKeyPolicy.ACCEPT_NEW: VerdictKind.NEW,
    HostKeyPolicy.OFF: VerdictKind.UNCHECKED,
}


def judge_certificate(trust: Trust, certificate: Certificate, policy: HostKeyPolicy) -> Verdict:
    """Judge the certificate that a host presents or, failing that, the key in it.

    Args:
        trust: The entries of the host.
        certificate: The certificate that it presents.
        policy: How unknown keys are handled.
    """
    for revoked in trust.revoked:
        if revoked.key in (certificate.key, certificate.authority):
            return Verdict(VerdictKind.REVOKED, revoked)
    authority = next((known for known in trust.authorities if known.key == certificate.authority), None)
    if authority is None:
        remark = "its certificate is signed by an authority that no @cert-authority line names"
    elif certificate.flaw:
        remark = f"its certificate does not count, as {certificate.flaw}"
    else:
        return Verdict(VerdictKind.TRUSTED, authority)
    return replace(judge(trust, certificate.key, policy), remark=remark)


def judge(trust: Trust, key: asyncssh.SSHKey, policy: HostKeyPolicy) -> Verdict:
    """Judge the plain key that a host presents.

    Args:
        trust: The entries of the host.
        key: The key.
        policy: How unknown keys are handled.
    """
    for revoked in trust.revoked:
        if revoked.key == key:
            return Verdict(VerdictKind.REVOKED, revoked)
    for known in (*trust.known, *trust.known_elsewhere):
        if known.key == key and not known.is_certificate:
            return Verdict(VerdictKind.TRUSTED, known)
    if trust.known:
        contradicted = next(
            (known for known in trust.known if known.key.algorithm == key.algorithm), trust.known[0]
        )
        off = policy is HostKeyPolicy.OFF
        return Verdict(VerdictKind.UNCHECKED if off else VerdictKind.CHANGED, contradicted)
    return Verdict(_WITHOUT_KNOWLEDGE[policy])


SALT_BYTES: Final = 20
_HASH: Final = "sha1"
_HASH_MARK: Final = "|1|"
_NAME_BREAKERS: Final = frozenset("@?*#[]|'\"\\,! \t")
BLANKS: Final = re.compile("[ \t]+")
"""What separates the fields of a line. Other white space belongs to the field, as in ssh."""
_LONGEST_NAME: Final = 1022
"""In bytes. In OpenSSH a list with a longer name matches nothing (match.c, match_pattern_list)."""
_ASCII_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


class Marker(enum.Enum):
    """The marker before the names of a line."""

    NONE = ""
    CA = "@cert-authority"
    REVOKED = "@revoked"


_MARKERS: Final = {marker.value: marker for marker in Marker}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line that lists a key.

    Attributes:
        number: The index of the entry over all files, in order.
        source: Path of the file.
        line: Counts from 1.
        marker: What the key is for.
        names: The names as written, hashed or not.
        key: Type and base64, as written; decoded when a host needs it.
    """

    number: int
    source: str
    line: int
    marker: Marker
    names: str
    key: str


def parse_entry(text: str, *, source: str, line: int, number: int) -> Entry | None:
    """Parse one line; return ``None`` for a blank line or a comment.

    Raises:
        ValueError: The line is invalid; the text says why.
    """
    if "\0" in text:
        raise ValueError("it holds a null byte")
    rest = text.lstrip(" \t")  # a space at the end is one, too, for the marker
    if not rest or rest.startswith("#"):
        return None
    marker, rest = _marker(rest)
    fields = BLANKS.split(rest, 3)
    if len(fields) < 3 or not fields[2]:  # noqa: PLR2004 - names, type, key
        raise ValueError("a line is names, a key's type and the key")
    names, kind, key = fields[:3]
    if kind.isdigit():
        raise ValueError("keys of SSH 1 are not supported")
    return Entry(number, source, line, marker, names, f"{kind} {key}")


def _marker(text: str) -> tuple[Marker, str]:
    """Split a line's marker from the rest (hostfile.c, check_markers).

    OpenSSH ends the marker at the line's first space, wherever that is, and at a tab only in a line without
    any space. So a line whose marker is followed by a tab is invalid if a space comes later.

    Raises:
        ValueError: There is an unknown marker, or a second one.
    """
    if not text.startswith("@"):
        return Marker.NONE, text
    word, _, rest = text.partition(" " if " " in text else "\t")
    if word not in _MARKERS:
        marker = BLANKS.split(word, 1)[0]
        raise ValueError(
            f"a space must follow {marker}, not a tab" if marker in _MARKERS else f"{marker} is no marker"
        )
    rest = rest.lstrip(" \t")
    if rest.startswith("@"):
        raise ValueError("a line has one marker at most")
    return _MARKERS[word], rest


def lower(text: str) -> str:
    """Convert the letters A to Z to lower case; ssh converts no others (misc.c, lowercase)."""
    return text.translate(_ASCII_LOWER)


def is_canonical_base64(text: str) -> bool:
    """Whether ``text`` is canonical base64, with nothing left out, added or altered."""
    try:
        raw = binascii.a2b_base64(text)
    except ValueError:
        return False
    return binascii.b2a_base64(raw, newline=False).decode() == text


def _has_too_long_a_name(names: str) -> bool:
    """Whether a list has a name that is too long for OpenSSH; only long lists are examined."""
    return len(names) > _LONGEST_NAME // 4 and any(
        len(name.removeprefix("!").encode(errors="surrogateescape")) > _LONGEST_NAME
        for name in names.split(",")
    )


def file_name(name: str, port: int | None) -> str:
    """Format a host's name as known_hosts does: in lower case, with any port but 22."""
    name = lower(name)
    return name if port is None or port == 22 else f"[{name}]:{port}"  # noqa: PLR2004 - ssh's port


def can_be_written(name: str) -> bool:
    """Whether a host's name can be written to a file without being read as something else."""
    return bool(name) and name.isprintable() and not _NAME_BREAKERS.intersection(name)


def hashed_name(name: str, salt: bytes) -> str:
    """Hash a name for known_hosts: ``|1|salt|HMAC-SHA1``.

    Args:
        name: As ``file_name`` writes it.
        salt: ``SALT_BYTES`` random bytes.
    """
    digest = hmac.digest(salt, name.encode(errors="surrogateescape"), _HASH)
    return "|".join(
        ("", "1", *(binascii.b2a_base64(part, newline=False).decode() for part in (salt, digest)))
    )


def _parse_hash(names: str) -> tuple[bytes, bytes]:
    """Parse a hashed name. OpenSSH compares it as text, so only one spelling is valid."""
    salt, _, digest = names.removeprefix(_HASH_MARK).partition("|")
    if not names.startswith(_HASH_MARK) or not (is_canonical_base64(salt) and is_canonical_base64(digest)):
        raise ValueError("the hashed name is not |1|salt|hash")
    raw = binascii.a2b_base64(salt), binascii.a2b_base64(digest)
    if {len(part) for part in raw} != {SALT_BYTES}:
        raise ValueError("the hashed name is not |1|salt|hash")
    return raw


_INNER: Final = bytes(value ^ 0x36 for value in range(256))
_OUTER: Final = bytes(value ^ 0x5C for value in range(256))
_BLOCK_BYTES: Final = 64


def _pads(salt: bytes) -> tuple[bytes, bytes]:
    """Make the two blocks that HMAC puts before its input (RFC 2104, section 2)."""
    block = salt.ljust(_BLOCK_BYTES, b"\0")
    return block.translate(_INNER), block.translate(_OUTER)


class _Found:
    """The entries of one name, and how many of the hashed lines have been tried for it."""

    __slots__ = ("entries", "tried")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.tried = 0


class Index:
    """The entries of several files, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, list[Entry]] = {}
        self._by_pattern: list[tuple[PatternList, Entry]] = []
        self._hashed: list[tuple[bytes, bytes, bytes, Entry] | None] = []
        self._found: dict[str, _Found] = {}
        self._count = 0

    def add(self, text: str, *, source: str, line: int) -> None:
        """Add one line of a file.

        Raises:
            ValueError: The line is not a valid entry; the text says why.
        """
        entry = parse_entry(text, source=source, line=line, number=self._count)
        if entry is None:
            return
        names = entry.names
        if names.startswith("|"):
            salt, digest = _parse_hash(names)
            self._hashed.append((*_pads(salt), digest, entry))
        elif _has_too_long_a_name(names):
            raise ValueError("a name is too long")
        elif any(char in names for char in "*?!"):
            pattern = PatternList.split(lower(names))
            self._by_pattern.append((pattern, entry))
            for name, found in self._found.items():
                if pattern.matches(name):
                    found.entries.append(entry)
        else:
            for name in dict.fromkeys(lower(names).split(",")):
                self._by_name.setdefault(name, []).append(entry)
                if name in self._found:
                    self._found[name].entries.append(entry)
        self._count += 1

    def find(self, name: str) -> list[Entry]:
        """Find the entries for a name, in the order of the files.

        Args:
            name: As ``file_name`` writes it.
        """
        found = self._found.get(name)
        if found is None:
            entries = list(self._by_name.get(name, ()))
            entries += [entry for pattern, entry in self._by_pattern if pattern.matches(name)]
            found = self._found[name] = _Found(entries)
        if found.tried < len(self._hashed):
            self._try_hashed(name, found)
            found.entries.sort(key=lambda entry: entry.number)
        return found.entries

    def _try_hashed(self, name: str, found: _Found) -> None:
        message = name.encode(errors="surrogateescape")
        sha1 = hashlib.sha1
        for at in range(found.tried, len(self._hashed)):
            line = self._hashed[at]
            if line is not None:
                inner, outer, digest, entry = line
                # hmac.digest() written out, with precomputed pads: it takes half the time.
                if sha1(outer + sha1(inner + message).digest()).digest() == digest:
                    found.entries.append(entry)
                    self._hashed[at] = None  # it belongs to this host, so to no other
        found.tried = len(self._hashed)


_SIGNATURES: Final = {"rsa-sha2-256": "ssh-rsa", "rsa-sha2-512": "ssh-rsa"}
"""Names that OpenSSH takes for a key's type, besides the type itself (sshkey.c, sshkey_type_from_name)."""
_PASSED_OVER: Final = str.maketrans("", "", "\r\v\f")
"""White space that is ignored within base64; blanks end it."""


_CERTIFICATE: Final = b"-cert-v01@openssh.com"
_OF_A_HOST: Final = 2
"""The certificate type of hosts (SSH2_CERT_TYPE_HOST)."""
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
"""The number of fields in a public key; in a certificate they come after the nonce (PROTOCOL.certkeys)."""


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A key in a line.

    Attributes:
        key: The key; in the case of a certificate, the certified key.
        is_certificate: Whether the line lists a certificate.
    """

    key: asyncssh.SSHKey
    is_certificate: bool


def read_key(text: str) -> NamedKey | None:
    """Parse a key as OpenSSH does, which is stricter than asyncssh; return ``None`` if it is invalid.

    Args:
        text: The type and the key, and possibly a comment.
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
    except ValueError:  # includes asyncssh's own errors, and those for numbers that form no key
        return None
    return NamedKey(key, is_certificate=certified)


def read_certificate(blob: bytes, *, name: str, now: float) -> Certificate:
    """Parse a host's certificate (PROTOCOL.certkeys).

    Args:
        blob: The certificate in its wire format.
        name: The name it must be valid for: the host's HostKeyAlias or, without one, its name without a port.
        now: The time, in seconds since 1970.

    Raises:
        ValueError: It is not a certificate, or its signature is wrong.
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
    """Return the type of the key in a certificate of type ``kind``; a plain key's type is unchanged."""
    if not kind.endswith(_CERTIFICATE):
        return kind
    plain = kind.removesuffix(_CERTIFICATE)
    return plain + b"@openssh.com" if plain.startswith(b"sk-") else plain


def kind_of(blob: bytes) -> bytes:
    """Return the type at the start of a key in its wire format; empty if there is none."""
    try:
        return SSHPacket(blob).get_string()
    except PacketDecodeError:
        return b""


def _certified_key(packet: SSHPacket) -> asyncssh.SSHKey:
    """Parse a certificate up to the end of its key."""
    kind = packet.get_string()
    plain = plain_kind(kind)
    if plain == kind or plain not in _FIELDS:
        raise asyncssh.KeyImportError("this is no certificate")
    packet.get_string()  # its nonce
    return decode_ssh_public_key(
        b"".join((String(plain), *(String(packet.get_string()) for _ in range(_FIELDS[plain]))))
    )
