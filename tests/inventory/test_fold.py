from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.inventory.fold import fold, natural_key
from multirsh.inventory.ranges import expand
from tests.inventory.reading import any_names


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        ("", ""),
        ("web1", "web1"),
        ("web01 web02 web03 web07", "web[01-03,07]"),
        ("web2 web10 web1", "web[1-2,10]"),
        ("a8 a9 a10 a11", "a[8-11]"),
        ("a08 a09 a10 a11", "a[08-11]"),
        ("a8 a9 a09 a10 a11", "a[8-9,09-11]"),
        ("a099 a100 a98", "a[98,099-100]"),
        ("b1 a1 c", "a1,b1,c"),
        ("web1.b web2.b web1.a", "web1.a,web[1-2].b"),
        ("r1n1 r1n2 r2n1 r2n2", "r[1-2]n[1-2]"),
        ("h1.dc1 h2.dc1 h3.dc1 h1.dc2", "h[1-3].dc1,h1.dc2"),
        ("10.0.0.1 10.0.0.2 10.0.1.1", "10.0.0.[1-2],10.0.1.1"),
        ("::1 ::2 fe80::1%eth0 fe80::1%eth1", "::[1-2],fe80::1%eth[0-1]"),
        ("x1 x1 x1", "x1"),
    ],
)
def test_names_fold_to(names: str, folded: str) -> None:
    assert fold(names.split()) == folded


@given(st.lists(any_names, min_size=1, max_size=40))
def test_expanding_what_was_folded_gives_the_same_names(names: list[str]) -> None:
    folded = fold(names)
    assert set(expand(folded)) == set(names)
    assert len(expand(folded)) == len(set(names))


@given(st.sets(st.integers(0, 2000)), st.integers(1, 4))
def test_names_that_differ_in_one_number_unfold_in_natural_order(numbers: set[int], width: int) -> None:
    names = {f"web{number:0{width}}.example" for number in numbers} or {"web"}
    assert expand(fold(names)) == sorted(names, key=natural_key)


@given(st.lists(any_names, min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_the_names_does_not_matter(names: list[str], rng: random.Random) -> None:
    shuffled = names.copy()
    rng.shuffle(shuffled)
    assert fold(shuffled) == fold(names)


@given(st.lists(any_names, min_size=1, max_size=20))
def test_folding_what_was_folded_changes_nothing(names: list[str]) -> None:
    assert fold(expand(fold(names))) == fold(names)


def test_natural_order_counts_as_people_do() -> None:
    names = ["web10", "web2", "web010", "web", "db9", "web2a", "web1"]
    assert sorted(names, key=natural_key) == ["db9", "web", "web1", "web2", "web2a", "web10", "web010"]


def test_a_large_grid_folds_to_two_brackets() -> None:
    assert fold(expand("r[1-100]n[01-50]")) == "r[1-100]n[01-50]"
