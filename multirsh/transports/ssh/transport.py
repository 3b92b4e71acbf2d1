"""The ssh transport of a fleet: what is read once, and the connections made with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from multirsh.errors import UsageError
from multirsh.model import Host, HostKeyPolicy, Settings
from multirsh.transports.base import Warn
from multirsh.transports.dialler import Dialler
from multirsh.transports.ssh.config import SshConfig, SshSettings, SshTarget
from multirsh.transports.ssh.config_files import read_config, read_options
from multirsh.transports.ssh.connection import SshConnection
from multirsh.transports.ssh.directives import Directive, Hop, Place, read_jump
from multirsh.transports.ssh.jumps import JumpHosts, host_of
from multirsh.transports.ssh.known_hosts import KnownHosts
from multirsh.transports.ssh.options import SshOptions
from multirsh.transports.ssh.plan import Plan, Prepared, base_options

DEEPEST_JUMP = 8
"""Hosts behind hosts behind hosts: beyond this, ssh_config names a jump host as its own."""


class SshTransport:
    """A ``Transport`` (``transports.base``) by asyncssh."""

    def __init__(self, *, dialler: Dialler, options: SshOptions, warn: Warn) -> None:
        """Take what was said; nothing is read yet.

        Args:
            dialler: Makes TCP connections.
            options: What is said for all hosts.
            warn: Takes warnings for people.
        """
        self.dialler = dialler
        self._options = options
        self._warn = warn
        self._config: SshConfig | None = None
        self._said: Settings = Settings()
        self._prepared: dict[tuple[int, HostKeyPolicy], Prepared] = {}
        self._preparing = asyncio.Lock()
        self._known_hosts: dict[tuple[object, ...], KnownHosts] = {}
        self._jumps = JumpHosts(self.connection)

    async def prepare(self, hosts: Sequence[Host]) -> None:
        """Read ssh_config, keys and known hosts for ``hosts`` and for those on the way to them.

        Raises:
            UsageError: A line of ssh_config, or an option of it.
            CredentialError: A key, the password, or a known_hosts file.
        """
        options = self._options
        self._config = await asyncio.to_thread(
            read_config, file=options.config_file, options=options.overrides
        )
        for warning in self._config.warnings:
            self._warn(warning)
        self._said = _settings_of(read_options(options.overrides, ignored=[]))
        await self._prepare_way_to(hosts, depth=0)

    def connection(self, host: Host) -> SshConnection:
        """A connection to ``host``, not yet begun."""
        return SshConnection(self, host)

    async def release(self) -> None:
        """Close the connections to jump hosts, in order."""
        await self._jumps.release()

    async def plan(self, host: Host) -> Plan:
        """How to reach ``host``; what it shares with others is prepared if it is not yet."""
        target, policy = self._target(host)
        prepared = self._prepared.get((id(target.settings), policy))
        if prepared is None:
            async with self._preparing:
                prepared = await self._prepare(target.settings, policy)
        return Plan(address=target.hostname, prepared=prepared)

    async def through(self, jump: tuple[Hop, ...]) -> SshConnection:
        """The shared, open connection to the last host of ``jump``."""
        return await self._jumps.reach(jump)

    async def _prepare_way_to(self, hosts: Sequence[Host], *, depth: int) -> None:
        if depth > DEEPEST_JUMP:
            raise UsageError(f"{hosts[0].name} is reached through itself", hint="see ProxyJump in ssh_config")
        jumps: dict[tuple[Hop, ...], None] = {}
        for host in hosts:
            jump = (await self.plan(host)).jump
            for hops in range(1, len(jump) + 1):
                jumps[jump[:hops]] = None
        if jumps:
            await self._prepare_way_to([host_of(jump) for jump in jumps], depth=depth + 1)

    def _target(self, host: Host) -> tuple[SshTarget, HostKeyPolicy]:
        if self._config is None:
            raise RuntimeError("prepare() comes first")
        settings = self._options.settings.or_else(self._said).or_else(host.settings)
        target = self._config.target(
            host.target,
            user=settings.user,
            port=settings.port,
            identities=() if settings.identity is None else (settings.identity,),
            jump=None if settings.jump is None else read_jump(settings.jump, Place(f"jump of {host.name}")),
        )
        return target, settings.host_keys or target.settings.strict_host_key_checking

    async def _prepare(self, settings: SshSettings, policy: HostKeyPolicy) -> Prepared:
        key = (id(settings), policy)
        if key not in self._prepared:
            self._prepared[key] = await self._made(settings, policy)
        return self._prepared[key]

    async def _made(self, settings: SshSettings, policy: HostKeyPolicy) -> Prepared:
        import asyncssh
        from pathlib import Path

        files = (
            settings.user_known_hosts_files,
            settings.global_known_hosts_files,
            settings.revoked_host_keys,
        )
        if files not in self._known_hosts:
            self._known_hosts[files] = await asyncio.to_thread(
                KnownHosts.read, files[0], files[1], revoked_file=files[2]
            )
        keys = [str(i.path) for i in settings.identity_files if Path(i.path).exists()]
        pairs = asyncssh.load_keypairs(keys)
        return Prepared(
            settings=settings,
            known_hosts=self._known_hosts[files],
            policy=policy,
            key_pairs=lambda: list(pairs),
            password=lambda: None,
            base=base_options(settings, agent_path=None),
        )


def _settings_of(options: Iterable[Directive]) -> Settings:
    """What ``-o`` says of what a hosts file may say too: the command line comes first."""
    said: dict[str, Directive] = {}
    for directive in options:
        said.setdefault(directive.keyword, directive)
    user, port, jump = said.get("user"), said.get("port"), said.get("proxyjump")
    return Settings(
        user=None if user is None else user.words[0],
        port=None if port is None else int(port.words[0]),
        jump=None if jump is None else jump.words[0],
    )
