"""The selection: those of the shell's hosts that the next command runs on. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from multirsh.cli.shell.line import SelectionOperator
from multirsh.errors import UsageError
from multirsh.inventory import Inventory
from multirsh.inventory.draft import GroupGraph
from multirsh.inventory.inventory import Candidates
from multirsh.inventory.nodeset import Operand, evaluate, parse
from multirsh.model import Host


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected hosts, among all hosts of the shell.

    Attributes:
        known: All hosts of the shell, and their groups.
        chosen: The selected hosts, 1 or more, in the shell's order.
    """

    known: Candidates
    chosen: tuple[Host, ...]

    @classmethod
    def of(cls, hosts: Iterable[Host], inventory: Inventory) -> Self:
        """Select all of ``hosts``; other members of their groups are not hosts of the shell."""
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
            unlisted_hint="its hosts are those that -f, -w, -x and -g selected when it was started",
        )
        return cls(known, tuple(by_name.values()))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the selected hosts."""
        return tuple(host.name for host in self.chosen)

    @property
    def is_all(self) -> bool:
        """Whether all hosts of the shell are selected."""
        return len(self.chosen) == len(self.known.hosts)

    def changed(self, operator: SelectionOperator, nodes: str) -> Self:
        """Return another selection.

        Args:
            operator: Whether ``nodes`` replace the selection, are added to it or removed from it.
            nodes: As for ``-w``; also the bare name of a group if no host has that name. Empty for all hosts.

        Raises:
            NodeSetError: ``nodes`` cannot be parsed, or names a host that is not in the shell.
            UsageError: No host would be selected.
        """
        named = self.named(nodes)
        before = set(self.names)
        match operator:
            case SelectionOperator.SET:
                return self.only(named)
            case SelectionOperator.ADD:
                return self.only(before | named)
            case SelectionOperator.REMOVE:
                return self.only(before - named)

    def only(self, names: Iterable[str]) -> Self:
        """Select the hosts of these names.

        Raises:
            UsageError: No host would be selected.
        """
        wanted = set(names)
        chosen = tuple(host for name, host in self.known.hosts.items() if name in wanted)
        if not chosen:
            raise UsageError("no host would be selected", hint="the selection stays as it was")
        return replace(self, chosen=chosen)

    def named(self, nodes: str) -> set[str]:
        """Return the names in ``nodes``, among all hosts of the shell.

        Raises:
            NodeSetError: ``nodes`` cannot be parsed, or names a host that is not in the shell.
        """
        if not nodes:
            return set(self.known.hosts)
        if nodes in self.known.graph.groups and nodes not in self.known.hosts:
            nodes = f"@{nodes}"
        return set(evaluate(parse(nodes, source="the selection"), self._names_of))

    def _names_of(self, operand: Operand) -> Iterable[str]:
        if operand.user is not None or operand.port is not None:
            raise operand.text.error(
                "users and ports cannot be changed within the shell", hint="name them when you start it"
            )
        return self.known.names_of(operand)
