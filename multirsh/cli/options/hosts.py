"""Which hosts: ``-f``, ``-w`` and what goes with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import click

from multirsh.cli import values
from multirsh.cli.descriptors import STDIN
from multirsh.cli.options.declare import option, together
from multirsh.inventory import Inventory
from multirsh.model import Host

_of_hosts = partial(option, section="Hosts")

FILES = _of_hosts(
    "-f",
    "--file",
    "files",
    type=click.Path(),
    multiple=True,
    metavar="FILE",
    help="Hosts file: YAML, or one host a line; '-' is standard input. Repeatable.",
)

CHOICE = together(
    _of_hosts(
        "-w",
        "--nodes",
        multiple=True,
        metavar="NODES",
        configurable=False,
        help="These hosts: web[01-12],db[1-9/2],@group,web*; with ! for less, & for both, ^ for either. "
        "Without -f, any host.",
    ),
    _of_hosts("-x", "--exclude", multiple=True, metavar="NODES", help="Not these."),
    _of_hosts(
        "-g",
        "--group",
        "groups",
        multiple=True,
        metavar="GROUP",
        configurable=False,
        help="The hosts of a group.",
    ),
    _of_hosts(
        "-a",
        "--all",
        "everything",
        is_flag=True,
        configurable=False,
        help="All hosts of the file, as without -w and -g.",
    ),
    _of_hosts("--pick", type=values.count, metavar="N", configurable=False, help="N of them, at random."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which of the hosts; the fields are the options."""

    nodes: tuple[str, ...]
    exclude: tuple[str, ...]
    groups: tuple[str, ...]
    everything: bool
    pick: int | None

    @property
    def is_empty(self) -> bool:
        """Whether nobody is named."""
        return not (self.nodes or self.groups or self.everything)

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
    with open(STDIN, "rb", closefd=False) as stdin:
        return Inventory.load(*files, stdin=stdin)
