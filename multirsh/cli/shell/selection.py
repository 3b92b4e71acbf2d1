"""Whom the next command is for, among the hosts that the shell was started with. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from multirsh.cli.shell.line import Change
from multirsh.errors import UsageError
from multirsh.inventory import Inventory
from multirsh.inventory.draft import GroupGraph
from multirsh.inventory.inventory import Candidates
from multirsh.inventory.nodeset import Operand, evaluate, parse
from multirsh.model import Host


@dataclass(frozen=True, slots=True)
class Selection:
    """Some of the shell's hosts.

    Attributes:
        known: All hosts of the shell, and the groups they are in.
        chosen: Those that are selected, 1 or more, in the shell's order.
    """

    known: Candidates
    chosen: tuple[Host, ...]

    @classmethod
    def of(cls, hosts: Iterable[Host], inventory: Inventory) -> Self:
        """Select all of ``hosts``; groups have no other members here."""
        by_name = {host.name: host for host in hosts}
        groups = [
            replace(group, hosts=tuple(name for name in group.hosts if name in by_name))
            for group in inventory.groups.values()
        ]
        known = Candidates(
            by_name,
            GroupGraph.of(groups),
            "the hosts of this shell",
            is_listed=bool(groups),
            unlisted_hint="they are those that its options have named: -f, -w, -x, -g",
        )
        return cls(known, tuple(by_name.values()))

    @property
    def names(self) -> tuple[str, ...]:
        """Of those that are selected."""
        return tuple(host.name for host in self.chosen)

    @property
    def is_all(self) -> bool:
        """Whether that is everybody."""
        return len(self.chosen) == len(self.known.hosts)

    def changed(self, change: Change, nodes: str) -> Self:
        """Select others.

        Args:
            change: What becomes of those that are selected.
            nodes: What ``-w`` takes; a group's bare name, too, where no host is called so. Empty for all.

        Raises:
            NodeSetError: It cannot be read, or names who is not there.
            UsageError: Nobody would be left.
        """
        named = self.named(nodes)
        before = set(self.names)
        match change:
            case Change.SET:
                return self.only(named)
            case Change.ADD:
                return self.only(before | named)
            case Change.DROP:
                return self.only(before - named)

    def only(self, names: Iterable[str]) -> Self:
        """Select these.

        Raises:
            UsageError: They are none.
        """
        wanted = set(names)
        chosen = tuple(host for name, host in self.known.hosts.items() if name in wanted)
        if not chosen:
            raise UsageError("no host would be selected", hint="the selection stays as it was")
        return replace(self, chosen=chosen)

    def named(self, nodes: str) -> set[str]:
        """The names that ``nodes`` stands for, of all hosts of the shell.

        Raises:
            NodeSetError: It cannot be read, or names who is not there.
        """
        if not nodes:
            return set(self.known.hosts)
        if nodes in self.known.graph.groups and nodes not in self.known.hosts:
            nodes = f"@{nodes}"
        return set(evaluate(parse(nodes, source="the selection"), self._names_of))

    def _names_of(self, operand: Operand) -> Iterable[str]:
        if operand.user is not None or operand.port is not None:
            raise operand.text.error(
                "the shell is logged in already", hint="a user and a port are given when it is started"
            )
        return self.known.names_of(operand)
