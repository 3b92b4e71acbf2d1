"""What to think of the key that a host shows: the decision, without any file.

As OpenSSH does (sshconnect.c, check_host_key; hostfile.c,
check_hostkeys_by_key_or_type; 9.2):

- Any key of the host other than the one it shows makes that one *changed*, of whatever type: a host of which
  only an RSA key is known and that shows an Ed25519 key is refused, under ``accept-new`` too. (So the types
  of the known keys have to be asked for first.)
- Where nothing is known of ``[name]:port``, a key known for ``name`` is trusted; but other keys of ``name``
  are not held against the host: another port may be another machine.

- A certificate is judged first. One that does not hold, or that no known authority has signed, counts for
  nothing: then its plain key is judged as if it had come alone.
- A certificate is for the host's name, or its HostKeyAlias, without a port, and is compared with its
  principals letter by letter: ``*`` in a principal stands for itself.

Stricter than OpenSSH, each on purpose:

- A key marked ``@revoked`` is refused even where checking is off.
- A key that is revoked for ``name`` is revoked for all its ports.
- A plain key that contradicts one known for ``[name]:port`` is refused even if it came in a certificate and
  is known for ``name``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
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
        is_certificate: Whether the line names a certificate and ``key`` is the key in it. As in ssh, it then
            can revoke that key, or name it as an authority, and cannot make it known for a host.
    """

    key: asyncssh.SSHKey
    source: str
    line: int
    is_certificate: bool = False

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


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a host's certificate says.

    Attributes:
        key: The key that it certifies.
        authority: The key that signed it.
        flaw: What makes it worthless for this host, whoever has signed it; empty if nothing does.
    """

    key: asyncssh.SSHKey
    authority: asyncssh.SSHKey
    flaw: str = ""


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
        entry: The line of a file that decided: the same key, the authority, the revoked key, or the key that
            it contradicts.
        remark: Why its certificate counts for nothing; empty where it has none, or none that is needed.
    """

    kind: VerdictKind
    entry: KnownKey | None = None
    remark: str = ""

    @property
    def accepted(self) -> bool:
        """Whether to go on with the host."""
        return self.kind in ACCEPTED


_WITHOUT_KNOWLEDGE: Final = {
    HostKeyPolicy.STRICT: VerdictKind.UNKNOWN,
    HostKeyPolicy.ACCEPT_NEW: VerdictKind.NEW,
    HostKeyPolicy.OFF: VerdictKind.UNCHECKED,
}


def judge_certificate(trust: Trust, certificate: Certificate, policy: HostKeyPolicy) -> Verdict:
    """Decide what to think of the certificate that a host shows; or, failing that, of the key in it.

    Args:
        trust: What the files say of the host.
        certificate: What the host shows.
        policy: What is done with unknown keys.
    """
    for revoked in trust.revoked:
        if revoked.key in (certificate.key, certificate.authority):
            return Verdict(VerdictKind.REVOKED, revoked)
    authority = next((known for known in trust.authorities if known.key == certificate.authority), None)
    if authority is None:
        remark = "its certificate is signed by an authority that no @cert-authority line names"
    elif certificate.flaw:
        remark = f"its certificate does not count, as {certificate.flaw}"
    else:
        return Verdict(VerdictKind.TRUSTED, authority)
    return replace(judge(trust, certificate.key, policy), remark=remark)


def judge(trust: Trust, key: asyncssh.SSHKey, policy: HostKeyPolicy) -> Verdict:
    """Decide what to think of the plain key that a host shows.

    Args:
        trust: What the files say of the host.
        key: The key.
        policy: What is done with unknown keys.
    """
    for revoked in trust.revoked:
        if revoked.key == key:
            return Verdict(VerdictKind.REVOKED, revoked)
    for known in (*trust.known, *trust.known_elsewhere):
        if known.key == key and not known.is_certificate:
            return Verdict(VerdictKind.TRUSTED, known)
    if trust.known:
        contradicted = next(
            (known for known in trust.known if known.key.algorithm == key.algorithm), trust.known[0]
        )
        off = policy is HostKeyPolicy.OFF
        return Verdict(VerdictKind.UNCHECKED if off else VerdictKind.CHANGED, contradicted)
    return Verdict(_WITHOUT_KNOWLEDGE[policy])
