r"""What a host name, a user name, a group name and a port may be.

Names end up in argument vectors, file names, terminals and known_hosts, so
they are allow-listed: what is not known to be harmless is refused. A name
never starts with ``-`` (an option in disguise) or ``.`` (a way out of
``--outdir``), and holds no blank, control character or shell metacharacter.

- host: letters, digits, ``.``, ``-``, ``_`` (RFC 1123 and what people use), or an IPv6
  literal (RFC 4291) with an optional ``%zone`` (RFC 4007);
- user: letters, digits and ``._@+\$-`` (Active Directory's ``DOMAIN\user`` and ``user@domain``), no
  ``\`` at its end;
- group: letters, digits and ``._-``.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from multirsh.inventory.place import Fragment
from multirsh.names import MAX_PORT, user_fault

MAX_NAME: Final = 253
"""Characters in a host name (RFC 1035 section 2.3.4: 255 octets on the wire)."""

ORDINARY_NAME: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}")
"""A whole host name that needs no closer look: neither range nor IPv6."""

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
    """Refuse characters that no host name has.

    Args:
        literal: A host name or the part of one between two ranges.
        wildcards: ``*`` and ``?`` may stand in it.

    Raises:
        NodeSetError: One is there; the error points at it.
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
    """Refuse an empty host name, and one whose first character makes it something else.

    Raises:
        NodeSetError: It is refused.
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
        NodeSetError: It is empty, starts with ``-``, holds a character that is not allowed, or is refused
            everywhere (``multirsh.names``).
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
        NodeSetError: It is empty or holds a character that is not allowed.
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
        NodeSetError: It is none.
    """
    if not re.fullmatch(r"[1-9][0-9]{0,4}", port.text) or int(port.text) > MAX_PORT:
        raise port.error(f"{port.text!r} is not a port", hint=f"ports are 1 to {MAX_PORT}")
    return int(port.text)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``[user@]host[:port]``, taken apart; the host is not read yet.

    Attributes:
        user: Login name, or ``None``.
        host: The host: a name, a range, or an IPv6 literal, in brackets or not.
        port: 1-65535, or ``None``.
    """

    user: str | None
    host: Fragment
    port: int | None


def split_endpoint(text: Fragment) -> Endpoint:
    """Take ``[user@]host[:port]`` apart.

    The user ends at the last ``@``, as in ssh. A colon starts a port if it is
    the only one outside brackets, or follows the bracket of ``[::1]``; two
    bare colons make an IPv6 literal without a port.

    Raises:
        NodeSetError: The user or the port cannot be one.
    """
    at = text.text.rfind("@")
    user = check_user(text.cut(0, at)) if at >= 0 else None
    host = text.cut(at + 1)
    colons = [match.start() for match in _COLON_OUTSIDE_BRACKETS.finditer(host.text) if match.group(1)]
    if len(colons) != 1:
        return Endpoint(user, host, None)
    return Endpoint(user, host.cut(0, colons[0]), check_port(host.cut(colons[0] + 1)))


def _named(character: str) -> str:
    """A character as an error message shows it; control characters by number."""
    if character == " ":
        return "a blank"
    return f"{character!r}" if character.isprintable() else f"the character U+{ord(character):04X}"


def _ascii_form(text: str) -> str:
    """Hint for a name outside ASCII: its A-labels (RFC 5890), where Python can make them."""
    try:
        name = text.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    return f"write it as {name}" if ORDINARY_NAME.fullmatch(name) else "write such a name in its xn-- form"


def _misplaced(character: str) -> str | None:
    """Hint for a character that means something elsewhere."""
    if character == "@":
        return "a user cannot be given here"
    if character in "*?":
        return "only -w and -x take wildcards"
    return None
