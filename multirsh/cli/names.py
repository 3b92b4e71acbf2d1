"""The subcommands and where they live, and the names that are no subcommand's."""

from __future__ import annotations

from typing import Final

DEFAULT: Final = "run"
"""The subcommand that is meant where none is named."""

SUBCOMMANDS: Final = {
    DEFAULT: ("multirsh.cli.run", "run"),
    "hosts": ("multirsh.cli.hosts", "hosts"),
    "lab": ("multirsh.cli.lab", "lab"),
    "script": ("multirsh.cli.script", "script"),
    "runs": ("multirsh.cli.runs", "runs"),
    "ports": ("multirsh.cli.ports", "ports"),
    "push": ("multirsh.cli.copying", "push"),
    "pull": ("multirsh.cli.copying", "pull"),
    "shell": ("multirsh.cli.shell.command", "shell"),
}
"""Name → module and attribute."""

HELP_NAMES: Final = ("-h", "--help")
