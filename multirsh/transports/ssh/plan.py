"""How to reach one host: the settings that hold for it, and asyncssh's options made of them, once for many.

asyncssh takes a quarter of a millisecond to make its options, loads keys from
files with them, and reads ssh_config for each connection. Here the options
are made once for each distinct ``SshSettings``; a connection gets a shallow
copy with its own few fields.
"""

from __future__ import annotations

import asyncio
import copy
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import asyncssh

from multirsh.model import HostKeyPolicy
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.ssh.config import AddressFamily, Hop, SshSettings
from multirsh.transports.ssh.host_keys import HostKeyCheck
from multirsh.transports.ssh.known_hosts import KnownHosts
from multirsh.transports.ssh.login_passwords import LoginPassword

KEEPALIVE_SECONDS: Final = 15
"""Where ServerAliveInterval is not set: a dead peer must not hold a place for ever, which asyncssh's and
ssh's default of never would let it."""

_FAMILIES: Final = {
    AddressFamily.ANY: socket.AF_UNSPEC,
    AddressFamily.INET: socket.AF_INET,
    AddressFamily.INET6: socket.AF_INET6,
}


Chain: TypeAlias = tuple[Hop, ...]
"""The jump hosts on the way to a host, nearest to us first."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What all hosts with the same settings share.

    Attributes:
        settings: They.
        known_hosts: Their known_hosts files, indexed.
        key_pairs: Gives the keys to offer: fresh copies for each connection, since asyncssh changes them.
        base: asyncssh's options; copied, never used.
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
        policy: What is done with an unknown host key.
        prepared: What it shares with others.
        login_password: Gives the password of this host and user; ``None`` where there is none.
        forwarded_agent: The socket of the agent that the host may use, or ``None``.
        if_denied: What people have to know where the login is denied.
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
        """The hosts to go through, nearest first."""
        return self.prepared.settings.proxy_jump

    @property
    def proxy_command(self) -> str | None:
        """The program to go through."""
        return self.prepared.settings.proxy_command

    @property
    def family(self) -> int:
        """Which addresses may be used."""
        return _FAMILIES[self.prepared.settings.address_family]

    @property
    def bind_address(self) -> str | None:
        """The local address to leave from."""
        return self.prepared.settings.bind_address

    @property
    def connect_timeout(self) -> int | None:
        """ConnectTimeout, in seconds; ``None`` where it is not set, or set to the system's own."""
        return self.prepared.settings.connect_timeout or None

    def host_key_check(self, login_deadline: LoginDeadline) -> HostKeyCheck:
        """What answers for the host's key, and gives the password.

        Args:
            login_deadline: Stands still while a person is asked for the password.
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
        """asyncssh's options for one connection.

        Args:
            waiter: Done by asyncssh when the login is through, or has failed.
            check: Answers for the host's key, and gives the password.
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
"""The usual ones, but first those that cost asyncssh least: it makes a fresh ChaCha20 three times a packet.

Both are authenticated encryption that every OpenSSH since 6.2 knows (RFC 5647; its PROTOCOL, section 1.6).
"""


def base_options(settings: SshSettings) -> asyncssh.SSHClientConnectionOptions:
    """Make asyncssh's options of ssh's settings; everything that would read a file or ask is off.

    Args:
        settings: What ssh_config and the command line say.

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
