"""Which host keys are known, and what to think of one that a host shows.

``index`` finds a name among a file's lines, ``keys`` reads keys and
certificates, ``verdict`` decides, ``files`` reads and writes.
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
