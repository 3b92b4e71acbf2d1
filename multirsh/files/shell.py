"""Command lines that every login shell reads alike."""

from __future__ import annotations

import os
from typing import Final

_DECODING: Final = """exec /bin/sh -c 'eval "set --;$(printf %b "$@")"' sh"""

_PLAIN: Final = frozenset(
    b'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-./:=,;|&<>()[]{}#$"@+*?'
)

_WORD: Final = 200
"""Bytes of the script in one word: csh takes none of more than 1,024 (csh(1))."""

_SFTP_SERVERS: Final = (
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/sftp-server",
    "/usr/lib/sftp-server",
    "/usr/local/libexec/sftp-server",
)
"""Where systems have it: Debian; Fedora; Arch and SUSE; the BSDs and macOS; dropbear's place."""

SFTP_SERVER: Final = (
    f'for s in {" ".join(_SFTP_SERVERS)}; do if [ -x "$s" ]; then exec "$s"; fi; done; exit 127'
)
"""POSIX text that becomes an SFTP server."""


def quoted(word: bytes) -> str:
    """A word of POSIX text that stands for ``word``."""
    text = os.fsdecode(word)
    return "'" + text.replace("'", "'\"'\"'") + "'"


def line(script: str) -> str:
    """A command line that runs ``script`` by /bin/sh, whatever the login shell is.

    What shells read differently goes as octal escapes, which printf(1) resolves.
    """
    raw = os.fsencode(script) + b"\n#"
    words = (raw[start : start + _WORD] for start in range(0, len(raw), _WORD))
    return " ".join([_DECODING, *(f"'{''.join(map(_escaped, word))}'" for word in words)])


def as_root(script: str) -> str:
    """POSIX text that runs ``script`` as root, without a password."""
    return f"exec sudo -n -- /bin/sh -c {quoted(os.fsencode(script))}"


def _escaped(byte: int) -> str:
    return chr(byte) if byte in _PLAIN else f"\\0{byte:03o}"
