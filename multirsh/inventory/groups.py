"""Groups and who is in them: a graph without cycles.

Members are looked up when asked for, not stored: a chain of nested groups over
a large fleet would otherwise hold the fleet once for each link.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Group:
    """A group as it was written.

    Attributes:
        name: Its name, without ``@``.
        hosts: Names of the hosts listed in it itself, in the order written.
        groups: Names of the groups inside it.
    """

    name: str
    hosts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupGraph:
    """All groups of an inventory. Names in them are known, and nothing contains itself.

    Attributes:
        groups: By name, in the order written.
        parents: By a group's name, the groups that list it, in the order written.
        listed_in: By a host's name, the groups that list it themselves, in the order written;
            hosts in no group are absent. Equal tuples are one object.
    """

    groups: Mapping[str, Group] = field(default_factory=dict)
    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    listed_in: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, groups: Iterable[Group]) -> GroupGraph:
        """Index groups that are known to have no cycle and no unknown name."""
        by_name = {group.name: group for group in groups}
        parents: dict[str, list[str]] = {}
        listed_in: dict[str, tuple[str, ...]] = {}
        longer: dict[tuple[tuple[str, ...], str], tuple[str, ...]] = {}
        for group in by_name.values():
            for child in group.groups:
                parents.setdefault(child, []).append(group.name)
            for host in group.hosts:
                shorter = listed_in.get(host, ())
                if (shorter, group.name) not in longer:
                    longer[shorter, group.name] = (*shorter, group.name)
                listed_in[host] = longer[shorter, group.name]
        return cls(by_name, {child: tuple(names) for child, names in parents.items()}, listed_in)

    def hosts_of(self, name: str) -> Iterator[str]:
        """The hosts of a group and of all groups inside it; a host may come more than once.

        Raises:
            KeyError: There is no such group.
        """
        pending = [name]
        seen = {name}
        while pending:
            group = self.groups[pending.pop()]
            yield from group.hosts
            inner = [child for child in group.groups if child not in seen]
            seen.update(inner)
            pending.extend(reversed(inner))

    def levels(self, names: Iterable[str]) -> Iterator[tuple[str, ...]]:
        """Groups by distance, nearest first: ``names``, then those that list them, and so on upwards.

        A group that can be reached by two ways is as far as the shorter one.
        """
        level = tuple(names)
        seen = set(level)
        while level:
            yield level
            above = dict.fromkeys(parent for name in level for parent in self.parents.get(name, ()))
            level = tuple(name for name in above if name not in seen)
            seen.update(level)

    def groups_of(self, host: str) -> tuple[str, ...]:
        """All groups a host is in, nearest first; empty for a host in none."""
        return tuple(name for level in self.levels(self.listed_in.get(host, ())) for name in level)


NO_GROUPS: Final = GroupGraph()
