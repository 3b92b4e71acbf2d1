"""The ssh transport of a fleet: what is read once, and the connections made with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from multirsh.errors import UsageError
from multirsh.model import NO_SETTINGS, Host, HostKeyPolicy, Settings
from multirsh.transports.base import Warn
from multirsh.transports.dialler import Dialler
from multirsh.transports.passwords import Password
from multirsh.transports.ssh.config import (
    Directive,
    Place,
    SshConfig,
    SshSettings,
    SshTarget,
    read_config,
    read_jump,
    read_options,
)
from multirsh.transports.ssh.config.directives import values_of
from multirsh.transports.ssh.connector import SshConnector, host_of
from multirsh.transports.ssh.credentials import KeyChoice, KeyRing
from multirsh.transports.ssh.known_hosts import KnownHosts
from multirsh.transports.ssh.options import SshOptions
from multirsh.transports.ssh.plan import Chain, Plan, Prepared, base_options
from multirsh.transports.threads import in_daemon_thread

DEEPEST_JUMP = 8
"""Hosts behind hosts behind hosts: beyond this, ssh_config names a jump host as its own."""

_HOSTS_OWN = frozenset({"hostname", "port", "proxycommand", "proxyjump", "user"})


class SshTransport:
    """A ``Transport`` (``transports.base``) by asyncssh."""

    def __init__(self, options: SshOptions, warn: Warn) -> None:
        """Take what was said; nothing is read yet.

        Args:
            options: What is said for all hosts.
            warn: Takes warnings for people.
        """
        self._options = options
        self._warn = warn
        self._config: SshConfig | None = None
        self._jump_config: SshConfig | None = None
        self._said = NO_SETTINGS
        self._keys = KeyRing()
        self._password: Password | None = None
        self._known_hosts: dict[tuple[object, ...], KnownHosts] = {}
        self._prepared: dict[SshSettings, Prepared] = {}

    @property
    def descriptors_per_host(self) -> int:
        """Its socket, or its end of a ProxyCommand's; and the agent's, for a remote that may use it."""
        return 2 if self._options.forward_agent else 1

    @property
    def converses(self) -> bool:
        """A channel carries both directions at once."""
        return True

    @property
    def is_private(self) -> bool:
        """It is encrypted."""
        return True

    @property
    def has_terminals(self) -> bool:
        """SSH has them (RFC 4254, section 6.2)."""
        return True

    async def prepare(self, hosts: Sequence[Host]) -> None:
        """Read ssh_config, keys, known hosts and the password, for ``hosts`` and those on the way to them.

        Raises:
            UsageError: A line of ssh_config, or an option of it.
            CredentialError: A key, the password, or a known_hosts file.
        """
        options = self._options
        self._config = await asyncio.to_thread(
            read_config, file=options.config_file, options=options.overrides
        )
        self._said = _settings_of(read_options(options.overrides, ignored=[]))
        on_the_way = _for_jump_hosts(options.overrides)
        self._jump_config = self._config
        if on_the_way != options.overrides:
            self._jump_config = await asyncio.to_thread(
                read_config, file=options.config_file, options=on_the_way
            )
        settings: dict[SshSettings, None] = {}
        # In a thread: Match exec runs the user's commands.
        await in_daemon_thread(lambda: self._collect_all(hosts, settings), name="multirsh-ssh-config")
        self._password = await in_daemon_thread(
            lambda: options.password.read(options.ask), name="multirsh-password"
        )
        is_batch = any(found.batch_mode for found in settings)
        self._keys = KeyRing(ask=None if is_batch else options.ask)
        await self._keys.load(map(KeyChoice.of, settings), open_usual=self._password is None)
        for found in settings:
            self._prepared[found] = self._prepare(found)
        for warning in (*self._config.warnings, *self._keys.warnings, *self._known_hosts_warnings()):
            self._warn(warning)

    def connector(self, dialler: Dialler) -> SshConnector:
        """Begin a run."""
        return SshConnector(self, dialler)

    async def close(self) -> None:
        """Let go of the agents."""
        await self._keys.close()

    def plan(self, host: Host) -> Plan:
        """How to reach ``host``."""
        settings = self._settings(host)
        return self._planned(_target(self._config, host, settings), settings.host_keys)

    def plan_jump(self, chain: Chain) -> Plan:
        """How to reach the last host of ``chain``, which others are reached through."""
        return self._planned(self._jump_target(chain), self._options.settings.host_keys)

    def _planned(self, target: SshTarget, host_keys: HostKeyPolicy | None) -> Plan:
        return Plan(
            address=target.hostname,
            policy=host_keys or target.settings.strict_host_key_checking,
            prepared=self._prepared[target.settings],
        )

    def _settings(self, host: Host) -> Settings:
        return self._options.settings.or_else(self._said).or_else(host.settings)

    def _jump_target(self, chain: Chain) -> SshTarget:
        """A host on the way: ``-l``, ``-p``, ``-i`` and ``-J`` are not meant for it, as in ssh."""
        host = host_of(chain)
        return _target(self._jump_config, host, host.settings)

    def _collect_all(self, hosts: Iterable[Host], found: dict[SshSettings, None]) -> None:
        for host in hosts:
            self._collect(host, found)

    def _collect(self, host: Host, found: dict[SshSettings, None]) -> None:
        """Add the settings of ``host``, and those of every host that it is reached through.

        Raises:
            UsageError: A host is reached through itself.
        """
        settings = _target(self._config, host, self._settings(host)).settings
        if settings not in found:
            self._collect_jumps(settings.proxy_jump, found)
            found[settings] = None

    def _collect_jumps(self, chain: Chain, found: dict[SshSettings, None], *, depth: int = 1) -> None:
        if not chain:
            return
        if depth > DEEPEST_JUMP:
            raise UsageError(
                f"{chain[-1].host} is reached through itself",
                hint="give the jump host a Host block of its own with 'ProxyJump none' in ssh_config",
            )
        settings = self._jump_target(chain).settings
        self._collect_jumps(settings.proxy_jump, found, depth=depth + 1)
        found[settings] = None

    def _prepare(self, settings: SshSettings) -> Prepared:
        files = (
            settings.user_known_hosts_files,
            settings.global_known_hosts_files,
            settings.revoked_host_keys,
        )
        if files not in self._known_hosts:
            self._known_hosts[files] = KnownHosts.read(files[0], files[1], revoked_file=files[2])
        choice = KeyChoice.of(settings)
        try:
            base = base_options(settings, forwarded_agent=self._forwarded_agent(settings))
        except ValueError as error:
            raise UsageError(f"ssh_config: {error}") from error
        return Prepared(
            settings=settings,
            known_hosts=self._known_hosts[files],
            key_pairs=lambda: self._keys.pairs(choice),
            password=self._password,
            base=base,
        )

    def _forwarded_agent(self, settings: SshSettings) -> str | None:
        """The agent that remotes may use: none unless *we* were told so, whatever ssh_config says."""
        return settings.identity_agent if self._options.forward_agent else None

    def _known_hosts_warnings(self) -> Iterator[str]:
        for known_hosts in self._known_hosts.values():
            yield from known_hosts.warnings


def _target(config: SshConfig | None, host: Host, settings: Settings) -> SshTarget:
    """What ssh_config makes of ``host`` where ``settings`` are said before it."""
    if config is None:
        raise RuntimeError("prepare() comes first")
    return config.target(
        host.target,
        user=settings.user,
        port=settings.port,
        identities=() if settings.identity is None else (settings.identity,),
        jump=None if settings.jump is None else read_jump(settings.jump, Place(f"jump of {host.name}")),
    )


def _for_jump_hosts(options: Sequence[str]) -> tuple[str, ...]:
    """Those ``-o`` that hold on the way, too: all but who, where and by what way, which are the hosts' own.

    ssh passes none of them on (ssh(1), -J); but one known_hosts file, or one key, is meant for a whole run.
    """
    ignored: list[str] = []
    return tuple(
        option
        for option in options
        if not any(directive.keyword in _HOSTS_OWN for directive in read_options([option], ignored=ignored))
    )


def _settings_of(options: Iterable[Directive]) -> Settings:
    """What ``-o`` says of what a hosts file may say too: the command line comes first."""
    said: dict[str, Any] = {}
    for directive in options:
        for name, value in values_of(directive):
            said.setdefault(name, value)
    user, identity, jump = said.get("user"), said.get("identityfile"), said.get("proxyjump")
    if identity is not None and identity.text.lower() == "none":
        identity = None  # no key of ssh_config's; the hosts file may still name one
    return Settings(
        user=None if user is None else user.name,
        port=said.get("port"),
        identity=None if identity is None else identity.text,
        jump=None if jump is None else ",".join(map(str, jump.hops)) or "none",
        host_keys=said.get("stricthostkeychecking"),
    )
