"""The options that subcommands share, and the values they become.

One decorator a group of options, in the order of ``--help``. Each option has
its ``MULTIRSH_*`` variable; flags win over those, and those over config.toml.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from multirsh.inventory import Inventory
from multirsh.model import Host, HostKeyPolicy, TransportName
from multirsh.output import When

Taken = TypeVar("Taken")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_MOST_PORTS: Final = 65535
CONFIGURABLE: dict[str, str] = {}
"""Key in config.toml → click's parameter name."""


def option(*names: str, configurable: bool = True, **settings: Any) -> Callable[[Decorated], Decorated]:
    """Declare an option with its environment variable and its key in config.toml."""
    long_names = [name for name in names if name.startswith("--")]
    key = (long_names[0] if long_names else names[0]).lstrip("-")
    if configurable:
        parameter = next((name for name in names if not name.startswith("-")), key).replace("-", "_")
        CONFIGURABLE[key] = parameter
        settings.setdefault("envvar", f"MULTIRSH_{key.replace('-', '_').upper()}")
    return click.option(*names, **settings)


def _together(*decorators: Callable[[Decorated], Decorated]) -> Callable[[Decorated], Decorated]:
    def decorate(function: Decorated) -> Decorated:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def _seconds(*, least: float = 0.0) -> click.FloatRange:
    return click.FloatRange(min=least, min_open=True)


FILES = option(
    "-f", "--file", "files", multiple=True, metavar="FILE", help="Hosts file; '-' is standard input."
)

CHOICE = _together(
    option(
        "-w",
        "--nodes",
        multiple=True,
        metavar="NODES",
        configurable=False,
        help="These: web[01-12],db[1-9/2],@group,web*; with ! for less, & for both, ^ for either.",
    ),
    option("-x", "--exclude", multiple=True, metavar="NODES", help="Not these."),
    option(
        "-g",
        "--group",
        "groups",
        multiple=True,
        metavar="GROUP",
        configurable=False,
        help="The hosts of a group.",
    ),
    option(
        "-a",
        "--all",
        "everything",
        is_flag=True,
        configurable=False,
        help="All hosts of the file (the default).",
    ),
    option(
        "--pick", type=click.IntRange(min=1), metavar="N", configurable=False, help="N of them, at random."
    ),
)

CONNECTION = _together(
    option("-l", "--user", metavar="USER", help="Log in as USER."),
    option("-p", "--port", type=click.IntRange(1, _MOST_PORTS), metavar="PORT", help="Connect to PORT."),
    option("-i", "--identity", metavar="KEY", help="Log in with this private key."),
    option("-J", "--jump", metavar="JUMP", help="Go through [user@]host[:port][,...]."),
    option("-F", "--ssh-config", metavar="FILE", help="Read this ssh_config only; 'none' reads none."),
    option(
        "-o", "--ssh-option", "ssh_options", multiple=True, metavar="K=V", help="An option of ssh_config."
    ),
    option(
        "-R",
        "--transport",
        type=click.Choice([name.value for name in TransportName]),
        help="How to reach hosts.  [default: ssh]",
    ),
    option(
        "--host-keys",
        type=click.Choice([policy.value for policy in HostKeyPolicy]),
        help="What to do with unknown host keys.  [default: ssh_config's StrictHostKeyChecking, else strict]",
    ),
    option(
        "-A", "--forward-agent", is_flag=True, configurable=False, help="Let the hosts use your ssh agent."
    ),
    option("--ask-pass", is_flag=True, help="Ask for the login password, once."),
    option(
        "--password-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Its first line is the password.",
    ),
    option("--password-command", metavar="CMD", help="The first line that CMD prints is the password."),
)

RUNNING = _together(
    option(
        "-j",
        "--fanout",
        type=click.IntRange(min=1),
        default=64,
        show_default=True,
        metavar="N",
        help="Hosts in flight at once.",
    ),
    option(
        "-t",
        "--connect-timeout",
        type=_seconds(),
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help="From the name's look-up to logged in.",
    ),
    option("-u", "--command-timeout", type=_seconds(), metavar="SECONDS", help="The time of one command."),
)

OUTPUT = _together(
    option("-N", "--no-prefix", is_flag=True, help="Lines without host names."),
    option("--json", "as_json", is_flag=True, help="NDJSON events on stdout."),
    option("-q", "--quiet", is_flag=True, help="Only errors, and the hosts that are not ok."),
    option(
        "--progress",
        type=click.Choice([when.value for when in When]),
        default="auto",
        help="A progress line.",
    ),
    option("--color", type=click.Choice([when.value for when in When]), default="auto", help="Colours."),
)

CLOSING = _together(
    option(
        "--close-timeout",
        type=_seconds(),
        default=3.0,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for a remote to close, before its connection is reset.",
    ),
    option(
        "--require-remote-close",
        is_flag=True,
        help="Fail the run if a connection was not closed by the remote.",
    ),
)

EXITING = option("-S", "--largest-status", is_flag=True, help="Exit with the largest remote status.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which of the hosts; the fields are the options."""

    nodes: tuple[str, ...]
    exclude: tuple[str, ...]
    groups: tuple[str, ...]
    everything: bool
    pick: int | None

    def hosts(self, inventory: Inventory) -> tuple[Host, ...]:
        """The chosen hosts.

        Raises:
            InventoryError: An expression, with its place.
            UsageError: Nobody is chosen, or there is nothing to choose from.
        """
        return inventory.select(
            nodes=self.nodes,
            exclude=self.exclude,
            groups=self.groups,
            everything=self.everything,
            pick=self.pick,
        )


def read_inventory(files: Sequence[str]) -> Inventory:
    """Read the hosts files; ``-`` is our standard input.

    Raises:
        InventoryError: A file, with the place in it.
    """
    return Inventory.load(*files, stdin=sys.stdin.buffer)


def take(kind: type[Taken], parameters: dict[str, Any]) -> Taken:
    """Make a ``kind``, a dataclass, of its fields among ``parameters``, and take those out."""
    return kind(**{field.name: parameters.pop(field.name) for field in fields(kind)})  # type: ignore[arg-type]  # checked by fields() itself
