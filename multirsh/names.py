r"""The characters that names of hosts and users may contain, whatever they come from. Pure.

A name is not only sent to the network. It is part of the arguments of programs, of shell commands (``%r`` in
a ``ProxyCommand``), of file names, of known_hosts and of what terminals show. So every value that carries a
name (``Host``, ``Settings``, a jump host, the result of ssh_config) refuses characters that have a meaning
there, and no caller can forget the check.

- A host, or its address, contains no blanks, no control characters, and nothing special to a shell or to
  known_hosts. Its name is also the name of a file under ``--outdir``.
- A user may be anything that ssh accepts: ``CORP\jane``, ``jane@corp``, ``WEB01$``, ``host/admin``; not
  ``$(reboot)``.
- A name in a shell command is restricted further: ``WEB01$`` can log in, but cannot be part of a command.

The hosts file and ``-w`` restrict names to a smaller alphabet, because ranges and globs are written there.

Source: ssh_valid_hostname() and ssh_valid_ruser() of OpenSSH 10 readconf.c, made for CVE-2023-51385. ssh
holds its command line to them; here files and recorded runs are held to them, too. ``*?!,@#`` in a host would
be patterns, lists or markers in known_hosts.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from multirsh.errors import UsageError

MAX_PORT: Final = 65535

_ORDINARY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""A name without any special character, which needs no further look."""

_NOT_IN_A_HOST: Final = frozenset("'`\"$\\;&<>|(){}[]*?!,@#~ ")
_NOT_IN_A_USER: Final = frozenset("'`\";&<>|(){}")
_NOT_IN_A_COMMAND: Final = frozenset("$*?[ #!")
"""What a shell expands, or ends a word at, although ssh accepts it in the name of a user.

``Match exec`` is read by ``$SHELL``: for csh, a comment begins in ``a#b``, and ``!`` calls up its history.
"""

_BLANK_AND_DASH: Final = re.compile(r"\s-")
_LONGEST_SHOWN: Final = 80


def host_fault(text: str) -> str | None:
    """Return why ``text`` cannot be the address of a host; ``None`` if it can."""
    if _ORDINARY.fullmatch(text):
        return None
    return _fault(text, _NOT_IN_A_HOST)


def name_fault(text: str) -> str | None:
    """Return why ``text`` cannot be the name of a host; ``None`` if it can."""
    fault = host_fault(text)
    if fault is None and text.startswith("."):
        return "it begins with '.'"
    return fault or _forbidden(text, frozenset("/"))


def user_fault(text: str) -> str | None:
    """Return why ``text`` cannot be the name of a user; ``None`` if it can."""
    if _ORDINARY.fullmatch(text):
        return None
    fault = _fault(text, _NOT_IN_A_USER)
    if fault is None and _BLANK_AND_DASH.search(text):
        return "it holds a blank before '-'"
    if fault is None and text.endswith("\\"):
        return "it ends with '\\\\'"
    return fault


def word_fault(text: str) -> str | None:
    """Return why the name ``text`` cannot be part of a shell command; ``None`` if it can."""
    fault = user_fault(text)
    if fault is None and text.startswith("~"):
        return "it begins with '~'"
    return fault or _forbidden(text, _NOT_IN_A_COMMAND)


def check_name(text: str, what: str) -> str:
    """Check the name of a host; as ``check_host``.

    Raises:
        UsageError: It is invalid.
    """
    return (
        text
        if _ORDINARY.fullmatch(text)
        else _checked(
            text, name_fault(text), what, "give the host a plain name, and where to connect as its address"
        )
    )


def check_host(text: str, what: str) -> str:
    """Check the address of a host.

    Args:
        text: The address.
        what: What it is and where it was given, for the error.

    Returns:
        ``text``.

    Raises:
        UsageError: It cannot be an address.
    """
    return (
        text
        if _ORDINARY.fullmatch(text)
        else _checked(
            text, host_fault(text), what, "give the name or address that the host has in the network"
        )
    )


def check_user(text: str, what: str) -> str:
    """Check the name of a user; as ``check_host``.

    Raises:
        UsageError: It is invalid.
    """
    return (
        text
        if _ORDINARY.fullmatch(text)
        else _checked(text, user_fault(text), what, "give the name that logs in")
    )


def check_word(text: str, what: str) -> str:
    """Check that a shell would read a name as nothing else; as ``check_host``.

    Raises:
        UsageError: It is invalid.
    """
    return (
        text
        if _ORDINARY.fullmatch(text)
        else _checked(text, word_fault(text), what, "write the name itself in its place, in single quotes")
    )


def check_jump(text: str) -> str:
    """Refuse users and hosts that cannot be, in ``[user@]host[:port][,...]``; as ``check_host``.

    Whether it is such a list at all is checked where the hosts are resolved.

    Raises:
        UsageError: One is invalid.
    """
    for hop in text.split(","):
        user, at, address = hop.removeprefix("ssh://").rpartition("@")
        if at and user:
            check_user(user, "the user of a jump host")
        host = address.removesuffix("/").replace("[", "", 1).replace("]", "", 1)
        if host:
            check_host(host, "a jump host")
    return text


def check_port(port: int, what: str) -> int:
    """Check a TCP port; as ``check_host``.

    Raises:
        UsageError: It is invalid.
        TypeError: It is not an int.
    """
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"{what} must be int")
    if not 0 < port <= MAX_PORT:
        raise UsageError(f"{what}: {port!r} is not a port", hint=f"ports are 1 to {MAX_PORT}")
    return port


MAX_FILE_NAME: Final = 255
"""The longest file name, in bytes (NAME_MAX of Linux's file systems)."""

_IN_A_FILE_NAME: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@:+,=")
_DIGEST_DIGITS: Final = 16
"""Hexadecimal digits of the digest in a file name."""


def file_name(host: str) -> str:
    """Return the name of the file or directory of a host: unique to the host, and without a path.

    Letters, digits and ``._-@:+,=`` are kept. Every other byte becomes ``%XX``, and so does a leading dot. A
    name that is too long for a file system ends with a digest.
    """
    raw = host.encode("utf-8", "surrogateescape")
    coded = "".join(
        chr(byte) if byte in _IN_A_FILE_NAME and not (place == 0 and byte == ord(".")) else f"%{byte:02X}"
        for place, byte in enumerate(raw)
    )
    if len(coded) <= MAX_FILE_NAME:
        return coded
    digest = hashlib.sha256(raw).hexdigest()[:_DIGEST_DIGITS]
    return f"{coded[: MAX_FILE_NAME - _DIGEST_DIGITS - 2]}%%{digest}"  # "%%" is in no other name


def _checked(text: str, fault: str | None, what: str, hint: str) -> str:
    if fault is None:
        return text
    shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
    raise UsageError(f"{what} cannot be {shown!r}: {fault}", hint=hint)


def _fault(text: str, forbidden: frozenset[str]) -> str | None:
    if not text:
        return "it is empty"
    if text.startswith("-"):
        return "it begins with '-', as options do"
    return _forbidden(text, forbidden)


def _forbidden(text: str, forbidden: frozenset[str]) -> str | None:
    for character in text:
        if character in forbidden:
            return "it holds a blank" if character == " " else f"it holds {character!r}"
        if not character.isprintable():
            return f"it holds the character U+{ord(character):04X}"
    return None
