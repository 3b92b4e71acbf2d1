"""Is this the host we meant? asyncssh asks here; ``known_hosts`` judges.

A new key under ``accept-new`` has to be written down before anything is
entrusted to the host, and writing waits for locks and for the disk. asyncssh
asks in the middle of its key exchange and cannot wait; so the answer is "go
on", and the connection is not read any further until the key is in the file:
the login cannot begin before.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import asyncssh

from multirsh.model import ErrorKind, Failure, HostKeyPolicy, Phase
from multirsh.transports.ssh.known_hosts import KnownHosts, Trust, Verdict, VerdictKind, judge


@dataclass(frozen=True, slots=True)
class KnownAs:
    """Under which name a host's key is looked up.

    Attributes:
        name: HostKeyAlias, or the name connected to.
        port: 22 where the name stands alone, as it does with an alias.
    """

    name: str
    port: int


class HostKeyCheck(asyncssh.SSHClient):
    """asyncssh's client for one connection: its questions about the host's key.

    Attributes:
        refusal: Why the host's key was not accepted, once it was not.
    """

    def __init__(
        self, known_hosts: KnownHosts, known_as: KnownAs, policy: HostKeyPolicy, *, hash_names: bool
    ) -> None:
        self._known_hosts = known_hosts
        self._known_as = known_as
        self._policy = policy
        self._hash_names = hash_names
        self._connection: asyncssh.SSHClientConnection | None = None
        self._new_key: asyncio.Future[asyncssh.SSHKey] = asyncio.get_running_loop().create_future()
        self.refusal: Failure | None = None

    def trust(self) -> Trust:
        """What the known_hosts files say of the host."""
        return self._known_hosts.lookup(self._known_as.name, self._known_as.port)

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Remember whom to hold back."""
        self._connection = conn

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002 - asyncssh's signature
        """Answer for a key that is not among those the files name."""
        verdict = judge(self.trust(), key, self._policy)
        if verdict.kind is VerdictKind.NEW:
            self._hold()
            self._new_key.set_result(key)
            return True
        return self._take(verdict, key)

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002 - asyncssh's signature
        """Answer for a certificate's authority that the files do not name: never trusted on sight."""
        message = f"its certificate is signed by {_worded(key)}, which no @cert-authority line names"
        self.refusal = Failure(ErrorKind.HOSTKEY_UNKNOWN, Phase.HANDSHAKE, message)
        return False

    async def settled(self, login: asyncio.Future[None]) -> None:
        """Wait until the host's key needs no more thought: at once for a known one.

        Args:
            login: Done when the login is through or has failed.

        Raises:
            asyncssh.HostKeyNotVerifiable: A new key turned out not to be acceptable; ``refusal`` says why.
        """
        await asyncio.wait((login, self._new_key), return_when=asyncio.FIRST_COMPLETED)
        if login.done() or not self._new_key.done():
            return
        key = self._new_key.result()
        name, port = self._known_as.name, self._known_as.port
        verdict = await asyncio.to_thread(
            self._known_hosts.remember, name, port, key, hashed=self._hash_names
        )
        if not self._take(verdict, key):
            raise asyncssh.HostKeyNotVerifiable("the host key was not accepted")
        self._go_on()

    def _take(self, verdict: Verdict, key: asyncssh.SSHKey) -> bool:
        self.refusal = _refusal(verdict, key)
        return self.refusal is None

    def _hold(self) -> None:
        if self._connection is not None:
            self._connection.get_extra_info("transport_of_link").pause_reading()

    def _go_on(self) -> None:
        if self._connection is not None:
            self._connection.get_extra_info("transport_of_link").resume_reading()


def _worded(key: asyncssh.SSHKey) -> str:
    return f"{key.get_algorithm()} {key.get_fingerprint()}"


def _refusal(verdict: Verdict, key: asyncssh.SSHKey) -> Failure | None:
    raise NotImplementedError
