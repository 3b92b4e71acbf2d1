"""Is this the host we meant, and may it have the password? The connection asks here; ``known_hosts`` judges.

A new key under ``accept-new`` has to be written down before anything is
entrusted to the host, and writing waits for locks and for the disk. asyncssh
asks in the middle of its key exchange and cannot wait; so the answer is "go
on", and the connection is not read any further until the key is in the file:
the login cannot begin before. A password waits for it in any case.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import asyncssh
from asyncssh.public_key import (
    decode_ssh_public_key,
    get_certificate_algs,
    get_default_certificate_algs,
    get_default_public_key_algs,
    get_public_key_algs,
)

from multirsh.errors import CredentialError
from multirsh.model import ErrorKind, Failure, HostKeyPolicy, Phase
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.messages import one_line
from multirsh.transports.ssh.known_hosts import (
    KnownHosts,
    Trust,
    Verdict,
    VerdictKind,
    judge,
    judge_certificate,
)
from multirsh.transports.ssh.known_hosts.index import lower
from multirsh.transports.ssh.known_hosts.keys import is_certificate, plain_kind, read_certificate
from multirsh.transports.ssh.login_passwords import LoginPassword
from multirsh.transports.ssh.patterns import PatternList
from multirsh.transports.threads import in_daemon_thread

if TYPE_CHECKING:
    from multirsh.transports.ssh.polite import PoliteConnection

_KINDS: Final = {
    VerdictKind.UNKNOWN: ErrorKind.HOSTKEY_UNKNOWN,
    VerdictKind.CHANGED: ErrorKind.HOSTKEY_CHANGED,
    VerdictKind.REVOKED: ErrorKind.HOSTKEY_REVOKED,
}


class HostKeyCheck(asyncssh.SSHClient):
    """asyncssh's client for one connection: it answers about the host's key, and gives the password.

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
        password: LoginPassword | None,
        login_deadline: LoginDeadline,
    ) -> None:
        """Prepare to answer for one host.

        Args:
            known_hosts: What the files say.
            name: HostKeyAlias, or the name connected to.
            port: The port connected to; 22 where the name stands alone, as an alias does.
            policy: What is done with unknown keys.
            hash_names: Whether a name is hashed when it is written down.
            password: The password of this host and user, if there is one.
            login_deadline: Stands still while a person is asked for it.
        """
        self._known_hosts = known_hosts
        self._name = name
        self._port = port
        self._policy = policy
        self._hash_names = hash_names
        self._password = password
        self._passwords_given = 0
        self._login_deadline = login_deadline
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

    def algorithms(self, wanted: str | None) -> Sequence[str]:
        """Which kinds of host key to ask for, the best first.

        As in ssh (sshconnect2.c, order_hostkeyalgs): first the known ones, for a host that has several would
        else show one that is not in the files; of each kind, the certificate before the plain key; and all
        certificates first where an authority is known. A certificate that does not hold costs nothing, as the
        key in it is judged then; and one that is signed by a revoked authority must be seen.

        Args:
            wanted: HostKeyAlgorithms: a list in place of this one, or a change of it (``+``, ``-``, ``^``).
        """
        trust = self.trust
        known = [name for key in trust.host_keys for name in key.sig_algorithms]
        certificates = get_default_certificate_algs()
        if not trust.authorities:
            first = [kind for kind in certificates if plain_kind(kind) in known]
        else:
            first = certificates
        order = (*first, *known, *certificates, *get_default_public_key_algs())
        usual = [name.decode() for name in order]
        if not wanted:
            return list(dict.fromkeys(usual))
        named = PatternList.split(wanted.lstrip("+-^"))
        all_there_are = (
            *usual,
            *(kind.decode() for kind in (*get_certificate_algs(), *get_public_key_algs())),
        )
        match wanted[0]:
            case "+":
                usual += filter(named.matches, all_there_are)
            case "-":
                usual = [kind for kind in usual if not named.matches(kind)]
            case "^":
                usual = [*filter(named.matches, all_there_are), *usual]
            case _:
                return wanted.split(",")
        return list(dict.fromkeys(usual))

    # asyncssh's news and questions.

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Remember whom to hold back; ``PoliteConnection`` is the only kind there is here."""
        self._link = conn  # type: ignore[assignment]  # see above

    def debug_msg_received(self, msg: str, lang: str, always_display: bool) -> None:  # noqa: ARG002, FBT001 - asyncssh's signature
        """Pass on what the server says for the record."""
        if self._link is not None:
            self._link.take_remark(msg)

    async def password_auth_requested(self) -> str | None:
        """Give the password: once the host's key is settled, and only if that contradicts no file.

        asyncssh asks again after each one that was refused.
        """
        await self._trusted.wait()
        if self._password is None or self._contradicted:
            return None
        self._passwords_given += 1
        with self._login_deadline.paused():
            password = await self._password.give(self._passwords_given)
        return None if password is None else password.reveal()

    # Our own side.

    def judge(self, blob: bytes) -> asyncssh.SSHKey:
        """Answer for the key that the host shows.

        Args:
            blob: The key or certificate in its wire format.

        Returns:
            The plain key, by which the host has signed the key exchange.

        Raises:
            asyncssh.HostKeyNotVerifiable: It is not accepted; ``refusal`` says why.
        """
        try:
            if is_certificate(blob):
                certificate = read_certificate(blob, name=lower(self._name), now=time.time())
                key = certificate.key
                verdict = judge_certificate(self.trust, certificate, self._policy)
            else:
                key = decode_ssh_public_key(blob)
                verdict = judge(self.trust, key, self._policy)
        except ValueError as error:
            message = f"its host key cannot be used: {one_line(str(error))}"
            self.refusal = Failure(ErrorKind.HOSTKEY_INVALID, Phase.HANDSHAKE, message)
            raise asyncssh.HostKeyNotVerifiable(message) from error
        if verdict.kind is VerdictKind.NEW and self._link is not None:
            self._trusted.clear()
            self._link.hold()
            self._new_key.set_result(key)
        elif not self._accepts(verdict, key):
            raise asyncssh.HostKeyNotVerifiable("the host key was not accepted")
        return key

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

    def _accepts(self, verdict: Verdict, key: asyncssh.SSHKey) -> bool:
        self._contradicted = verdict.entry is not None and verdict.kind is VerdictKind.UNCHECKED
        if self._contradicted and self._link is not None:
            self._link.withhold_agent(f"its host key contradicts {verdict.entry}")
        if verdict.accepted:
            return True
        self.refusal = Failure(_KINDS[verdict.kind], Phase.HANDSHAKE, _refused(verdict, key))
        return False


def _refused(verdict: Verdict, key: asyncssh.SSHKey) -> str:
    remark = f"; {verdict.remark}" if verdict.remark else ""
    shown = f"{key.get_algorithm()} {key.get_fingerprint()}"
    match verdict.kind:
        case VerdictKind.UNKNOWN:
            ending = f"is in no known_hosts file (--host-keys accept-new adds new ones){remark}"
        case VerdictKind.CHANGED:
            ending = f"is not the one in {verdict.entry}: somebody may be in between{remark}"
        case _:
            ending = f"is revoked by {verdict.entry}"
    return f"its host key {shown} {ending}"
