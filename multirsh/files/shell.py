"""POSIX text that is run on hosts."""

from __future__ import annotations

import os
from typing import Final

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
