"""``multirsh [run]``: run a command on the selected hosts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from multirsh.cli import options
from multirsh.cli.descriptors import STDIN
from multirsh.cli.names import HELP_NAMES, SUBCOMMANDS
from multirsh.cli.sections import SectionCommand
from multirsh.cli.stdin import OURS, open_stdin, with_its_file
from multirsh.commands.sudo.options import Sudo
from multirsh.engine.batches import ALL_AT_ONCE, Batches, MaxFail
from multirsh.engine.pace import StartRate
from multirsh.errors import UsageError
from multirsh.exit_code import ExitRule
from multirsh.model import Host, HostKeyPolicy, Settings, TransportName
from multirsh.output import Mode, OutputOptions, Stdio, Stream, When
from multirsh.output.gather.store import USUAL_MEMORY
from multirsh.ports.budget import PortBudget
from multirsh.transports.exec.options import ExecOptions
from multirsh.transports.passwords import PasswordSource
from multirsh.transports.rsh.options import RshOptions, RshStderr
from multirsh.transports.ssh.options import SshOptions

if TYPE_CHECKING:
    from multirsh.cli.control import Control
    from multirsh.cli.drive import Drive
    from multirsh.commands.command import Command
    from multirsh.commands.script import Script
    from multirsh.output.gather.normalize import Normalizer
    from multirsh.transports.base import Stdin


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
    exec_template: str | None = None
    rsh_stderr: str = RshStderr.SEPARATE.value
    host_keys: str | None = None
    forward_agent: bool = False
    ask_pass: bool = False
    password_file: Path | None = None
    password_command: str | None = None
    sudo: str | None = None
    ask_sudo_pass: bool = False

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
        """The hosts, with the transport that ``-R`` asks for.

        Raises:
            UsageError: ``--exec`` says how to reach them, and nobody is reached so.
        """
        if self.transport is not None:
            hosts = [
                replace(host, settings=replace(host.settings, transport=self.transport)) for host in hosts
            ]
        context = click.get_current_context(silent=True)
        is_said = context is not None and (
            context.get_parameter_source("exec_template") is ParameterSource.COMMANDLINE
        )
        if is_said and not any(host.settings.transport == TransportName.EXEC for host in hosts):
            raise UsageError(
                "--exec says how -R exec reaches hosts, and none of these is reached so", hint="add -R exec"
            )
        return hosts

    def exec_options(self) -> ExecOptions:
        """What exec's options say for all hosts."""
        return ExecOptions(settings=self.settings(), template=self.exec_template)

    def rsh(self) -> RshOptions:
        """What rsh's options say for all hosts."""
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

    def sudo_password(self, login: PasswordSource) -> PasswordSource | None:
        """Where sudo's password comes from: it is the login's, if -K does not ask for another.

        Raises:
            UsageError: There is no sudo.
        """
        if self.sudo is None:
            if self.ask_sudo_pass:
                raise UsageError("-K asks for sudo's password, and there is no sudo", hint="give --sudo, too")
            return None
        return PasswordSource(ask=True) if self.ask_sudo_pass else login

    def ssh(self, password: PasswordSource) -> SshOptions:
        """What ssh's options say for all hosts.

        Args:
            password: The login's.
        """
        from multirsh.cli.terminal import asker  # noqa: PLC0415 - opens the terminal's module only for a run

        return SshOptions(
            settings=self.settings(),
            config_file=self.ssh_config,
            overrides=self.ssh_options,
            password=password,
            ask=asker(),
            forward_agent=self.forward_agent,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the command is to find around it; the fields are the options."""

    environment: tuple[tuple[str, str], ...]
    directory: str | None
    is_template: bool

    def command(self, text: str = "", *, tty: bool = False, script: Script | None = None) -> Command:
        """The command of ``text``, or of a script, in this context.

        Raises:
            UsageError: It cannot be meant.
        """
        from multirsh.commands.command import Command  # noqa: PLC0415 - not needed for --help

        return Command(
            text,
            environment=dict(self.environment),
            directory=self.directory,
            is_template=self.is_template,
            tty=tty,
            script=script,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """How to print; the fields are the options."""

    no_prefix: bool
    as_json: bool
    quiet: bool
    progress: str
    color: str
    gather: bool = False
    gather_all: bool = False
    blocks: bool = False
    differences: bool = False
    normalizer: Normalizer | None = None
    output_memory: int = USUAL_MEMORY
    out_folder: Path | None = None
    err_folder: Path | None = None

    def beside(self, stdin: str | None) -> Showing:
        """The same beside ``-I``: where its input is typed, no progress is drawn over that."""
        if stdin == OURS and os.isatty(STDIN) and self.progress == When.AUTO:
            return replace(self, progress=When.NEVER.value)
        return self

    def options(self) -> OutputOptions:
        """What the output room needs, the streams and the environment looked at.

        Raises:
            UsageError: Options that cannot be meant together.
        """
        return OutputOptions.decide(
            stdio=Stdio.look(),
            environ=os.environ,
            mode=self._mode(),
            prefix=not self.no_prefix,
            with_stderr=self.gather_all,
            differences=self.differences,
            normalizer=self.normalizer,
            memory=self.output_memory,
            folders=self._folders(),
            quiet=self.quiet,
            color=When(self.color),
            progress=When(self.progress),
        )

    def _folders(self) -> dict[Stream, Path]:
        """Where hosts' files are; the folders are there then."""
        wanted: dict[Stream, tuple[str, Path | None]] = {
            "stdout": ("--outdir", self.out_folder),
            "stderr": ("--errdir", self.err_folder),
        }
        made: dict[Stream, Path] = {}
        for stream, (option, folder) in wanted.items():
            if folder is None:
                continue
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(
                    f"{option} {folder}: {error.strerror}", hint="name a folder to write in"
                ) from None
            if not os.access(folder, os.W_OK | os.X_OK):
                raise UsageError(f"{option} {folder}: permission denied", hint="name a folder to write in")
            made[stream] = folder
        if self.out_folder is not None and self.out_folder == self.err_folder:
            raise UsageError(
                "--outdir and --errdir are one folder, where a host would have one file for both",
                hint="name two folders",
            )
        return made

    def _mode(self) -> Mode:
        """What stdout carries."""
        asked = {"-b": self.gather, "-B": self.gather_all, "-L": self.blocks, "--diff": self.differences}
        gathering = [name for name, is_asked in asked.items() if is_asked]
        if self.as_json and gathering:
            raise UsageError(f"{gathering[0]} is for people, and --json for programs", hint="use one of them")
        if self.blocks and (self.differences or self.gather):
            raise UsageError(
                f"-L shows each host by itself, and {'--diff' if self.differences else '-b'} equals together",
                hint="use one of them",
            )
        is_grouped = bool(gathering) and not self.blocks
        if self.normalizer is not None and not is_grouped:
            raise UsageError("--normalize is for comparing outputs", hint="give -b, -B or --diff, too")
        if is_grouped:
            return Mode.GROUPS
        if self.blocks:
            return Mode.BLOCKS
        return Mode.JSON if self.as_json else Mode.LIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much, how long, and how to exit; the fields are the options."""

    fanout: int
    connect_timeout: float
    command_timeout: float | None
    deadline: float | None
    kill_after: float
    close_timeout: float
    require_remote_close: bool
    port_budget: PortBudget
    port_wait: float
    bind_address: str | None
    largest_status: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What course the run takes; the fields are the options."""

    retries: int
    retry_delay: float
    retry_command: bool
    start_rate: StartRate
    handshakes: int | None
    fail_fast: bool
    max_fail: MaxFail | None
    batch: Batches | None
    batch_delay: float | None
    gate: str | None
    asks: bool
    barrier: bool

    def control(self) -> Control:
        """As the run needs it.

        Raises:
            UsageError: Options that cannot be meant together.
        """
        from multirsh.cli.control import Control, command_of  # noqa: PLC0415 - not needed for --help
        from multirsh.engine.retry import RetryPolicy  # noqa: PLC0415
        from multirsh.engine.rolling import RollingPlan  # noqa: PLC0415

        if self.gate is not None and not command_of(self.gate):
            raise UsageError("--gate has no command", hint="give one, such as 'curl -fs http://lb/health'")
        between = {"--gate": self.gate, "--step": self.asks, "--batch-delay": self.batch_delay}
        for name, value in between.items():
            if value is not None and value is not False and self.batch is None:
                raise UsageError(
                    f"{name} is for what comes between batches, and there are none", hint="give --batch, too"
                )
        if self.barrier and self.batch is not None:
            raise UsageError(
                "--barrier holds all hosts at once, and --batch does not", hint="use one of them"
            )
        return Control(
            retry=RetryPolicy(
                retries=self.retries, delay=self.retry_delay, repeat_command=self.retry_command
            ),
            rolling=RollingPlan(
                batches=self.batch or ALL_AT_ONCE, max_fail=self.max_fail, delay=self.batch_delay or 0.0
            ),
            gate=self.gate,
            asks=self.asks,
            fail_fast=self.fail_fast,
            barrier=self.barrier,
        )


class RunCommand(SectionCommand):
    """Of ``-I``, whose value may be left out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Attach what belongs to ``-I``."""
        return super().parse_args(ctx, with_its_file(args, self))


@click.command(
    "run",
    cls=RunCommand,
    context_settings={"allow_interspersed_args": False, "help_option_names": HELP_NAMES},
    options_metavar="[OPTIONS]",
)
@options.FILES
@options.CHOICE
@options.CONNECTION
@options.RUNNING
@options.COURSE
@options.CONTEXT
@options.TTY
@options.STDIN_OPTION
@options.OUTPUT
@options.CLOSING
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND [ARG]...")
def run(
    *, command: tuple[str, ...], files: tuple[str, ...], stdin: str | None, tty: bool, **parameters: Any
) -> int:
    """Run COMMAND on many hosts at once.

    The words of COMMAND are joined with spaces and given to each host's login shell, as ssh does. Its
    standard input is at end of file; see -I. Options after the first word belong to COMMAND.
    """
    # Not needed for --help, which must be quick.
    from multirsh.cli import signals  # noqa: PLC0415

    joined = checked(command)
    context = options.take(Context, parameters)
    connecting = options.take(Connecting, parameters)
    choice = options.take(options.Choice, parameters)
    if not files and choice.is_empty:
        raise _nobody(command)
    hosts = choice.hosts(options.read_inventory(files))
    taken = ["-f -"] if "-" in files else []
    if connecting.password_file == Path("-"):
        taken.append("--password-file -")
    drive = prepared(
        context.command(joined, tty=tty),
        hosts,
        connecting=connecting,
        showing=options.take(Showing, parameters).beside(stdin),
        bounds=options.take(Bounds, parameters),
        course=options.take(Course, parameters),
        reads_keys=_may_read_keys(files, stdin),
        stdin=open_stdin(stdin, read_by_others=taken),
    )
    return signals.run(drive.drive)


def _may_read_keys(files: Sequence[str], stdin: str | None) -> bool:
    """Whether our standard input is a terminal that nothing else is read from."""
    return stdin is None and "-" not in files and os.isatty(STDIN)


def checked(command: Sequence[str]) -> str:
    """The command as one text, joined as ssh does.

    Raises:
        UsageError: There is none.
    """
    joined = " ".join(command)
    if not joined.strip():
        raise UsageError(
            "there is no command to run", hint="it comes after the options: multirsh -f hosts.yaml uptime"
        )
    return joined


def _nobody(command: Sequence[str]) -> UsageError:
    if command[0] in SUBCOMMANDS:
        return UsageError(
            "no hosts are named",
            hint=f"if {command[0]} is meant as the subcommand, put it before its options",
        )
    return UsageError(
        "no hosts are named",
        hint="give a hosts file (-f hosts.yaml) or names (-w web1,web2), or try it out: multirsh lab uptime",
    )


def prepared(
    command: Command,
    hosts: Sequence[Host],
    *,
    connecting: Connecting,
    showing: Showing,
    bounds: Bounds,
    course: Course,
    stdin: Stdin | None = None,
    reads_keys: bool = False,
) -> Drive:
    """Make a run of what the options say: the way of every command line, the lab's too.

    Raises:
        UsageError: The options cannot be meant together, or there is nothing to run.
    """
    from multirsh.cli.drive import Drive  # noqa: PLC0415 - the engine is not needed for --help
    from multirsh.engine.limits import Limits, Timeouts  # noqa: PLC0415

    login = connecting.password()
    return Drive(
        hosts=connecting.routed(hosts),
        command=command,
        limits=Limits(
            fanout=bounds.fanout,
            ports=bounds.port_budget,
            handshakes=course.handshakes,
            start_rate=course.start_rate,
        ),
        control=course.control(),
        reads_keys=reads_keys and not course.asks,  # what is typed is the answer to --step
        timeouts=Timeouts(
            connect=bounds.connect_timeout,
            port=bounds.port_wait,
            command=bounds.command_timeout,
            run=bounds.deadline,
            kill_after=bounds.kill_after,
            close=bounds.close_timeout,
        ),
        bind_address=bounds.bind_address,
        stdin=stdin,
        sudo=None if connecting.sudo is None else Sudo(connecting.sudo),
        sudo_password=connecting.sudo_password(login),
        ssh=connecting.ssh(login),
        rsh=connecting.rsh(),
        exec_options=connecting.exec_options(),
        settings=connecting.settings(),
        output=showing.options(),
        exit_rule=ExitRule(
            largest_status=bounds.largest_status, require_remote_close=bounds.require_remote_close
        ),
    )
