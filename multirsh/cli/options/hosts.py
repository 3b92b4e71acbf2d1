"""Which hosts: ``-f``, ``-w`` and what goes with them."""

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
        "--missing-ok", is_flag=True, help="Names that are excluded need not be in the files, or in -w."
    ),
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
class HostSelection:
    """Which of the hosts; the fields are the options."""

    nodes: tuple[str, ...]
    exclude: tuple[str, ...]
    groups: tuple[str, ...]
    everything: bool
    pick: int | None
    missing_ok: bool

    def warn_of_expansion(self, words: Sequence[str] = ()) -> None:
        """Warn of values that a shell seems to have made of a pattern without quotes.

        Where there are files ``web1`` and ``web2``, ``-w web[1-3]`` arrives as ``-w web1 web2``: web3 is left
        out, and web2 is the command.

        Args:
            words: Of the command.
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
        """Whether ``-w`` says as which user, or at which port, hosts are entered.

        Raises:
            NodeSetError: An expression cannot be read.
        """
        operands = [term.operand for text in self.nodes for term in parse(text)]
        return any(operand.user is not None or operand.port is not None for operand in operands)

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
            all_hosts=self.everything,
            pick=self.pick,
            missing_ok=self.missing_ok,
        )


def warn_of_expanded_files(files: Sequence[str], words: Sequence[str]) -> None:
    """Warn where a command begins with more hosts files: ``-f lists/*`` without quotes names the first alone.

    Args:
        files: Values of ``-f``.
        words: Of the command.
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
    """Whether a file of the current folder has this name."""
    return "/" not in word and word not in {"", ".", ".."} and os.path.lexists(word)


def read_inventory(files: Sequence[str]) -> Inventory:
    """Read the hosts files; ``-`` is our standard input.

    Raises:
        InventoryError: A file, with the place in it.
    """
    with open(STDIN, "rb", closefd=False) as stdin:
        return Inventory.load(*files, stdin=stdin)
