"""The hosts and groups there are, as a value to select from."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from multirsh.inventory.groups import NO_GROUPS, Group, GroupGraph
from multirsh.inventory.selection import Known, Wish, select_listed, select_unlisted
from multirsh.model import Host


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Inventory:
    """What the hosts files say; without any, names in ``-w`` are hosts as they are.

    Attributes:
        hosts: By name, in the order of the files. Hosts with equal settings share one ``Settings``.
        graph: The groups and who is in them.
        sources: The files it was read from, in order; empty for no file.
    """

    hosts: Mapping[str, Host] = field(default_factory=dict)
    graph: GroupGraph = NO_GROUPS
    sources: tuple[str, ...] = ()

    def __repr__(self) -> str:
        files = ", ".join(self.sources) or "no file"
        return f"<Inventory of {len(self.hosts)} hosts and {len(self.groups)} groups from {files}>"

    @property
    def groups(self) -> Mapping[str, Group]:
        """The groups as written, by name, in the order of the files."""
        return self.graph.groups

    def groups_of(self, host: str) -> tuple[str, ...]:
        """All groups a host is in, nearest first; none for a host that is not listed."""
        return self.graph.groups_of(host)

    def members(self, group: str) -> tuple[Host, ...]:
        """The hosts of a group and of the groups inside it, each once, in the order of the files.

        Raises:
            KeyError: There is no such group.
        """
        names = set(self.graph.hosts_of(group))
        return tuple(host for name, host in self.hosts.items() if name in names)

    def select(
        self,
        *,
        nodes: Sequence[str] = (),
        exclude: Sequence[str] = (),
        groups: Sequence[str] = (),
        everything: bool = False,
        pick: int | None = None,
        rng: random.Random | None = None,
    ) -> tuple[Host, ...]:
        """Select hosts as the command line's options do.

        Args:
            nodes: Values of ``-w``, such as ``["web[01-12]!web03", "@db"]``; they add up.
            exclude: Values of ``-x``.
            groups: Values of ``-g``.
            everything: ``-a``. With a file it is also what no ``-w`` and no ``-g`` means.
            pick: Of those, so many at random.
            rng: Source of chance for ``pick``; the system's by default.

        Returns:
            At least one host: in the order of the files or, without a file, of mention.

        Raises:
            NodeSetError: An expression cannot be read, or names what is not there.
            UsageError: The options cannot be meant so, or nothing is selected.
        """
        wish = Wish(nodes=nodes, exclude=exclude, groups=groups, everything=everything, pick=pick)
        if not self.sources:
            return select_unlisted(wish, rng=rng)
        return select_listed(
            wish, Known(self.hosts, self.graph, " ".join(self.sources), is_listed=True), rng=rng
        )
