"""What one login takes: asyncssh's options, the check of the host's key, and the password.

**Options.** asyncssh takes a quarter of a millisecond to make its options, loads keys from
files with them, and reads ssh_config for each connection. Here the options
are made once for each distinct ``SshSettings``; a connection gets a shallow
copy with its own few fields.

**The host's key.** ``known_hosts`` judges it. A new key under ``accept-new`` must be written
for the disk. asyncssh asks in the middle of its key exchange and cannot wait;
so the check passes for the moment, and the connection is not read any further
until the key is in the file: the login cannot begin before. A password waits
for it in any case.
any case.

**The password** that is given for a run belongs to the run's hosts. A jump
host is not one of them: it has a password of its own, and the user is prompted
for it when the jump host requires one.
"""

from __future__ import annotations

import asyncio
import copy
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

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
from multirsh.transports.passwords import Ask, Password
from multirsh.transports.ssh.config import AddressFamily, Hop, SshSettings
from multirsh.transports.ssh.known_hosts import (
    KnownHosts,
    Trust,
    Verdict,
    VerdictKind,
    judge,
    judge_certificate,
)
from multirsh.transports.ssh.known_hosts.trust import is_certificate, lower, plain_kind, read_certificate
from multirsh.transports.ssh.patterns import PatternList
from multirsh.transports.threads import in_daemon_thread

if TYPE_CHECKING:
    from multirsh.transports.ssh.asyncssh_internals import ClientConnection

PASSWORD_ATTEMPTS: Final = 3
"""Maximum number of prompts for one password (NumberOfPasswordPrompts of ssh)."""


class LoginPassword(Protocol):
    """The password of one user on one host."""

    async def give(self, attempt: int) -> Password | None:
        """Return the password, or ``None`` if there is none or no other to try.

        Args:
            attempt: Counts from 1 in each connection; beyond 1, the last password was refused.
        """


@dataclass(frozen=True, slots=True)
class GivenPassword:
    """A ``LoginPassword`` that is known before the run.

    Attributes:
        password: The password.
    """

    password: Password

    async def give(self, attempt: int) -> Password | None:
        """Return the password on the first attempt, and ``None`` afterwards."""
        return self.password if attempt == 1 else None


class AskedPassword:
    """A ``LoginPassword`` that the user is prompted for when it is first needed."""

    def __init__(self, ask: Ask, prompt: str) -> None:
        """Store the prompt; nothing is displayed yet.

        Args:
            ask: Prompts the user; called in a thread.
            prompt: The text of the prompt; it names the user and the host.
        """
        self._ask = ask
        self._prompt = prompt
        self._asking = asyncio.Lock()
        self._password: Password | None = None

    async def give(self, attempt: int) -> Password | None:
        """Prompt, unless the last answer was not refused; return ``None`` if the user gives no answer."""
        if attempt > PASSWORD_ATTEMPTS:
            return None
        async with self._asking:
            if self._password is None or attempt > 1:
                self._password = await in_daemon_thread(self._answer, name="multirsh-password")
            return self._password

    def _answer(self) -> Password | None:
        try:
            return Password(self._ask(self._prompt))
        except (EOFError, OSError):
            return None


_KINDS: Final = {
    VerdictKind.UNKNOWN: ErrorKind.HOSTKEY_UNKNOWN,
    VerdictKind.CHANGED: ErrorKind.HOSTKEY_CHANGED,
    VerdictKind.REVOKED: ErrorKind.HOSTKEY_REVOKED,
}


