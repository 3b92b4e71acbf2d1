"""Lines of known_hosts, and finding those of a host without reading them all again. Pure.

Names are keys of a dict; wildcards are few and are tried one after another.
A hashed name can only be found by hashing the name that is looked for with
the salt of each line: about a microsecond a line. Two things keep that from
growing into hosts x lines: a line that has been found to be of one host is
not tried for another, and for each name it is known up to where the lines
were tried.

Source: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT; hostfile.c of OpenSSH 9.2.
"""

from __future__ import annotations

import binascii
import enum
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

from multirsh.transports.ssh.patterns import PatternList

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
