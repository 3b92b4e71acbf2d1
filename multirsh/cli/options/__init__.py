"""The options that subcommands share, and the values they become.

One decorator a group of options, in the order of ``--help``. Each option has
its ``MULTIRSH_*`` variable; flags win over those, and those over config.toml.
"""

from multirsh.cli.options.command import CONTEXT, INPUT, TTY, CommandOptions, StdinOptions
from multirsh.cli.options.connection import CONNECTION, COPY_CONNECTION, ConnectionOptions
from multirsh.cli.options.declare import CONFIGURABLE, option, take, take_run_options
from multirsh.cli.options.hosts import CHOICE, FILES, HostSelection, read_inventory, warn_of_expanded_files
from multirsh.cli.options.output import (
    COLOR,
    COMPARED_OUTPUT,
    COPY_OUTPUT,
    OUTPUT,
    RECORDED_OUTPUT,
    REPORTED_OUTPUT,
    SHELL_OUTPUT,
    DisplayOptions,
)
from multirsh.cli.options.record import AGAIN, RECORD, SETTLED_LIMITS, JournalOptions
from multirsh.cli.options.run import CLOSING, COURSE, NO_PAUSES, RUNNING, Pauses

__all__ = [
    "AGAIN",
    "CHOICE",
    "CLOSING",
    "COLOR",
    "COMPARED_OUTPUT",
    "CONFIGURABLE",
    "CONNECTION",
    "CONTEXT",
    "COPY_CONNECTION",
    "COPY_OUTPUT",
    "COURSE",
    "FILES",
    "INPUT",
    "NO_PAUSES",
    "OUTPUT",
    "RECORD",
    "RECORDED_OUTPUT",
    "REPORTED_OUTPUT",
    "RUNNING",
    "SETTLED_LIMITS",
    "SHELL_OUTPUT",
    "TTY",
    "CommandOptions",
    "ConnectionOptions",
    "DisplayOptions",
    "HostSelection",
    "JournalOptions",
    "Pauses",
    "StdinOptions",
    "option",
    "read_inventory",
    "take",
    "take_run_options",
    "warn_of_expanded_files",
]
