from __future__ import annotations

import time

from multirsh.errors import did_you_mean, likely


def test_a_near_word_is_found_and_a_far_one_is_not() -> None:
    assert likely("prot", ["user", "port"]) == "port"
    assert likely("zzz", ["user", "port"]) is None
    assert did_you_mean("prot", ["port"]) == "did you mean port?"
    assert did_you_mean("zzz", ["port"]) is None


def test_a_name_without_its_domain_is_found() -> None:
    assert likely("web01", ["web010", "web01.example.com"]) == "web01.example.com"


def test_a_large_fleet_is_not_searched_to_its_end() -> None:
    start = time.perf_counter()
    likely("h1000x0", (f"h{number:06}" for number in range(100_000)))
    assert time.perf_counter() - start < 2
