"""``multirsh [run]``: run a command on the selected hosts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from multirsh.cli import options
from multirsh.engine.limits import Limits, Timeouts
from multirsh.errors import UsageError
from multirsh.exit_code import ExitRule
from multirsh.model import Host, HostKeyPolicy, Settings, TransportName
from multirsh.output import Mode, OutputOptions, Stdio, When
from multirsh.transports.ssh.options import PasswordSource, SshOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Connecting:
    """How to connect; the fields are the options."""

    user: str | None
    port: int | None
    identity: str | None
    jump: str | None
    ssh_config: str | None
    ssh_options: tuple[str, ...]
    transport: str | None
    host_keys: str | None
    connect_timeout: float
    forward_agent: bool
    ask_pass: bool
    password_file: Path | None
    password_command: str | None

    def settings(self) -> Settings:
        """What goes before every host's own settings."""
        return Settings(
            user=self.user,
            port=self.port,
            identity=self.identity,
            jump=self.jump,
            transport=None if self.transport is None else TransportName(self.transport),
            host_keys=None if self.host_keys is None else HostKeyPolicy(self.host_keys),
        )

    def ssh(self) -> SshOptions:
        """What ssh's options say for all hosts.

        Raises:
            UsageError: Several sources for the one password.
        """
        from multirsh.cli.terminal import asker  # noqa: PLC0415 - opens the terminal's module only for a run

        sources = [self.ask_pass, self.password_file, self.password_command]
        if sum(bool(source) for source in sources) > 1:
            raise UsageError(
                "--ask-pass, --password-file and --password-command each give the password", hint="use one of them"
            )
        return SshOptions(
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
    command_timeout: float | None
    close_timeout: float
    require_remote_close: bool
    largest_status: bool


@click.command(
    "run",
    context_settings={"allow_interspersed_args": False, "help_option_names": ["--help"]},
    options_metavar="[OPTIONS]",
)
@options.SELECTION
@options.CONNECTION
@options.RUNNING
@options.OUTPUT
@options.CLOSING
@options.EXITING
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND [ARG]...")
def run(command: tuple[str, ...], **parameters: Any) -> int:
    """Run COMMAND on many hosts at once.

    The words of COMMAND are joined with spaces and given to each host's login shell, as ssh does. Its
    standard input is at end of file. Options after the first word belong to COMMAND.
    """
    connecting: Connecting = options.take(Connecting, parameters)
    selection: options.Selection = options.take(options.Selection, parameters)
    return execute(
        command,
        selection.hosts(connecting.settings()),
        connecting=connecting,
        showing=options.take(Showing, parameters),
        bounds=options.take(Bounds, parameters),
    )


def execute(
    command: tuple[str, ...],
    hosts: Sequence[Host],
    *,
    connecting: Connecting,
    showing: Showing,
    bounds: Bounds,
) -> int:
    """Run the words of ``command`` on ``hosts``; the way of every command line, the lab's too.

    Returns:
        The exit code.

    Raises:
        MultirshError: Nothing was run.
    """
    if not command:
        raise UsageError("there is no command to run", hint="give one, such as: multirsh -w host1 uptime")
    from multirsh.cli.drive import Drive  # noqa: PLC0415 - the engine is not needed for --help

    return Drive(
        hosts=hosts,
        command=" ".join(command),
        limits=Limits(fanout=bounds.fanout),
        timeouts=Timeouts(
            connect=connecting.connect_timeout, command=bounds.command_timeout, close=bounds.close_timeout
        ),
        ssh=connecting.ssh(),
        output=showing.options(),
        exit_rule=ExitRule(
            largest_status=bounds.largest_status, require_remote_close=bounds.require_remote_close
        ),
    ).run()
