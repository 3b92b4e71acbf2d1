"""How hosts are reached, and as which user: ``-l``, ``-R``, ``--sudo`` and the like."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import click
from click.core import ParameterSource

from multirsh.cli import values
from multirsh.cli.options.declare import Decorated, option, together
from multirsh.commands.sudo.options import Sudo
from multirsh.errors import UsageError
from multirsh.model import Host, HostKeyPolicy, HostRoute, Settings, TransportName
from multirsh.transports.options import ExecOptions, RshOptions, RshStderr, SshOptions
from multirsh.transports.passwords import PasswordSource

if TYPE_CHECKING:
    from multirsh.journal.record import RecordedRoutes

_of_connecting = partial(option, section="Connection")

_USER = _of_connecting("-l", "--user", type=values.user, metavar="USER", help="Log in as USER.")


def _port(letter: str) -> Callable[[Decorated], Decorated]:
    return _of_connecting(letter, "--port", type=values.port, metavar="PORT", help="Connect to PORT.")


_CONNECTION_BUT_PORT = together(
    _of_connecting("-i", "--identity", metavar="KEY", help="Log in with this private key."),
    _of_connecting(
        "-J",
        "--jump",
        type=values.jump,
        metavar="JUMP",
        help="Connect through [user@]host[:port][,...]. As in ssh, -l, -p and -i do not apply to these "
        "hosts.",
    ),
    _of_connecting(
        "-F",
        "--ssh-config",
        type=click.Path(),
        metavar="FILE",
        help="Read this ssh_config file instead of the default ones; 'none' reads none.",
    ),
    _of_connecting(
        "-o",
        "--ssh-option",
        "ssh_options",
        multiple=True,
        metavar="K=V",
        envvar=None,  # click would part the variable at blanks, and values hold some
        help="Set an option of ssh_config; it takes precedence over every file. Repeatable.",
    ),
    _of_connecting(
        "-R",
        "--transport",
        type=values.transport,
        metavar="NAME",
        help="Transport to the hosts: ssh, rsh, exec (see --exec), local (this machine), or an installed "
        "one.",
    ),
    _of_connecting(
        "--exec",
        "exec_template",
        metavar="TEMPLATE",
        help="With -R exec, the program that reaches a host, such as 'kubectl exec -i %h -- sh -c %c': %h "
        "is the address, %n the name, %u the user, %p the port, %c the command as one argument.",
    ),
    _of_connecting(
        "--rsh-stderr",
        type=click.Choice([stderr.value for stderr in RshStderr]),
        default=RshStderr.SEPARATE.value,
        show_default=True,
        metavar="HOW",
        help="With rsh, receive stderr on a separate connection, which the host makes back to this "
        "machine, or merged into stdout.",
    ),
    _of_connecting(
        "--host-keys",
        type=click.Choice([policy.value for policy in HostKeyPolicy]),
        metavar="POLICY",
        help="strict accepts only known host keys; accept-new also accepts unknown ones and records them; "
        "off accepts any key.  [default: StrictHostKeyChecking of ssh_config, else strict]",
    ),
    _of_connecting(
        "-A",
        "--forward-agent",
        is_flag=True,
        configurable=False,
        help="Forward your ssh agent to the hosts. It is not forwarded without this option, whatever "
        "ssh_config says.",
    ),
    _of_connecting(
        "--sudo",
        metavar="[=USER]",
        configurable=False,
        help="Run the command through sudo, as root or USER.",
    ),
    _of_connecting(
        "--become",
        metavar="PROGRAM[:USER]",
        configurable=False,
        help="Run the command through sudo, doas or su, as root or USER; doas and su give it a terminal.",
    ),
    _of_connecting(
        "-K",
        "--ask-sudo-pass",
        is_flag=True,
        configurable=False,
        help="Prompt once for the password of sudo, doas or su.  [default: the login password, if one is "
        "given]",
    ),
    _of_connecting("--ask-pass", is_flag=True, help="Prompt once for the login password."),
    _of_connecting(
        "--password-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Read the login password from the first line of FILE; '-' is standard input.",
    ),
    _of_connecting(
        "--password-command", metavar="CMD", help="Use the first line that CMD prints as the login password."
    ),
)

CONNECTION = together(_USER, _port("-p"), _CONNECTION_BUT_PORT)
COPY_CONNECTION = together(_USER, _port("-P"), _CONNECTION_BUT_PORT)
"""As scp(1) has it: there ``-p`` keeps modes and times."""


_HOW_TO_CONNECT: Final = (
    "user",
    "port",
    "identity",
    "jump",
    "transport",
    "ssh_config",
    "ssh_options",
    "exec_template",
)
"""Options that may change where and how a host is reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """How hosts are reached; the fields are the options, except ``addresses``, which come from a record."""

    user: str | None = None
    port: int | None = None
    identity: str | None = None
    jump: str | None = None
    ssh_config: str | None = None
    ssh_options: tuple[str, ...] = ()
    transport: str | None = None
    exec_template: str | None = None
    rsh_stderr: str = RshStderr.SEPARATE.value
    host_keys: str | None = None
    forward_agent: bool = False
    ask_pass: bool = False
    password_file: Path | None = None
    password_command: str | None = None
    sudo: str | None = None
    become: str | None = None
    ask_sudo_pass: bool = False
    bind_address: str | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)

    def settings(self) -> Settings:
        """Return the settings that take precedence over every host's own."""
        return Settings(
            user=self.user,
            port=self.port,
            identity=self.identity,
            jump=self.jump,
            host_keys=None if self.host_keys is None else HostKeyPolicy(self.host_keys),
        )

    def as_recorded(self, reached: RecordedRoutes) -> Self:
        """Return the options that reach hosts as a record says.

        Only options on the command line win over the record; the environment and config.toml do not.

        Args:
            reached: How the hosts of the prior run were reached.
        """
        return replace(
            self,
            user=self.user if _is_given("user") else None,
            port=self.port if _is_given("port") else None,
            identity=self.identity if _is_given("identity") else None,
            jump=self.jump if _is_given("jump") else None,
            transport=self.transport if _is_given("transport") else None,
            ssh_config=self.ssh_config if _is_given("ssh_config") else reached.ssh_config,
            addresses=_addresses(reached.routes),
        )

    @property
    def is_given(self) -> bool:
        """Whether an option on the command line changes how hosts are reached."""
        return any(map(_is_given, _HOW_TO_CONNECT))

    def routed(self, hosts: Sequence[Host]) -> Sequence[Host]:
        """Return the hosts with the transport of ``-R``.

        Raises:
            UsageError: ``--exec`` is given, and no host is reached by exec.
        """
        if self.transport is not None:
            hosts = [
                replace(host, settings=replace(host.settings, transport=self.transport)) for host in hosts
            ]
        by_exec = any(host.settings.transport == TransportName.EXEC for host in hosts)
        if _is_given("exec_template") and not by_exec:
            raise UsageError(
                "--exec is only for -R exec, which reaches none of these hosts", hint="add -R exec"
            )
        return hosts

    def exec_options(self) -> ExecOptions | None:
        """Return the options of exec; ``None`` for the defaults."""
        if self.exec_template is None:
            return None
        return ExecOptions(settings=self.settings(), template=self.exec_template)

    def rsh(self) -> RshOptions | None:
        """Return the options of rsh; ``None`` for the defaults."""
        if self.rsh_stderr == RshStderr.SEPARATE:
            return None
        return RshOptions(settings=self.settings(), stderr=RshStderr(self.rsh_stderr))

    def password(self) -> PasswordSource:
        """Return the source of the login password.

        Raises:
            UsageError: Several sources are given.
        """
        sources = [self.ask_pass, self.password_file, self.password_command]
        if sum(bool(source) for source in sources) > 1:
            raise UsageError(
                "--ask-pass, --password-file and --password-command exclude each other",
                hint="use one of them",
            )
        return PasswordSource(ask=self.ask_pass, file=self.password_file, command=self.password_command)

    def as_user(self) -> Sudo | None:
        """Return which user commands run as, and by which program; ``None`` for the user that logs in.

        Raises:
            UsageError: Both options are given, or the value is invalid.
        """
        if self.become is None:
            return None if self.sudo is None else Sudo(self.sudo)
        if self.sudo is not None:
            raise UsageError("--sudo and --become exclude each other", hint="use one of them")
        return Sudo.read(self.become)

    def sudo_password(self, login: PasswordSource) -> PasswordSource | None:
        """Return the source of sudo's password: that of the login password unless -K is given.

        Raises:
            UsageError: -K is given without --sudo or --become.
        """
        if self.sudo is None and self.become is None:
            if self.ask_sudo_pass:
                raise UsageError("-K requires --sudo or --become")
            return None
        return PasswordSource(ask=True) if self.ask_sudo_pass else login

    def ssh(self, password: PasswordSource) -> SshOptions:
        """Return the options of ssh for all hosts.

        Args:
            password: The source of the login password.
        """
        from multirsh.cli.terminal import secret_prompt  # noqa: PLC0415 - opens the terminal's module only for a run

        return SshOptions(
            settings=self.settings(),
            config_file=self.ssh_config,
            overrides=self.ssh_options,
            password=password,
            ask=secret_prompt(),
            forward_agent=self.forward_agent,
            addresses=self.addresses,
        )


def _is_given(name: str) -> bool:
    """Whether an option is given on the command line, not by the environment or config.toml."""
    context = click.get_current_context(silent=True)
    return context is not None and context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _addresses(routes: Mapping[str, HostRoute]) -> Mapping[str, str]:
    """Return the address by the name that ssh_config matches; names with two addresses are left out."""
    found: dict[str, set[str]] = {}
    for route in routes.values():
        found.setdefault(route.target, set()).add(route.address)
    for way in {route.way for route in routes.values()}:
        for hop, address in way.hops:
            found.setdefault(hop, set()).add(address)
    return {name: addresses.pop() for name, addresses in found.items() if len(addresses) == 1}
