"""How hosts are reached, and as whom: ``-l``, ``-R``, ``--sudo`` and the like."""

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
from multirsh.transports.options import ExecOptions, RshOptions, RshStderr
from multirsh.transports.passwords import PasswordSource
from multirsh.transports.ssh.options import SshOptions

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
        help="Go through [user@]host[:port][,...]; as in ssh, -l, -p and -i are not for those.",
    ),
    _of_connecting(
        "-F",
        "--ssh-config",
        type=click.Path(),
        metavar="FILE",
        help="Read this ssh_config and no other; 'none' reads none.",
    ),
    _of_connecting(
        "-o",
        "--ssh-option",
        "ssh_options",
        multiple=True,
        metavar="K=V",
        envvar=None,  # click would part the variable at blanks, and values hold some
        help="An option of ssh_config, before any file.",
    ),
    _of_connecting(
        "-R",
        "--transport",
        type=values.transport,
        metavar="NAME",
        help="How to reach hosts: ssh, rsh, exec (see --exec), local (this machine), or one installed.",
    ),
    _of_connecting(
        "--exec",
        "exec_template",
        metavar="TEMPLATE",
        help="With -R exec, the program that reaches a host, such as 'kubectl exec -i %h -- sh -c %c': %h is "
        "the address, %n the name, %u the user, %p the port, %c the command as one argument.",
    ),
    _of_connecting(
        "--rsh-stderr",
        type=click.Choice([stderr.value for stderr in RshStderr]),
        default=RshStderr.SEPARATE.value,
        show_default=True,
        metavar="HOW",
        help="With rsh, stderr comes separate, on a connection that the host makes back to us, or merged "
        "into stdout.",
    ),
    _of_connecting(
        "--host-keys",
        type=click.Choice([policy.value for policy in HostKeyPolicy]),
        metavar="POLICY",
        help="strict: only known host keys; accept-new: unknown ones too, and they become known; off: any.  "
        "[default: ssh_config's StrictHostKeyChecking, else strict]",
    ),
    _of_connecting(
        "-A",
        "--forward-agent",
        is_flag=True,
        configurable=False,
        help="Let the hosts use your ssh agent; never without this, whatever ssh_config says.",
    ),
    _of_connecting(
        "--sudo",
        metavar="[=USER]",
        configurable=False,
        help="Run the command by sudo, as root or USER.",
    ),
    _of_connecting(
        "--become",
        metavar="PROGRAM[:USER]",
        configurable=False,
        help="Run the command by sudo, doas or su, as root or USER; doas and su give it a terminal.",
    ),
    _of_connecting(
        "-K",
        "--ask-sudo-pass",
        is_flag=True,
        configurable=False,
        help="Ask for the password of sudo, doas or su, once for all hosts.  "
        "[default: the login's, where one is given]",
    ),
    _of_connecting("--ask-pass", is_flag=True, help="Ask for the login password, once for all hosts."),
    _of_connecting(
        "--password-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Its first line is the login password; '-' is standard input.",
    ),
    _of_connecting(
        "--password-command", metavar="CMD", help="The first line that CMD prints is the login password."
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
"""Options that may have a host reached at another place, or in another way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """How to connect; the fields are the options, but for ``addresses``, which a record says."""

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
        """What goes before every host's own settings."""
        return Settings(
            user=self.user,
            port=self.port,
            identity=self.identity,
            jump=self.jump,
            host_keys=None if self.host_keys is None else HostKeyPolicy(self.host_keys),
        )

    def as_recorded(self, reached: RecordedRoutes) -> Self:
        """The same where hosts are reached as a record says.

        What this command line does not say, the record says, and not the environment or config.toml.

        Args:
            reached: What the record says.
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
        """Whether this command line says anything of how hosts are reached."""
        return any(map(_is_given, _HOW_TO_CONNECT))

    def routed(self, hosts: Sequence[Host]) -> Sequence[Host]:
        """The hosts, with the transport that ``-R`` asks for.

        Raises:
            UsageError: ``--exec`` says how to reach them, and nobody is reached so.
        """
        if self.transport is not None:
            hosts = [
                replace(host, settings=replace(host.settings, transport=self.transport)) for host in hosts
            ]
        by_exec = any(host.settings.transport == TransportName.EXEC for host in hosts)
        if _is_given("exec_template") and not by_exec:
            raise UsageError(
                "--exec says how -R exec reaches hosts, and none of these is reached so", hint="add -R exec"
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
        """Where the login password comes from.

        Raises:
            UsageError: From several places.
        """
        sources = [self.ask_pass, self.password_file, self.password_command]
        if sum(bool(source) for source in sources) > 1:
            raise UsageError(
                "--ask-pass, --password-file and --password-command each give the password",
                hint="use one of them",
            )
        return PasswordSource(ask=self.ask_pass, file=self.password_file, command=self.password_command)

    def as_user(self) -> Sudo | None:
        """As which user commands run, and by what; ``None`` for the login's.

        Raises:
            UsageError: Twice, or it cannot be meant.
        """
        if self.become is None:
            return None if self.sudo is None else Sudo(self.sudo)
        if self.sudo is not None:
            raise UsageError(
                "--sudo and --become each say as which user commands run", hint="use one of them"
            )
        return Sudo.read(self.become)

    def sudo_password(self, login: PasswordSource) -> PasswordSource | None:
        """Where sudo's password comes from: it is the login's, if -K does not ask for another.

        Raises:
            UsageError: There is no sudo.
        """
        if self.sudo is None and self.become is None:
            if self.ask_sudo_pass:
                raise UsageError("-K asks for sudo's password, and there is no sudo", hint="give --sudo, too")
            return None
        return PasswordSource(ask=True) if self.ask_sudo_pass else login

    def ssh(self, password: PasswordSource) -> SshOptions:
        """What ssh's options say for all hosts.

        Args:
            password: The login's.
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
    """Whether an option is given on the command line, and not by the environment or config.toml."""
    context = click.get_current_context(silent=True)
    return context is not None and context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _addresses(routes: Mapping[str, HostRoute]) -> Mapping[str, str]:
    """What is connected to, by what ssh_config is asked about; nothing for a name of which there are two."""
    found: dict[str, set[str]] = {}
    for route in routes.values():
        found.setdefault(route.target, set()).add(route.address)
    for way in {route.way for route in routes.values()}:
        for hop, address in way.hops:
            found.setdefault(hop, set()).add(address)
    return {name: addresses.pop() for name, addresses in found.items() if len(addresses) == 1}
