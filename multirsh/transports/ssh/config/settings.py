"""The result of evaluating ssh_config for a host, with ssh's own defaults."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from multirsh.model import HostKeyPolicy
from multirsh.transports.ssh.config.directives import AddressFamily, Hop

DEFAULT_PORT: Final = 22
DEFAULT_IDENTITIES: Final = (
    "~/.ssh/id_rsa",
    "~/.ssh/id_ecdsa",
    "~/.ssh/id_ecdsa_sk",
    "~/.ssh/id_ed25519",
    "~/.ssh/id_ed25519_sk",
    "~/.ssh/id_xmss",
    "~/.ssh/id_dsa",
)
DEFAULT_USER_KNOWN_HOSTS: Final = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
DEFAULT_GLOBAL_KNOWN_HOSTS: Final = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")


class IdentitySource(enum.Enum):
    """The source that named a private key: it decides how a missing or encrypted one is handled."""

    OPTION = "option"
    """``-i`` or the hosts file: the file must exist."""
    CONFIG = "config"
    """ssh_config: skipped if it is missing, as in ssh."""
    DEFAULT = "default"
    """No option and no line: one of the default files."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key to offer.

    Attributes:
        path: File, absolute or relative to the working directory; ``~`` and tokens are expanded.
        source: The source that named it.
    """

    path: str
    source: IdentitySource


@dataclass(frozen=True, slots=True)
class SshSettings:
    """The values of ssh_config for a host, except its name; defaults are filled in.

    Equal settings are one object within an ``SshConfig``: compare them with ``is``; they can be dict keys.

    Attributes:
        user: Login name on the remote host.
        port: TCP port, 1-65535.
        identity_files: Private keys, in the order to offer them.
        certificate_files: Certificates named by ``CertificateFile``.
        identities_only: Offer only ``identity_files`` and ``certificate_files``, not the agent's other keys.
        identity_agent: Path of the agent's socket; ``None`` for no agent.
        host_key_alias: Name to look the host key up by in place of the host's, without port; in lower case.
        user_known_hosts_files: Paths; new keys go to the first.
        global_known_hosts_files: Paths.
        strict_host_key_checking: How unknown host keys are handled.
        hash_known_hosts: Whether names are hashed when they are added to known_hosts.
        revoked_host_keys: Path of a file of keys that are never trusted, or ``None``.
        proxy_jump: Jump hosts, in the order of connection; empty for none.
        proxy_command: Shell command whose standard input and output are the connection, or ``None``.
        bind_address: Local address to connect from, or ``None``.
        address_family: Which addresses of the host's name may be used.
        connect_timeout: In seconds; ``None`` if not set, 0 for the system's.
        server_alive_interval: Seconds between keepalive messages; 0 for none, ``None`` if not set.
        server_alive_count_max: Messages without an answer before the connection counts as lost.
        compression: Whether to request compression.
        ciphers: Comma-separated names, possibly after ``+``, ``-`` or ``^``; ``None`` for the defaults.
        macs: Likewise.
        kex_algorithms: Likewise.
        host_key_algorithms: Likewise.
        pubkey_accepted_algorithms: Likewise.
        preferred_authentications: Methods in order; ``None`` for the defaults.
        pubkey_authentication: Whether keys may be offered.
        password_authentication: Whether a password may be sent.
        kbdinteractive_authentication: Whether prompts of the server may be answered.
        batch_mode: Never prompt at the terminal.
        send_env: Names, with ``*`` and ``?``, of environment variables to send.
        set_env: Variables to set on the remote.
        rekey_bytes: Bytes after which keys are renegotiated; 0 for the cipher's default.
        rekey_seconds: Seconds after which keys are renegotiated; 0 for never.
        tcp_keepalive: Whether TCP probes an idle connection.
        forward_agent_asked: Whether ssh_config requests agent forwarding. This is never acted on.
    """

    user: str
    port: int
    identity_files: tuple[Identity, ...]
    certificate_files: tuple[str, ...]
    identities_only: bool
    identity_agent: str | None
    host_key_alias: str | None
    user_known_hosts_files: tuple[str, ...]
    global_known_hosts_files: tuple[str, ...]
    strict_host_key_checking: HostKeyPolicy
    hash_known_hosts: bool
    revoked_host_keys: str | None
    proxy_jump: tuple[Hop, ...]
    proxy_command: str | None
    bind_address: str | None
    address_family: AddressFamily
    connect_timeout: int | None
    server_alive_interval: int | None
    server_alive_count_max: int
    compression: bool
    ciphers: str | None
    macs: str | None
    kex_algorithms: str | None
    host_key_algorithms: str | None
    pubkey_accepted_algorithms: str | None
    preferred_authentications: tuple[str, ...] | None
    pubkey_authentication: bool
    password_authentication: bool
    kbdinteractive_authentication: bool
    batch_mode: bool
    send_env: tuple[str, ...]
    set_env: tuple[tuple[str, str], ...]
    rekey_bytes: int
    rekey_seconds: int
    tcp_keepalive: bool
    forward_agent_asked: bool


@dataclass(frozen=True, slots=True)
class SshTarget:
    """Where a host is and how to log in to it.

    Attributes:
        hostname: Name or address to connect to.
        settings: The settings, shared with all hosts for which they are the same.
    """

    hostname: str
    settings: SshSettings


@dataclass(frozen=True, slots=True)
class Local:
    """The local user and machine, from which tokens and defaults are made.

    Attributes:
        user: The local login name.
        uid: The local user's id.
        home: Its home directory, from the password database, as ssh takes it.
        hostname: This machine's name.
        environ: The environment.
    """

    user: str
    uid: int
    home: str
    hostname: str
    environ: Mapping[str, str]