class HostKeyCheck(asyncssh.SSHClient):
    """asyncssh's client for one connection: it checks the host's key and supplies the password.

    Attributes:
        refusal: Why the host's key was not accepted; set when it is refused.
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
        """Prepare the check for one host.

        Args:
            known_hosts: The indexed known_hosts files.
            name: HostKeyAlias, or the name connected to.
            port: The port connected to; 22 where the name stands alone, as an alias does.
            policy: What is done with unknown keys.
            hash_names: Whether a name is hashed when it is added to the file.
            password: The password of this host and user, if there is one.
            login_deadline: Paused while the user is prompted for the password.
        """
        self._known_hosts = known_hosts
        self._name = name
        self._port = port
        self._policy = policy
        self._hash_names = hash_names
        self._password = password
        self._passwords_given = 0
        self._login_deadline = login_deadline
        self._link: ClientConnection | None = None
        self._new_key: asyncio.Future[asyncssh.SSHKey] = asyncio.get_running_loop().create_future()
        self._trusted = asyncio.Event()
        self._trusted.set()
        self._contradicted = False
        self.refusal: Failure | None = None

    @property
    def trust(self) -> Trust:
        """The known_hosts entries of the host."""
        return self._known_hosts.lookup(self._name, self._port)

    def algorithms(self, wanted: str | None) -> Sequence[str]:
        """Return the host key algorithms to request, in order of preference.

        As in ssh (sshconnect2.c, order_hostkeyalgs): the types of the known keys come first, because a host
        with several keys could otherwise present one that is not in the files. Of each type, the certificate
        comes before the plain key; and all certificates come first if an authority is known. An invalid
        certificate does no harm, as the key in it is then judged; and one that is signed by a revoked
        authority must be detected.

        Args:
            wanted: HostKeyAlgorithms: a list that replaces this one, or a change to it (``+``, ``-``, ``^``).
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

    # asyncssh's callbacks.

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Remember the connection, to pause it later; here it is always a ``ClientConnection``."""
        self._link = conn  # type: ignore[assignment]  # see above

    def debug_msg_received(self, msg: str, lang: str, always_display: bool) -> None:  # noqa: ARG002, FBT001 - asyncssh's signature
        """Pass on a debug message of the server."""
        if self._link is not None:
            self._link.take_remark(msg)

    async def password_auth_requested(self) -> str | None:
        """Return the password once the host's key is settled, and only if no file contradicts the key.

        asyncssh calls this again after each refused password.
        """
        await self._trusted.wait()
        if self._password is None or self._contradicted:
            return None
        self._passwords_given += 1
        with self._login_deadline.paused():
            password = await self._password.give(self._passwords_given)
        return None if password is None else password.reveal()

    # multirsh's own interface.

    def judge(self, blob: bytes) -> asyncssh.SSHKey:
        """Check the key that the host presents.

        Args:
            blob: The key or certificate in its wire format.

        Returns:
            The plain key with which the host has signed the key exchange.

        Raises:
            asyncssh.HostKeyNotVerifiable: The key is not accepted; ``refusal`` says why.
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
        """Wait until the decision about the host's key is final, or the login is over.

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
            ending = f"is not the one in {verdict.entry}: possibly a man-in-the-middle attack{remark}"
        case _:
            ending = f"is revoked by {verdict.entry}"
    return f"its host key {shown} {ending}"


KEEPALIVE_SECONDS: Final = 15
"""Seconds between keepalive messages if ServerAliveInterval is not set. The default of asyncssh and ssh is
never, and a dead peer would then occupy a place in the fanout for ever."""

_FAMILIES: Final = {
    AddressFamily.ANY: socket.AF_UNSPEC,
    AddressFamily.INET: socket.AF_INET,
    AddressFamily.INET6: socket.AF_INET6,
}


Chain: TypeAlias = tuple[Hop, ...]
"""The jump hosts on the way to a host, the nearest to this machine first."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The state that all hosts with the same settings share.

    Attributes:
        settings: The shared settings.
        known_hosts: Their known_hosts files, indexed.
        key_pairs: Returns the keys to offer: fresh copies for each connection, since asyncssh changes them.
        base: asyncssh's options; always copied and never used directly.
    """

    settings: SshSettings
    known_hosts: KnownHosts
    key_pairs: Callable[[], Sequence[asyncssh.SSHKeyPair]]
    base: asyncssh.SSHClientConnectionOptions


@dataclass(frozen=True, slots=True)
class Plan:
    """How to reach one host.

    Attributes:
        address: Name or IP literal to connect to.
        policy: How an unknown host key is handled.
        prepared: The state that it shares with other hosts.
        login_password: Supplies the password of this host and user; ``None`` if there is none.
        forwarded_agent: The socket of the agent that the host may use, or ``None``.
        if_denied: A note for the user, shown if the login is denied.
    """

    address: str
    policy: HostKeyPolicy
    prepared: Prepared
    login_password: LoginPassword | None = None
    forwarded_agent: str | None = None
    if_denied: str = ""

    @property
    def port(self) -> int:
        """The port to connect to."""
        return self.prepared.settings.port

    @property
    def jump(self) -> Chain:
        """The jump hosts to go through, nearest first."""
        return self.prepared.settings.proxy_jump

    @property
    def proxy_command(self) -> str | None:
        """The command to connect through."""
        return self.prepared.settings.proxy_command

    @property
    def family(self) -> int:
        """The address family to use."""
        return _FAMILIES[self.prepared.settings.address_family]

    @property
    def bind_address(self) -> str | None:
        """The local address to connect from."""
        return self.prepared.settings.bind_address

    @property
    def connect_timeout(self) -> int | None:
        """ConnectTimeout, in seconds; ``None`` if it is not set, or set to the system's own."""
        return self.prepared.settings.connect_timeout or None

    def host_key_check(self, login_deadline: LoginDeadline) -> HostKeyCheck:
        """Make the object that checks the host's key and supplies the password.

        Args:
            login_deadline: Paused while the user is prompted for the password.
        """
        settings = self.prepared.settings
        alias = settings.host_key_alias
        return HostKeyCheck(
            self.prepared.known_hosts,
            name=self.address if alias is None else alias,
            port=self.port if alias is None else asyncssh.DEFAULT_PORT,
            policy=self.policy,
            hash_names=settings.hash_known_hosts,
            password=self.login_password,
            login_deadline=login_deadline,
        )

    def options(
        self, *, waiter: asyncio.Future[None], check: HostKeyCheck
    ) -> asyncssh.SSHClientConnectionOptions:
        """Make asyncssh's options for one connection.

        Args:
            waiter: Set by asyncssh when the login has succeeded or failed.
            check: Checks the host's key and supplies the password.
        """
        prepared = self.prepared
        options = copy.copy(prepared.base)
        options.waiter = waiter
        options.host = options.orig_host = self.address
        options.port = self.port
        options.protocol_factory = lambda: check
        options.client_keys = list(prepared.key_pairs())
        options.agent_forward_path = self.forwarded_agent
        options.server_host_key_algs = check.algorithms(prepared.settings.host_key_algorithms)
        if self.login_password is not None:
            options.password = check.password_auth_requested  # type: ignore[assignment]  # it may be a callable
        return options


