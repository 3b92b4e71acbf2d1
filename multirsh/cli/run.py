"""``multirsh [run]``: run a command on the selected hosts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from multirsh.cli import options
from multirsh.errors import UsageError
from multirsh.exit_code import ExitRule
from multirsh.model import Host, HostKeyPolicy, Settings, TransportName
from multirsh.output import Mode, OutputOptions, Stdio, When
from multirsh.transports.ssh.options import PasswordSource, SshOptions

if TYPE_CHECKING:
    from multirsh.cli.drive import Drive


@dataclass(frozen=True, slots=True, kw_only=True)
class Connecting:
    """How to connect; the fields are the options."""

    user: str | None = None
    port: int | None = None
    identity: str | None = None
    jump: str | None = None
    ssh_config: str | None = None
    ssh_options: tuple[str, ...] = ()
    transport: str | None = None
    host_keys: str | None = None
    forward_agent: bool = False
    ask_pass: bool = False
    password_file: Path | None = None
    password_command: str | None = None

    def settings(self) -> Settings:
        """What goes before every host's own settings."""
        return Settings(
            user=self.user,
            port=self.port,
            identity=self.identity,
            jump=self.jump,
            host_keys=None if self.host_keys is None else HostKeyPolicy(self.host_keys),
        )

    def routed(self, hosts: Sequence[Host]) -> Sequence[Host]:
        """The hosts, with the transport that ``-R`` asks for."""
        if self.transport is None:
            return hosts
        transport = TransportName(self.transport)
        return [replace(host, settings=replace(host.settings, transport=transport)) for host in hosts]

    def ssh(self) -> SshOptions:
        """What ssh's options say for all hosts.

        Raises:
            UsageError: Several sources for the one password.
        """
        from multirsh.cli.terminal import asker  # noqa: PLC0415 - opens the terminal's module only for a run

        sources = [self.ask_pass, self.password_file, self.password_command]
        if sum(bool(source) for source in sources) > 1:
            raise UsageError(
                "--ask-pass, --password-file and --password-command each give the password",
                hint="use one of them",
            )
        return SshOptions(
            settings=self.settings(),
            config_file=self.ssh_config,
            overrides=self.ssh_options,
            password=PasswordSource(
                ask=self.ask_pass, file=self.password_file, command=self.password_command
            ),
            ask=asker(),
            forward_agent=self.forward_agent,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """How to print; the fields are the options."""

    no_prefix: bool
    as_json: bool
    quiet: bool
    progress: str
    color: str

    def options(self) -> OutputOptions:
        """What the output room needs, the streams and the environment looked at."""
        return OutputOptions.decide(
            stdio=Stdio.look(),
            environ=os.environ,
            mode=Mode.JSON if self.as_json else Mode.LIVE,
            prefix=not self.no_prefix,
            quiet=self.quiet,
            color=When(self.color),
            progress=When(self.progress),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much, how long, and how to exit; the fields are the options."""

    fanout: int
    connect_timeout: float
    command_timeout: float | None
    close_timeout: float
    require_remote_close: bool
    largest_status: bool


@click.command(
    "run",
    context_settings={"allow_interspersed_args": False, "help_option_names": ["--help"]},
    options_metavar="[OPTIONS]",
)
@options.FILES
@options.CHOICE
@options.CONNECTION
@options.RUNNING
@options.OUTPUT
@options.CLOSING
@options.EXITING
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND [ARG]...")
def run(*, command: tuple[str, ...], files: tuple[str, ...], **parameters: Any) -> int:
    """Run COMMAND on many hosts at once.

    The words of COMMAND are joined with spaces and given to each host's login shell, as ssh does. Its
    standard input is at end of file. Options after the first word belong to COMMAND.
    """
    import asyncio  # noqa: PLC0415 - not needed for --help

    connecting = options.take(Connecting, parameters)
    hosts = options.take(options.Choice, parameters).hosts(options.read_inventory(files))
    return asyncio.run(
        prepared(
            command,
            hosts,
            connecting=connecting,
            showing=options.take(Showing, parameters),
            bounds=options.take(Bounds, parameters),
        ).drive()
    )


def prepared(
    command: Sequence[str], hosts: Sequence[Host], *, connecting: Connecting, showing: Showing, bounds: Bounds
) -> Drive:
    """Make a run of what the options say: the way of every command line, the lab's too.

    Raises:
        UsageError: The options cannot be meant together, or there is nothing to run.
    """
    if not command:
        raise UsageError("there is no command to run", hint="give one, such as: multirsh -w host1 uptime")
    from multirsh.cli.drive import Drive  # noqa: PLC0415 - the engine is not needed for --help
    from multirsh.engine.limits import Limits, Timeouts  # noqa: PLC0415

    return Drive(
        hosts=connecting.routed(hosts),
        command=" ".join(command),
        limits=Limits(fanout=bounds.fanout),
        timeouts=Timeouts(
            connect=bounds.connect_timeout, command=bounds.command_timeout, close=bounds.close_timeout
        ),
        ssh=connecting.ssh(),
        output=showing.options(),
        exit_rule=ExitRule(
            largest_status=bounds.largest_status, require_remote_close=bounds.require_remote_close
        ),
    )
