"""Which subcommand is meant; each is imported only when it is.

``multirsh uptime`` and ``multirsh -f hosts.yaml uptime`` are ``run``, the
default. ``--help`` must be quick, so nothing here imports what a run needs.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from multirsh.cli.config_file import read_defaults
from multirsh.errors import MultirshError
from multirsh.exit_code import SIGNAL_BASE, ExitCode
from multirsh.version import __version__

DEFAULT: Final = "run"

SUBCOMMANDS: Final = {
    DEFAULT: ("multirsh.cli.run", "run"),
    "hosts": ("multirsh.cli.hosts", "hosts"),
    "lab": ("multirsh.cli.lab", "lab"),
}
"""Name → module and attribute."""


class DefaultGroup(click.Group):
    """A group whose first word may be left out when it is ``run``."""

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
        """Put ``run`` in front unless the first word is a subcommand, or asks about multirsh itself."""
        if args and args[0] not in SUBCOMMANDS and args[0] not in {"--help", "--version"}:
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the options of ``run``, which is what most people look for, then the subcommands."""
        run = self.get_command(ctx, DEFAULT)
        if run is not None:
            run.format_options(click.Context(run, info_name=DEFAULT, parent=ctx), formatter)
        self.format_commands(ctx, formatter)


@click.group(
    cls=DefaultGroup,
    context_settings={"help_option_names": ["--help"], "max_content_width": 100},
    options_metavar="[run] [OPTIONS]",
    subcommand_metavar="COMMAND [ARG]...",
)
@click.version_option(__version__, prog_name="multirsh")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Run COMMAND on many hosts at once.

    \b
      multirsh -f hosts.yaml uptime             on every host of a file
      multirsh -w 'web[01-12],db1' uptime       on hosts named here
      multirsh -f hosts.yaml -g web -- ls -l    on a group
      multirsh lab uptime                       on a practice fleet on this machine

    Lines come as they are written, each with its host's name; at the end, the hosts that failed, by reason.
    Every connection is closed by the remote end first, so that no local port is left in TIME_WAIT.
    """  # noqa: D301 - click reads the backspace
    ctx.default_map = read_defaults(SUBCOMMANDS)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    try:
        code = group.main(args=args, prog_name="multirsh", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except MultirshError as error:
        click.echo(f"multirsh: {error}", err=True)
        sys.exit(ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(SIGNAL_BASE + signal.SIGINT)
    sys.exit(_as_code(code))


def _as_code(value: Any) -> int:
    return value if isinstance(value, int) else 0