CIPHERS: Final = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
"""The defaults, with the cheapest for asyncssh first: it makes a fresh ChaCha20 three times a packet.

Both are authenticated encryption that every OpenSSH since 6.2 supports (RFC 5647; its PROTOCOL, section 1.6).
"""


def base_options(settings: SshSettings) -> asyncssh.SSHClientConnectionOptions:
    """Convert ssh's settings to asyncssh's options; everything that would read a file or prompt is off.

    Args:
        settings: The result of ssh_config and the command line.

    Raises:
        ValueError: asyncssh does not know an algorithm that the settings name.
    """
    wanted: dict[str, Any] = {
        "kex_algs": settings.kex_algorithms,
        "encryption_algs": settings.ciphers or CIPHERS,
        "mac_algs": settings.macs,
        "signature_algs": settings.pubkey_accepted_algorithms,
        "server_host_key_algs": settings.host_key_algorithms,
        "preferred_auth": settings.preferred_authentications,
        "rekey_bytes": settings.rekey_bytes or None,
        "rekey_seconds": settings.rekey_seconds or None,
    }
    interval = settings.server_alive_interval
    return asyncssh.SSHClientConnectionOptions(
        config=None,
        known_hosts=([], [], [], [], [], [], []),
        username=settings.user,
        client_keys=None,
        agent_path=None,
        agent_forwarding=False,
        public_key_auth=settings.pubkey_authentication,
        password_auth=settings.password_authentication,
        kbdint_auth=settings.kbdinteractive_authentication,
        host_based_auth=False,
        gss_host=None,
        gss_kex=False,
        gss_auth=False,
        x509_trusted_certs=None,
        x509_trusted_cert_paths=[],
        compression_algs="zlib@openssh.com,zlib,none" if settings.compression else "none",
        keepalive_interval=KEEPALIVE_SECONDS if interval is None else interval,
        keepalive_count_max=max(1, settings.server_alive_count_max),
        tcp_keepalive=settings.tcp_keepalive,
        login_timeout=0,  # the engine's connect timeout covers the login
        send_env=list(settings.send_env),
        env=dict(settings.set_env),
        encoding=None,
        **{name: value for name, value in wanted.items() if value is not None},
    )
