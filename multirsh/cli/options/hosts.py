"""Which hosts are selected: ``-f``, ``-w`` and the like."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
from click.core import ParameterSource

from multirsh.cli import values
from multirsh.cli.options.declare import option, together
from multirsh.cli.process import STDIN, print_err
from multirsh.inventory import Inventory
from multirsh.inventory.inventory import SHOWN
from multirsh.inventory.nodeset import parse
from multirsh.model import Host

_of_hosts = partial(option, section="Hosts")

FILES = _of_hosts(
    "-f",
    "--file",
    "files",
    type=click.Path(),
    multiple=True,
    metavar="FILE",
    help="Read hosts from FILE: YAML, or one host per line; '-' reads standard input. Repeatable.",
)

CHOICE = together(
    _of_hosts(
        "-w",
        "--nodes",
        multiple=True,
        metavar="NODES",
        configurable=False,
        help="Select these hosts: web[01-12],db[1-9/2],@group,web*; with ! for difference, & for "
        "intersection, ^ for symmetric difference. Without -f, any host can be named.",
    ),
    _of_hosts("-x", "--exclude", multiple=True, metavar="NODES", help="Exclude these hosts."),
    _of_hosts(
        "--missing-ok", is_flag=True, help="Ignore excluded names that are neither in the files nor in -w."
    ),
    _of_hosts(
        "-g",
        "--group",
        "groups",
        multiple=True,
        metavar="GROUP",
        configurable=False,
        help="Select the hosts of a group.",
    ),
    _of_hosts(
        "-a",
        "--all",
        "everything",
        is_flag=True,
        configurable=False,
        help="Select all hosts of the files, as without -w and -g.",
    ),
    _of_hosts(
        "--pick", type=values.count, metavar="N", configurable=False, help="Select N of them at random."
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSelection:
    """Which hosts are selected; the fields are the options."""

    nodes: tuple[str, ...]
    exclude: tuple[str, ...]
    groups: tuple[str, ...]
    everything: bool
    pick: int | None
    missing_ok: bool

    def warn_of_expansion(self, words: Sequence[str] = ()) -> None:
        """Warn of values that a shell seems to have expanded from a pattern without quotes.

        If files ``web1`` and ``web2`` exist, ``-w web[1-3]`` arrives as ``-w web1 web2``: web3 is left out,
        and web2 is the command.

        Args:
            words: The words of the command.
        """
        given = {"-w": self.nodes, "-g": self.groups}
        context = click.get_current_context(silent=True)
        if context is None or context.get_parameter_source("exclude") is ParameterSource.COMMANDLINE:
            given["-x"] = self.exclude
        for name, values_given in given.items():
            for value in values_given:
                if _is_here(value):
                    more = list(itertools.takewhile(_is_here, words))
                    after = f", and so are the words after it: {' '.join(more[:SHOWN])}" if more else ""
                    print_err(
                        f"multirsh: warning: {name} {value} is the name of a file here{after}; if the shell"
                        f" has made it of a pattern, quote that, as in {name} 'web[1-3]'"
                    )

    @property
    def sets_login(self) -> bool:
        """Whether ``-w`` gives a user or a port.

        Raises:
            NodeSetError: An expression is invalid.
        """
        operands = [term.operand for text in self.nodes for term in parse(text)]
        return any(operand.user is not None or operand.port is not None for operand in operands)

    @property
    def is_empty(self) -> bool:
        """Whether no hosts are named."""
        return not (self.nodes or self.groups or self.everything)

    def hosts(self, inventory: Inventory) -> tuple[Host, ...]:
        """Return the selected hosts.

        Raises:
            InventoryError: An expression is invalid; the error says where.
            UsageError: No host is selected, or there are none to select from.
        """
        return inventory.select(
            nodes=self.nodes,
            exclude=self.exclude,
            groups=self.groups,
            all_hosts=self.everything,
            pick=self.pick,
            missing_ok=self.missing_ok,
        )


def warn_of_expanded_files(files: Sequence[str], words: Sequence[str]) -> None:
    """Warn of a command that begins with hosts files: ``-f lists/*`` without quotes names only the first.

    Args:
        files: The values of ``-f``.
        words: The words of the command.
    """
    if not (files and words and os.path.lexists(words[0])):
        return
    kinds = [(Path(word).parent, Path(word).suffix) for word in (files[-1], words[0])]
    if kinds[0] == kinds[1] and kinds[0] != (Path(), ""):
        print_err(
            f"multirsh: warning: the command begins with {words[0]}, a file beside {files[-1]}; if the shell"
            " has made both of a pattern, give each file an -f of its own"
        )


def _is_here(word: str) -> bool:
    """Whether the current directory has a file of this name."""
    return "/" not in word and word not in {"", ".", ".."} and os.path.lexists(word)


def read_inventory(files: Sequence[str]) -> Inventory:
    """Read the hosts files; ``-`` is our standard input.

    Raises:
        InventoryError: A file is invalid; the error says where.
    """
    with open(STDIN, "rb", closefd=False) as stdin:
        return Inventory.load(*files, stdin=stdin)
