"""Lines of known_hosts, their keys and certificates, and the verdict on the key that a host shows. Pure.

As OpenSSH does (sshconnect.c, check_host_key; hostfile.c,
check_hostkeys_by_key_or_type; 9.2):

- Any key of the host other than the one it shows makes that one *changed*, of whatever type: a host of which
  only an RSA key is known and that shows an Ed25519 key is refused, under ``accept-new`` too. (So the types
  of the known keys have to be asked for first.)
- Where nothing is known of ``[name]:port``, a key known for ``name`` is trusted; but other keys of ``name``
  are not held against the host: another port may be another machine.

- A certificate is judged first. One that does not hold, or that no known authority has signed, counts for
  nothing: then its plain key is judged as if it had come alone.
- A certificate is for the host's name, or its HostKeyAlias, without a port, and is compared with its
  principals letter by letter: ``*`` in a principal stands for itself.

Stricter than OpenSSH, each on purpose:

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

asyncssh reads keys and certificates more leniently than OpenSSH, and says less
of a certificate than there is to judge, so both are read here.

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
    """A key that a file names for a host.

    Attributes:
        key: The key.
        source: Path of the file.
        line: From 1.
        is_certificate: Whether the line names a certificate and ``key`` is the key in it. As in ssh, it then
            can revoke that key, or name it as an authority, and cannot make it known for a host.
    """

    key: asyncssh.SSHKey
    source: str
    line: int
    is_certificate: bool = False

    def __str__(self) -> str:
        return f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True)
class Trust:
    """What the files say of one host.

    Attributes:
        known: Its own keys.
        known_elsewhere: Keys of the same name without a port, where the host has none of its own.
        authorities: Keys that may sign its certificate.
        revoked: Keys that it must not have.
    """

    known: tuple[KnownKey, ...] = ()
    known_elsewhere: tuple[KnownKey, ...] = ()
    authorities: tuple[KnownKey, ...] = ()
    revoked: tuple[KnownKey, ...] = ()

    @property
    def host_keys(self) -> list[asyncssh.SSHKey]:
        """Keys that the host may have."""
        return [known.key for known in self.known or self.known_elsewhere]


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a host's certificate says.

    Attributes:
        key: The key that it certifies.
        authority: The key that signed it.
        flaw: What makes it worthless for this host, whoever has signed it; empty if nothing does.
    """

    key: asyncssh.SSHKey
    authority: asyncssh.SSHKey
    flaw: str = ""


class VerdictKind(enum.Enum):
    """What to do about a host's key."""

    TRUSTED = "trusted"
    """It is known for this host: go on."""
    NEW = "new"
    """Nothing is known and new keys are welcome: write it down, then go on."""
    UNCHECKED = "unchecked"
    """Nobody wants it checked: go on. Where ``Verdict.entry`` is set the files contradict it, and ssh then
    sends no password."""
    UNKNOWN = "unknown"
    """Nothing is known and new keys are not welcome: refuse."""
    CHANGED = "changed"
    """The files know the host by another key: refuse."""
    REVOKED = "revoked"
    """The files say never to trust this key: refuse."""


ACCEPTED: Final = frozenset({VerdictKind.TRUSTED, VerdictKind.NEW, VerdictKind.UNCHECKED})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is thought of a host's key.

    Attributes:
        kind: What to do.
        entry: The line of a file that decided: the same key, the authority, the revoked key, or the key that
            it contradicts.
        remark: Why its certificate counts for nothing; empty where it has none, or none that is needed.
    """

    kind: VerdictKind
    entry: KnownKey | None = None
    remark: str = ""

    @property
    def accepted(self) -> bool:
        """Whether to go on with the host."""
        return self.kind in ACCEPTED


_WITHOUT_KNOWLEDGE: Final = {
    HostKeyPolicy.STRICT: VerdictKind.UNKNOWN,
    HostKeyPolicy.ACCEPT_NEW: VerdictKind.NEW,
    HostKeyPolicy.OFF: VerdictKind.UNCHECKED,
}


def judge_certificate(trust: Trust, certificate: Certificate, policy: HostKeyPolicy) -> Verdict:
    """Decide what to think of the certificate that a host shows; or, failing that, of the key in it.

    Args:
        trust: What the files say of the host.
        certificate: What the host shows.
        policy: What is done with unknown keys.
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
    """Decide what to think of the plain key that a host shows.

    Args:
        trust: What the files say of the host.
        key: The key.
        policy: What is done with unknown keys.
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
"""What parts the fields of a line. Other white space is a part of the field that it stands in, as for ssh."""
_LONGEST_NAME: Final = 1022
"""In bytes: OpenSSH takes a list with a longer name to match nothing (match.c, match_pattern_list)."""
_ASCII_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


class Marker(enum.Enum):
    """What stands before the names of a line."""

    NONE = ""
    CA = "@cert-authority"
    REVOKED = "@revoked"


_MARKERS: Final = {marker.value: marker for marker in Marker}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line that names a key.

    Attributes:
        number: Counts the entries over all files, in order.
        source: Path of the file.
        line: From 1.
        marker: What the key is for.
        names: The names as written, hashed or not.
        key: Type and base64, as written; not looked into until a host needs it.
    """

    number: int
    source: str
    line: int
    marker: Marker
    names: str
    key: str


def parse_entry(text: str, *, source: str, line: int, number: int) -> Entry | None:
    """Read one line; ``None`` for a blank one or a comment.

    Raises:
        ValueError: It is neither of these nor an entry; the text says why.
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
    """Part a line's marker from what follows it (hostfile.c, check_markers).

    OpenSSH ends the marker at the line's first space, wherever that is, and at a tab only in a line without
    any space. So a line whose marker is followed by a tab is no entry if a space comes later.

    Raises:
        ValueError: There is a marker that OpenSSH does not know, or a second one.
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
    """Write the letters A to Z in lower case; ssh knows no others (misc.c, lowercase)."""
    return text.translate(_ASCII_LOWER)


def is_canonical_base64(text: str) -> bool:
    """Whether ``text`` is base64 as it is written, with nothing left out, added or altered."""
    try:
        raw = binascii.a2b_base64(text)
    except ValueError:
        return False
    return binascii.b2a_base64(raw, newline=False).decode() == text


def _has_too_long_a_name(names: str) -> bool:
    """Whether OpenSSH gives up on a list; few are long enough to look."""
    return len(names) > _LONGEST_NAME // 4 and any(
        len(name.removeprefix("!").encode(errors="surrogateescape")) > _LONGEST_NAME
        for name in names.split(",")
    )


def file_name(name: str, port: int | None) -> str:
    """Write a host as known_hosts does: in lower case, with any port but 22."""
    name = lower(name)
    return name if port is None or port == 22 else f"[{name}]:{port}"  # noqa: PLR2004 - ssh's port


def can_be_written(name: str) -> bool:
    """Whether a host's name can stand in a file without meaning something else there."""
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
    """Read a hashed name. OpenSSH compares it as text, so that only one way of writing it counts."""
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
    """Make the two blocks that HMAC puts before what it hashes (RFC 2104 section 2)."""
    block = salt.ljust(_BLOCK_BYTES, b"\0")
    return block.translate(_INNER), block.translate(_OUTER)


class _Found:
    """The entries of one name, as far as the hashed lines were tried."""

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
            ValueError: It is no entry; the text says why.
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
                # hmac.digest() spelt out, with the pads made beforehand: it takes half the time.
                if sha1(outer + sha1(inner + message).digest()).digest() == digest:
                    found.entries.append(entry)
                    self._hashed[at] = None  # it is of this host, so it is of no other
        found.tried = len(self._hashed)


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
