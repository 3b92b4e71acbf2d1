"""Blocks that a host is held against, and those that it need not be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from multirsh.transports.ssh.config.blocks import Block, Blocks, Stretch
from multirsh.transports.ssh.patterns import PatternList

PATTERNS = st.lists(
    st.sampled_from(["a", "b", "c", "!a", "!b", "*", "?", "a*", "!*"]), min_size=1, max_size=3
)
PARTS = st.lists(st.one_of(st.none(), PATTERNS), max_size=12)


@given(PARTS, st.sampled_from(["a", "b", "c", "d", "ab"]))
def test_no_block_of_a_host_is_missed_and_the_order_is_the_files(
    parts: list[list[str] | None], host: str
) -> None:
    in_order = [
        Stretch((), steers=False) if patterns is None else Block(PatternList(patterns), Blocks(()))
        for patterns in parts
    ]

    def holds(part: Stretch | Block) -> bool:
        condition = part.condition if isinstance(part, Block) else None
        return not isinstance(condition, PatternList) or condition.matches(host)

    chosen = list(Blocks(in_order).that_may_be_of(host))

    assert [part for part in chosen if holds(part)] == [part for part in in_order if holds(part)]
    assert sorted(map(in_order.index, chosen)) == list(map(in_order.index, chosen))


def test_of_many_literal_ones_only_the_own_are_looked_at() -> None:
    blocks = [Block(PatternList([f"web{number}"]), Blocks(())) for number in range(1000)]
    anybodys = Block(PatternList(["*"]), Blocks(()))
    assert list(Blocks([*blocks, anybodys]).that_may_be_of("web7")) == [blocks[7], anybodys]
