r"""Text as users write it: where each piece of it stands, and which names may be in it.

A ``Location`` is a position in a file or an option; a ``Fragment`` is text that
knows its location, however often it is cut into smaller pieces. Parsers take
fragments and never count columns themselves, so every error can point at the
character that caused it.

Names end up in argument vectors, file names, terminals and known_hosts, so
their characters are allow-listed. A name never starts with ``-`` (it would be
read as an option) or ``.`` (it could lead out of ``--outdir``), and holds no
blank, control character or shell metacharacter.

- host: letters, digits, ``.``, ``-``, ``_`` (RFC 1123 and common practice), or an IPv6
  literal (RFC 4291) with an optional ``%zone`` (RFC 4007);
- user: letters, digits and ``._@+\$-`` (Active Directory's ``DOMAIN\user`` and ``user@domain``), not
  ending in ``\``;
- group: letters, digits and ``._-``.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from multirsh.errors import InventoryError, NodeSetError
from multirsh.names import MAX_PORT, user_fault


@dataclass(frozen=True, slots=True)
class Location:
    """A position in a file, or in the value of an option.

    Attributes:
        source: The file as the user gave it, ``<stdin>``, or an option such as ``-w``.
        line: The line, from 1; ``None`` in an option.
        column: The column in characters, from 1.
        exact: Whether each character of the text read here takes one column. This does not hold for a quoted
            YAML scalar with escapes or of several lines; errors inside it point at its start.
    """

    source: str
    line: int | None = None
    column: int = 1
    exact: bool = True

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.source, self.line, self.column) if part is not None)

    def error(self, message: str, *, hint: str | None = None) -> InventoryError:
        """Make an error at this location, for the caller to raise."""
        return InventoryError(message, source=self.source, line=self.line, column=self.column, hint=hint)


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of text, with its location.

    Attributes:
        text: The piece.
        whole: The text that it was cut from.
        offset: The offset of the piece in ``whole``, in characters from 0.
        place: The location of ``whole``.
    """

    text: str
    whole: str
    offset: int
    place: Location

    @classmethod
    def of(cls, text: str, place: Location) -> Fragment:
        """Make a fragment of a whole text, read at ``place``."""
        return cls(text, text, 0, place)

    def cut(self, start: int, end: int | None = None) -> Fragment:
        """Return the characters from ``start`` up to, but not including, ``end``."""
        return Fragment(self.text[start:end], self.whole, self.offset + start, self.place)

    def strip(self) -> Fragment:
        """Return the fragment without surrounding whitespace."""
        shorter = self.text.lstrip()
        return Fragment(shorter.rstrip(), self.whole, self.offset + len(self.text) - len(shorter), self.place)

    def error(self, message: str, *, at: int = 0, hint: str | None = None) -> NodeSetError:
        """Make an error at character ``at`` of the fragment, for the caller to raise."""
        position = self.offset + at
        return NodeSetError(
            message,
            text=self.whole,
            position=position,
            source=self.place.source,
            line=self.place.line,
            column=self.place.column + (position if self.place.exact else 0),
            hint=hint,
        )


MAX_NAME: Final = 253
"""Characters in a host name (RFC 1035 section 2.3.4: 255 octets on the wire)."""

ORDINARY_NAME: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}")
"""A complete host name without a range, and not an IPv6 address."""

_GROUP_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_NOT_IN_A_HOST: Final = re.compile(r"[^A-Za-z0-9._:%-]")
_NOT_IN_A_USER: Final = re.compile(r"[^A-Za-z0-9._@+\\$-]")
_ZONE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_COLON_OUTSIDE_BRACKETS: Final = re.compile(r"\[[^\]]*\]?|(:)")


def is_ipv6(text: str) -> bool:
    """Whether ``text`` is an IPv6 address without brackets, with or without a zone."""
    if ":" not in text:
        return False
    address, percent, zone = text.partition("%")
    if percent and not _ZONE.fullmatch(zone):
        return False
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return True


