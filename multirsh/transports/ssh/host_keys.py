"""Is this the host we meant? asyncssh asks here; ``known_hosts`` judges.

A new key under ``accept-new`` has to be written down before anything is
entrusted to the host, and writing waits for locks and for the disk. asyncssh
asks in the middle of its key exchange and cannot wait; so the answer is "go
on", and the connection is not read any further until the key is in the file:
the login cannot begin before. A password waits for it in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import asyncssh
from asyncssh.public_key import get_default_public_key_algs

from multirsh.errors import CredentialError
from multirsh.model import ErrorKind, Failure, HostKeyPolicy, Phase
from multirsh.transports.ssh.known_hosts import KnownHosts, Trust, Verdict, VerdictKind, judge
from multirsh.transports.threads import in_daemon_thread

if TYPE_CHECKING:
    from multirsh.transports.ssh.polite import PoliteConnection

_KINDS: Final = {
    VerdictKind.UNKNOWN: ErrorKind.HOSTKEY_UNKNOWN,
    VerdictKind.CHANGED: ErrorKind.HOSTKEY_CHANGED,
    VerdictKind.REVOKED: ErrorKind.HOSTKEY_REVOKED,
}


class HostKeyCheck(asyncssh.SSHClient):
    """asyncssh's client for one connection: it answers about the host's key.

    Attributes:
        refusal: Why the host's key was not accepted, once it was not.
    """

    def __init__(
        self,
        known_hosts: KnownHosts,
        *,
        name: str,
        port: int,
        policy: HostKeyPolicy,
        hash_names: bool,
    ) -> None:
        """Prepare to answer for one host.

        Args:
            known_hosts: What the files say.
            name: HostKeyAlias, or the name connected to.
            port: The port connected to; 22 where the name stands alone, as an alias does.
            policy: What is done with unknown keys.
            hash_names: Whether a name is hashed when it is written down.
        """
        self._known_hosts = known_hosts
        self._name = name
        self._port = port
        self._policy = policy
        self._hash_names = hash_names
        self._link: PoliteConnection | None = None
        self._new_key: asyncio.Future[asyncssh.SSHKey] = asyncio.get_running_loop().create_future()
        self._trusted = asyncio.Event()
        self._trusted.set()
        self._contradicted = False
        self.refusal: Failure | None = None

    @property
    def trust(self) -> Trust:
        """What the files say of the host."""
        return self._known_hosts.lookup(self._name, self._port)

    def algorithms(self) -> Sequence[str]:
        """Which kinds of host key to ask for, the best first.

        Those that are known come first, as in ssh: a host that has several would else show one that is
        not in the files. Certificates are asked for only where somebody is trusted to sign them.
        """
        known = [name.decode() for key in self.trust.host_keys for name in key.sig_algorithms]
        usual = [name.decode() for name in get_default_public_key_algs()]
        return list(dict.fromkeys((*known, *usual)))

    # asyncssh's news and questions.

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Remember whom to hold back; ``PoliteConnection`` is the only kind there is here."""
        self._link = conn  # type: ignore[assignment]  # see above

    def debug_msg_received(self, msg: str, lang: str, always_display: bool) -> None:  # noqa: ARG002, FBT001 - asyncssh's signature
        """Pass on what the server says for the record."""
        if self._link is not None:
            self._link.take_remark(msg)

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002 - asyncssh's signature
        """Answer for a key that is not among the known ones."""
        verdict = judge(self.trust, key, self._policy)
        if verdict.kind is VerdictKind.NEW and self._link is not None:
            self._trusted.clear()
            self._link.hold()
            self._new_key.set_result(key)
            return True
        return self._accepts(verdict, key)

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002 - asyncssh's signature
        """Answer for a certificate's signer whom the files do not name: never trusted on sight."""
        message = f"its certificate is signed by {_worded(key)}, which no @cert-authority line names"
        self.refusal = Failure(ErrorKind.HOSTKEY_UNKNOWN, Phase.HANDSHAKE, message)
        return False

    # Our own side.

    async def settled(self, login: asyncio.Future[None]) -> None:
        """Wait until the host's key needs no more thought, or the login is over.

        Raises:
            asyncssh.HostKeyNotVerifiable: A new key turned out not to be acceptable; ``refusal`` says why.
        """
        await asyncio.wait((login, self._new_key), return_when=asyncio.FIRST_COMPLETED)
        if login.done() or self._link is None:
            return
        key = self._new_key.result()
        try:
            verdict = await in_daemon_thread(
                lambda: self._known_hosts.remember(self._name, self._port, key, hashed=self._hash_names),
                name="multirsh-known-hosts",
            )
        except CredentialError as error:
            self.refusal = Failure(ErrorKind.HOSTKEY_UNKNOWN, Phase.HANDSHAKE, str(error))
            accepted = False
        else:
            accepted = self._accepts(verdict, key)
        if not accepted:
            raise asyncssh.HostKeyNotVerifiable("the host key was not accepted")
        self._trusted.set()
        self._link.go_on()

    async def may_have_the_password(self) -> bool:
        """Whether the host may be told the password: once its key is settled and contradicts no file."""
        await self._trusted.wait()
        return not self._contradicted

    def _accepts(self, verdict: Verdict, key: asyncssh.SSHKey) -> bool:
        self._contradicted = verdict.entry is not None and verdict.kind is VerdictKind.UNCHECKED
        if verdict.accepted:
            return True
        self.refusal = Failure(_KINDS[verdict.kind], Phase.HANDSHAKE, _refused(verdict, key))
        return False


def _refused(verdict: Verdict, key: asyncssh.SSHKey) -> str:
    shown = _worded(key)
    match verdict.kind:
        case VerdictKind.UNKNOWN:
            return f"its host key {shown} is in no known_hosts file (--host-keys accept-new adds new ones)"
        case VerdictKind.CHANGED:
            return f"its host key {shown} is not the one in {verdict.entry}: somebody may be in between"
        case _:
            return f"its host key {shown} is revoked by {verdict.entry}"


def _worded(key: asyncssh.SSHKey) -> str:
    return f"{key.get_algorithm()} {key.get_fingerprint()}"
