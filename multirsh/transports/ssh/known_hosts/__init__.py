"""The known host keys, and the verdict on a key that a host presents.

``trust`` parses the lines, their keys and certificates, and decides; ``files``
reads and writes the files.
"""

from multirsh.transports.ssh.known_hosts.files import KnownHosts
from multirsh.transports.ssh.known_hosts.trust import (
    KnownKey,
    Trust,
    Verdict,
    VerdictKind,
    judge,
    judge_certificate,
)

__all__ = ["KnownHosts", "KnownKey", "Trust", "Verdict", "VerdictKind", "judge", "judge_certificate"]
