r"""What the name of a host or a user may hold, wherever it comes from: the one check. Pure.

A name does not only go to the network. It stands in the argument lists of programs, in shell commands
(``%r`` in a ``ProxyCommand``), in file names, in known_hosts and on terminals. So the values that carry
names (``Host``, ``Settings``, a jump host, what ssh_config makes of a host) refuse what could be taken for
something else there, and no caller can forget to.

- A host, or its address, holds no blank, no control character, and nothing that means more to a shell or to
  known_hosts. What it is called here is a file's name under ``--outdir``, too.
- A user is what ssh takes: ``CORP\jane``, ``jane@corp``, ``WEB01$``, ``host/admin``; not ``$(reboot)``.
- A name in a shell command is held to more: ``WEB01$`` can log in, but not stand there.

The hosts file and ``-w`` have a narrower alphabet of their own, because ranges and globs are written there.

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
"""A name with nothing in it to look at more closely."""

_NOT_IN_A_HOST: Final = frozenset("'`\"$\\;&<>|(){}[]*?!,@#~ ")
_NOT_IN_A_USER: Final = frozenset("'`\";&<>|(){}")
_NOT_IN_A_COMMAND: Final = frozenset("$*?[ #!")
"""What a shell expands, or ends a word at, even where ssh lets it stand in a user.

``Match exec`` is read by ``$SHELL``: for csh, a comment begins in ``a#b``, and ``!`` calls up its history.
"""

_BLANK_AND_DASH: Final = re.compile(r"\s-")
_LONGEST_SHOWN: Final = 80


def host_fault(text: str) -> str | None:
    """Say why ``text`` cannot be what a host is connected to by; ``None`` if it can."""
    if _ORDINARY.fullmatch(text):
        return None
    return _fault(text, _NOT_IN_A_HOST)


def name_fault(text: str) -> str | None:
    """Say why ``text`` cannot be what a host is called here; ``None`` if it can."""
    fault = host_fault(text)
    if fault is None and text.startswith("."):
        return "it begins with '.'"
    return fault or _forbidden(text, frozenset("/"))


def user_fault(text: str) -> str | None:
    """Say why ``text`` cannot be the name of a user; ``None`` if it can."""
    if _ORDINARY.fullmatch(text):
        return None
    fault = _fault(text, _NOT_IN_A_USER)
    if fault is None and _BLANK_AND_DASH.search(text):
        return "it holds a blank before '-'"
    if fault is None and text.endswith("\\"):
        return "it ends with '\\\\'"
    return fault


def word_fault(text: str) -> str | None:
    """Say why ``text``, a name, cannot be put into a shell command; ``None`` if it can."""
    fault = user_fault(text)
    if fault is None and text.startswith("~"):
        return "it begins with '~'"
    return fault or _forbidden(text, _NOT_IN_A_COMMAND)


def check_name(text: str, what: str) -> str:
    """Refuse what a host cannot be called here; as ``check_host``.

    Raises:
        UsageError: It is refused.
    """
    return _checked(
        text, name_fault(text), what, "give the host a plain name, and where to connect as its address"
    )


def check_host(text: str, what: str) -> str:
    """Refuse what no host can be connected to by.

    Args:
        text: The name.
        what: What it is and where it stands, for the error.

    Returns:
        The name.

    Raises:
        UsageError: It is refused.
    """
    return _checked(text, host_fault(text), what, "give the name or address that the host has in the network")


def check_user(text: str, what: str) -> str:
    """Refuse what cannot be the name of a user; as ``check_host``.

    Raises:
        UsageError: It is refused.
    """
    return _checked(text, user_fault(text), what, "give the name that logs in")


def check_word(text: str, what: str) -> str:
    """Refuse a name that a shell would read as more than a name; as ``check_host``.

    Raises:
        UsageError: It is refused.
    """
    return _checked(text, word_fault(text), what, "write the name itself in its place, in single quotes")


def check_jump(text: str) -> str:
    """Refuse users and hosts that cannot be, in ``[user@]host[:port][,...]``; as ``check_host``.

    Whether it is such a list at all is checked where the hosts are resolved.

    Raises:
        UsageError: One is refused.
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
    """Refuse what is not a TCP port; as ``check_host``.

    Raises:
        UsageError: It is refused.
        TypeError: It is not an int.
    """
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"{what} must be int")
    if not 0 < port <= MAX_PORT:
        raise UsageError(f"{what}: {port!r} is not a port", hint=f"ports are 1 to {MAX_PORT}")
    return port


MAX_FILE_NAME: Final = 255
"""Bytes in a file's name (NAME_MAX of Linux's file systems)."""

_IN_A_FILE_NAME: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@:+,=")
_DIGEST_DIGITS: Final = 16
"""Hexadecimal digits of a digest in a name."""


def file_name(host: str) -> str:
    """Return the name of a host's own file or folder: unique to the host, and without a path in it.

    Letters, digits and ``._-@:+,=`` stay as they are. All else becomes ``%XX``, byte by byte, and so does a
    dot in front. A name that would be too long for a file system ends in a digest.
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
