"""What to think of the key that a host shows: the decision, without any file.

As OpenSSH does (sshconnect.c, check_host_key; hostfile.c,
check_hostkeys_by_key_or_type; 9.2):

- Any key of the host other than the one it shows makes that one *changed*, of whatever type: a host of which
  only an RSA key is known and that shows an Ed25519 key is refused, under ``accept-new`` too. (So the types
  of the known keys have to be asked for first.)
- Where nothing is known of ``[name]:port``, a key known for ``name`` is trusted; but other keys of ``name``
  are not held against the host: another port may be another machine.

Stricter than OpenSSH: a key marked ``@revoked`` is refused even where checking
is off, and one that is revoked for ``name`` is revoked for all its ports.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

import asyncssh

from multirsh.model import HostKeyPolicy


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key that a file names for a host.

    Attributes:
        key: The key.
        source: Path of the file.
        line: From 1.
    """

    key: asyncssh.SSHKey
    source: str
    line: int

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

    @property
    def ca_keys(self) -> list[asyncssh.SSHKey]:
        """Keys that may sign its certificate."""
        return [known.key for known in self.authorities]

    @property
    def revoked_keys(self) -> list[asyncssh.SSHKey]:
        """Keys that it must not have, as its own or as the signer's."""
        return [known.key for known in self.revoked]


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
        entry: The line of a file that decided: the same key, the revoked one, or the one that it contradicts.
    """

    kind: VerdictKind
    entry: KnownKey | None = None

    @property
    def accepted(self) -> bool:
        """Whether to go on with the host."""
        return self.kind in ACCEPTED


_WITHOUT_KNOWLEDGE: Final = {
    HostKeyPolicy.STRICT: VerdictKind.UNKNOWN,
    HostKeyPolicy.ACCEPT_NEW: VerdictKind.NEW,
    HostKeyPolicy.OFF: VerdictKind.UNCHECKED,
}


def judge(trust: Trust, key: asyncssh.SSHKey, policy: HostKeyPolicy) -> Verdict:
    """Decide what to think of the key that a host shows.

    Args:
        trust: What the files say of the host.
        key: The host's plain key: from a certificate without a trusted signer, the key in it.
        policy: What is done with unknown keys.
    """
    for revoked in trust.revoked:
        if revoked.key == key:
            return Verdict(VerdictKind.REVOKED, revoked)
    for known in (*trust.known, *trust.known_elsewhere):
        if known.key == key:
            return Verdict(VerdictKind.TRUSTED, known)
    if trust.known:
        contradicted = next(
            (known for known in trust.known if known.key.algorithm == key.algorithm), trust.known[0]
        )
        off = policy is HostKeyPolicy.OFF
        return Verdict(VerdictKind.UNCHECKED if off else VerdictKind.CHANGED, contradicted)
    return Verdict(_WITHOUT_KNOWLEDGE[policy])
