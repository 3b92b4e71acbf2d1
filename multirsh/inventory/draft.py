"""What hosts files say, gathered as it is read, before it is worked out.

All files of a run are read into one draft, in order. A later place may add to
an earlier one and may repeat it; where the two differ, the error names both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from multirsh.errors import InventoryError
from multirsh.inventory.place import Fragment, Place
from multirsh.inventory.ranges import MAX_NAMES, check_count
from multirsh.model import Scalar

MAX_MENTIONS: Final = 5 * MAX_NAMES
"""Names that all ranges of all files may stand for together: a host may be in several groups. Names that
are written out are bounded by the size of the file."""


@dataclass(frozen=True, slots=True)
class Said:
    """A value and where it was said."""

    value: Scalar
    place: Place


@dataclass(frozen=True, slots=True)
class Layer:
    """What one place says about hosts: a host's own settings, a group's, or the defaults.

    Attributes:
        settings: By key, such as ``user``.
        vars: The user's variables, by name.
    """

    settings: Mapping[str, Said] = field(default_factory=dict)
    vars: Mapping[str, Said] = field(default_factory=dict)


NOTHING: Final = Layer()

Sayings: TypeAlias = Mapping[str, Said]


@dataclass(slots=True)
class DraftGroup:
    """A group as far as it has been read.

    Attributes:
        layer: Its settings.
        hosts: Names of the hosts listed in it, as keys.
        groups: Where each group inside it was named first.
    """

    layer: Layer = NOTHING
    hosts: dict[str, None] = field(default_factory=dict)
    groups: dict[str, Place] = field(default_factory=dict)


@dataclass(slots=True)
class Draft:
    """All that has been read so far.

    Attributes:
        sources: The files, in order.
        defaults: What holds for every host.
        hosts: Settings of each host itself, in the order of first mention, be it in a group.
        addresses: By host, where it has one.
        groups: By name, in order.
        mentions: Names that ranges in lists stood for so far, repeated ones counted again.
    """

    sources: list[str] = field(default_factory=list)
    defaults: Layer = NOTHING
    hosts: dict[str, Layer] = field(default_factory=dict)
    addresses: dict[str, Said] = field(default_factory=dict)
    groups: dict[str, DraftGroup] = field(default_factory=dict)
    mentions: int = 0

    def count(self, names: int, text: Fragment) -> None:
        """Count names before they are made.

        Raises:
            NodeSetError: They are more than a pattern or all files may hold.
        """
        check_count(names, text)
        self.mentions += names
        if self.mentions > MAX_MENTIONS:
            raise text.error(f"with these, the ranges stand for more than {MAX_MENTIONS:,} names")

    def add_defaults(self, layer: Layer) -> None:
        """Add what holds for every host.

        Raises:
            InventoryError: It contradicts what was said before.
        """
        self.defaults = merged("defaults", self.defaults, layer)

    def add_hosts(self, names: Iterable[str], layer: Layer = NOTHING) -> None:
        """Add hosts that share settings of their own.

        Raises:
            InventoryError: The settings contradict what was said of one of them before.
        """
        for name in names:
            earlier = self.hosts.setdefault(name, layer)
            if earlier is not layer and layer is not NOTHING:
                self.hosts[name] = layer if earlier is NOTHING else merged(name, earlier, layer)

    def add_address(self, name: str, address: Said) -> None:
        """Say where a host is.

        Raises:
            InventoryError: It was said to be elsewhere before.
        """
        _check_same(name, "address", self.addresses.setdefault(name, address), address)

    def add_group(self, name: str, layer: Layer) -> DraftGroup:
        """Open a group; what it holds is then added to it.

        Raises:
            InventoryError: The settings contradict what was said of it before.
        """
        group = self.groups.setdefault(name, DraftGroup())
        group.layer = merged(f"the group {name}", group.layer, layer)
        return group

    def check_size(self, place: Place) -> None:
        """Refuse an inventory of more than ``MAX_NAMES`` hosts.

        Raises:
            InventoryError: It has more.
        """
        if len(self.hosts) > MAX_NAMES:
            raise place.error(f"{len(self.hosts):,} hosts are too many", hint=f"the limit is {MAX_NAMES:,}")


def merged(subject: str, earlier: Layer, later: Layer) -> Layer:
    """Add what is said later to what was said earlier of the same subject.

    Raises:
        InventoryError: They contradict each other.
    """
    if later is NOTHING or earlier is NOTHING:
        return earlier if later is NOTHING else later
    for first, second in ((earlier.settings, later.settings), (earlier.vars, later.vars)):
        for key, said in second.items():
            if key in first:
                _check_same(subject, key, first[key], said)
    return Layer({**later.settings, **earlier.settings}, {**later.vars, **earlier.vars})


def same(first: Said, second: Said) -> bool:
    """Whether two places say the same; ``1`` and ``true`` differ."""
    return first.value == second.value and type(first.value) is type(second.value)


def _check_same(subject: str, key: str, first: Said, second: Said) -> None:
    if not same(first, second):
        raise contradiction(subject, key, first, second)


def contradiction(
    subject: str, key: str, first: Said, second: Said, *, hint: str = "leave one of them out"
) -> InventoryError:
    """Make the error for two values of one key; it stands at the second and names the first."""
    here, there = (_shown(said.value) for said in (second, first))
    return second.place.error(f"{key} of {subject} is {here} here and {there} at {first.place}", hint=hint)


def _shown(value: Scalar) -> str:
    return str(value) if isinstance(value, str) and value.isprintable() else repr(value)
