"""The hosts and groups there are, as a value to select from."""

from __future__ import annotations

import contextlib
import gc
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Self

from multirsh.arguments import check_argument, check_call
from multirsh.inventory.files import read_files
from multirsh.inventory.groups import NO_GROUPS, Group, GroupGraph
from multirsh.inventory.resolve import resolve
from multirsh.inventory.selection import Known, Wish, select_listed, select_unlisted
from multirsh.model import Host


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Inventory:
    """What the hosts files say; without any, names in ``-w`` are hosts as they are.

    Attributes:
        by_name: The hosts by name, in the order of the files. Equal settings are one object.
        graph: The groups and who is in them.
        sources: The files it was read from, in order; empty for no file.
    """

    by_name: Mapping[str, Host] = field(default_factory=dict)
    graph: GroupGraph = NO_GROUPS
    sources: tuple[str, ...] = ()

    @classmethod
    def load(cls, *paths: str | os.PathLike[str], stdin: BinaryIO | None = None) -> Self:
        """Read hosts files into one inventory.

        Args:
            paths: YAML files or plain lists, in order; ``-`` is ``stdin``. None gives an inventory
                whose ``select`` takes the names it is given as they are.
            stdin: What ``-`` reads, to its end.

        Returns:
            The inventory.

        Raises:
            InventoryError: A file cannot be read, or what it says cannot be meant.
            UsageError: ``-`` is given twice, or without ``stdin``.
        """
        for path in paths:
            check_argument("paths", path, str | os.PathLike[str])
        if not paths:
            return cls()
        with _collector_paused():
            draft = read_files(*paths, stdin=stdin)
            by_name, graph = resolve(draft)
        return cls(by_name=by_name, graph=graph, sources=tuple(draft.sources))

    def __repr__(self) -> str:
        files = ", ".join(self.sources) or "no file"
        return f"<Inventory of {len(self.by_name)} hosts and {len(self.groups)} groups from {files}>"

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, in the order of the files."""
        return tuple(self.by_name.values())

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
        return tuple(host for name, host in self.by_name.items() if name in names)

    def select(
        self,
        nodes: str | Sequence[str] = (),
        *,
        exclude: str | Sequence[str] = (),
        groups: str | Sequence[str] = (),
        everything: bool = False,
        pick: int | None = None,
        missing_ok: bool = False,
        rng: random.Random | None = None,
    ) -> tuple[Host, ...]:
        """Select hosts as the command line's options do.

        Args:
            nodes: What ``-w`` takes, such as ``"web[01-12]!web03"``; several add up.
            exclude: What ``-x`` takes, one or several.
            groups: What ``-g`` takes, one or several.
            everything: ``-a``. With a file it is also what no ``nodes`` and no ``groups`` means.
            pick: Of those, so many at random.
            missing_ok: Whether names that are excluded need not be there.
            rng: Source of chance for ``pick``; the system's by default.

        Returns:
            At least one host: in the order of the files or, without a file, of mention.

        Raises:
            NodeSetError: An expression cannot be read, or names what is not there.
            UsageError: The options cannot be meant so, or nothing is selected.
        """
        check_call(Inventory.select, locals())
        wish = Wish(
            nodes=_several(nodes),
            exclude=_several(exclude),
            groups=_several(groups),
            everything=everything,
            pick=pick,
            missing_ok=missing_ok,
        )
        if not self.sources:
            return select_unlisted(wish, rng=rng)
        known = Known(self.by_name, self.graph, " ".join(self.sources), is_listed=True, missing_ok=missing_ok)
        return select_listed(wish, known, rng=rng)


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the garbage collector from looking through what is being read again and again.

    A large file makes a million objects and no cycle among them; looking takes more time than reading.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _several(texts: str | Sequence[str]) -> Sequence[str]:
    """One text as a sequence of it: a string is a sequence too, but of letters."""
    return (texts,) if isinstance(texts, str) else texts
