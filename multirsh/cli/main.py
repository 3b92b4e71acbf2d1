"""Which subcommand is meant; each is imported only when it is.

``multirsh uptime`` and ``multirsh -f hosts.yaml uptime`` are ``run``, the
default (``first_word``). ``--help`` must be quick, so nothing here imports what a run needs.
"""

from __future__ import annotations

import difflib
import importlib
import signal
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

import click
from click.core import ParameterSource

from multirsh.cli.options.declare import read_defaults
from multirsh.cli.process import ReaderGone, abandon_stdout, fill_closed, print_err
from multirsh.cli.syntax import (
    DEFAULT,
    HELP_NAMES,
    SUBCOMMANDS,
    Setting,
    with_subcommand_first,
    write_options,
)
from multirsh.errors import MultirshError
from multirsh.exit_code import SIGNAL_BASE, ExitCode
from multirsh.shortage import NO_MEMORY
from multirsh.version import __version__

EXIT_CODES: Final = (
    ("0", "All hosts are ok."),
    ("1", "multirsh itself failed."),
    ("2", "Nothing was run: an option, hosts file or selection is wrong."),
    ("3", "A host timed out or was lost: its command may still be running."),
    ("4", "A host could not be reached or logged in to."),
    ("5", "A command failed."),
    ("6", "The run was stopped early."),
    ("128+N", "Signal N ended the run: 130 for Ctrl-C."),
)
"""For ``--help``. If several apply, the first of 128+N, 1, 6, 3, 4, 5 wins (``multirsh.exit_code``)."""

_ABOUT_US: Final = frozenset({*HELP_NAMES, "--version"})


class DefaultGroup(click.Group):
    """A command group that accepts options before the subcommand; the default subcommand is ``run``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The subcommands, the default first."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Load a subcommand."""
        if cmd_name not in SUBCOMMANDS:
            return None
        module, attribute = SUBCOMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move the subcommand to the front, unless the first word is an option of multirsh itself."""
        if args and args[0] not in _ABOUT_US:
            args = with_subcommand_first(args, partial(self._load, ctx))
        return super().parse_args(ctx, args)

    def _load(self, ctx: click.Context, name: str) -> click.Command:
        command = self.get_command(ctx, name)
        if command is None:
            raise AssertionError(f"{name} is no subcommand")
        return command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the options of ``run``, which most users look for, then the subcommands."""
        run = self.get_command(ctx, DEFAULT)
        if run is not None:
            write_options([*run.params, *self.get_params(ctx)], ctx, formatter)
        self.format_commands(ctx, formatter)
        with formatter.section("Exit codes"):
            formatter.write_dl(EXIT_CODES)


@click.group(
    cls=DefaultGroup,
    context_settings={"help_option_names": HELP_NAMES, "max_content_width": 100},
    options_metavar="[run] [OPTIONS]",
    subcommand_metavar="COMMAND [ARG]...",
)
@click.version_option(__version__, prog_name="multirsh", message="%(prog)s %(version)s")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Run COMMAND on many hosts at once.

    \b
      multirsh -f hosts.yaml uptime             on every host of a file
      multirsh -w 'web[01-12],db1' uptime       on hosts named here
      multirsh -f hosts.yaml -g web -- ls -l    on a group
      multirsh lab uptime                       on practice servers, started here

    Lines are printed as they arrive, each with its host's name; a summary lists failed hosts by reason. Every
    connection is closed by the remote end first, so that no local port is left in TIME_WAIT.
    """  # noqa: D301 - click reads the backspace
    ctx.default_map = read_defaults(SUBCOMMANDS)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    fill_closed()
    # It shows the status of a run (cli.signals); before and after the run, it must not end this process.
    signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    code = _run(args)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # Python drops handlers before the process ends
    sys.exit(code)


def _run(args: Sequence[str] | None) -> int:
    try:
        code = group.main(args=args, prog_name="multirsh", standalone_mode=False)
    except click.ClickException as error:
        return _refuse(error)
    except MultirshError as error:
        return _complain(str(error), ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        return SIGNAL_BASE + signal.SIGINT
    except ReaderGone:
        return SIGNAL_BASE + signal.SIGPIPE
    except MemoryError:
        return _complain(NO_MEMORY, ExitCode.INTERNAL)
    except BaseExceptionGroup as errors:
        if errors.split(MemoryError)[1] is not None:
            raise
        return _complain(NO_MEMORY, ExitCode.INTERNAL)
    except OSError as error:
        abandon_stdout()
        reason = error.strerror or str(error)
        return _complain(f"{error.filename}: {reason}" if error.filename else reason, ExitCode.INTERNAL)
    return code if isinstance(code, int) else ExitCode.OK


def _refuse(error: click.ClickException) -> int:
    if not isinstance(error, click.exceptions.NoArgsIsHelpError):
        return _complain(worded(error), ExitCode.USAGE)
    for line in error.format_message().splitlines():
        print_err(line)
    return ExitCode.USAGE


def _complain(message: str, code: ExitCode) -> int:
    print_err(f"multirsh: {message}")
    return code


_LIKENESS: Final = 0.6
"""The least similarity (difflib's ratio) of a spelling that is suggested; below, suggestions are noise."""


def worded(error: click.ClickException) -> str:
    """Return an error of click's in one line: the option as users write it, and what to do about it."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    see = "see multirsh --help" if ctx is None else f"see {_path(ctx)} --help"
    match error:
        case click.NoSuchOption():
            near = _near(error)
            return f"there is no option {error.option_name}; {f'did you mean {near}?' if near else see}"
        case click.BadParameter() if error.param is not None and error.message:
            return f"{_source(error.param, error.ctx)}: {error.message.rstrip('.')}"
        case _:
            message = error.format_message().rstrip(".")
            return f"{message[:1].lower()}{message[1:]}; {see}"


def _path(ctx: click.Context) -> str:
    """Return the command as users write it: ``run`` may be left out."""
    return ctx.command_path.removesuffix(" run")


def _near(error: click.NoSuchOption) -> str | None:
    if error.ctx is None:
        return None
    names = {
        name.lstrip("-"): name
        for parameter in error.ctx.command.params
        for name in parameter.opts
        if name.startswith("--") and not isinstance(parameter, Setting)
    }
    found = difflib.get_close_matches(error.option_name.lstrip("-"), names, n=1, cutoff=_LIKENESS)
    return names[found[0]] if found else None


def _source(parameter: click.Parameter, ctx: click.Context | None) -> str:
    """Return the option or the environment variable that the wrong value comes from."""
    from_environment = (
        ctx is not None
        and parameter.name is not None
        and ctx.get_parameter_source(parameter.name) is ParameterSource.ENVIRONMENT
    )
    if from_environment and isinstance(parameter.envvar, str):
        return parameter.envvar
    if isinstance(parameter, click.Argument):
        return (parameter.name or "").upper()
    return "/".join(parameter.opts)