def check_host_characters(literal: Fragment, *, wildcards: bool = False) -> None:
    """Check that all characters may be in a host name.

    Args:
        literal: A host name, or the part of one between two ranges.
        wildcards: Whether ``*`` and ``?`` are allowed.

    Raises:
        NodeSetError: A character is not allowed; the error points at it.
    """
    for match in _NOT_IN_A_HOST.finditer(literal.text):
        character = match.group()
        if not (wildcards and character in "*?"):
            raise literal.error(
                f"{_named(character)} cannot be in a host name",
                at=match.start(),
                hint=_ascii_form(literal.text) if not character.isascii() else _misplaced(character),
            )


def check_host_start(host: Fragment) -> None:
    """Check that a host name is not empty, and does not start with ``-`` or ``.``.

    Raises:
        NodeSetError: The name is wrong.
    """
    if not host.text:
        raise host.error("a host name is missing here")
    if host.text[0] in "-.":
        raise host.error(f"a host name cannot start with {host.text[0]!r}")


def check_user(user: Fragment) -> str:
    """Check a login name.

    Returns:
        The name.

    Raises:
        NodeSetError: The name is empty, starts with ``-``, holds a character that is not allowed, or is not a
            valid user name anywhere (``multirsh.names``).
    """
    if not user.text:
        raise user.error("a user name is missing here")
    if user.text[0] == "-":
        raise user.error("a user name cannot start with '-'")
    if match := _NOT_IN_A_USER.search(user.text):
        raise user.error(f"{_named(match.group())} cannot be in a user name", at=match.start())
    if fault := user_fault(user.text):
        raise user.error(f"{user.text!r} cannot be a user name: {fault}")
    return user.text


def check_group(group: Fragment) -> str:
    """Check a group's name.

    Returns:
        The name.

    Raises:
        NodeSetError: The name is empty, or holds a character that is not allowed.
    """
    if not _GROUP_NAME.fullmatch(group.text):
        raise group.error(
            f"{group.text!r} cannot name a group",
            hint="letters, digits, '.', '_' and '-' can, starting with a letter, a digit or '_'",
        )
    return group.text


def check_port(port: Fragment) -> int:
    """Check a port written in decimal.

    Returns:
        The port, 1-65535.

    Raises:
        NodeSetError: The text is not a port.
    """
    if not re.fullmatch(r"[1-9][0-9]{0,4}", port.text) or int(port.text) > MAX_PORT:
        raise port.error(f"{port.text!r} is not a port", hint=f"ports are 1 to {MAX_PORT}")
    return int(port.text)


@dataclass(frozen=True, slots=True)
class HostSpec:
    """The parts of ``[user@]host[:port]``; the host is not parsed yet.

    Attributes:
        user: The login name, or ``None``.
        host: The host: a name, a range, or an IPv6 literal with or without brackets.
        port: The port, 1-65535, or ``None``.
    """

    user: str | None
    host: Fragment
    port: int | None


def split_host_spec(text: Fragment) -> HostSpec:
    """Split ``[user@]host[:port]`` into its parts.

    The user ends at the last ``@``, as in ssh. A colon starts a port if it is
    the only one outside brackets, as in ``[::1]:22``; several make an IPv6
    literal without a port.

    Raises:
        NodeSetError: The user or the port is not valid.
    """
    at = text.text.rfind("@")
    user = check_user(text.cut(0, at)) if at >= 0 else None
    host = text.cut(at + 1)
    colons = [match.start() for match in _COLON_OUTSIDE_BRACKETS.finditer(host.text) if match.group(1)]
    if len(colons) != 1:
        return HostSpec(user, host, None)
    return HostSpec(user, host.cut(0, colons[0]), check_port(host.cut(colons[0] + 1)))


def _named(character: str) -> str:
    """Name a character for an error message; control characters by number."""
    if character == " ":
        return "a blank"
    return f"{character!r}" if character.isprintable() else f"the character U+{ord(character):04X}"


def _ascii_form(text: str) -> str:
    """Return a hint for a name outside ASCII: its A-labels (RFC 5890), if Python can make them."""
    try:
        name = text.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    return f"write it as {name}" if ORDINARY_NAME.fullmatch(name) else "write such a name in its xn-- form"


def _misplaced(character: str) -> str | None:
    """Return a hint for a character that has a meaning elsewhere."""
    if character == "@":
        return "a user cannot be given here"
    if character in "*?":
        return "only -w and -x take wildcards"
    return None
