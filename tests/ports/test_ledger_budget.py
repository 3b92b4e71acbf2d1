"""A number of ports, or a share of them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from multirsh.errors import UsageError
from multirsh.ports.ledger import EVERY_PORT, PortBudget


@pytest.mark.parametrize(
    ("text", "pool", "ports"),
    [
        ("500", 28232, 500),
        ("500", 100, 100),
        ("1", 512, 1),
        ("50%", 512, 256),
        ("50%", 5, 2),
        ("100%", 28232, 28232),
        ("1%", 50, 1),
        ("29%", 100, 29),
        ("1%", 0, 0),
    ],
)
def test_so_many_of_a_pool(text: str, pool: int, ports: int) -> None:
    assert PortBudget.parse(text).of(pool) == ports


@pytest.mark.parametrize(
    "text", ["", "%", "-1", "0", "0%", "101%", "1.5", "5 %", "5%%", "five", "٣", "9" * 5000, "9" * 5000 + "%"]
)
def test_what_cannot_be_meant_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        PortBudget.parse(text)
    assert refusal.value.hint is not None
    assert "500" in refusal.value.hint


@given(st.text(alphabet="0123456789%-. "))
@example("0000000001")
def test_any_text_is_a_budget_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        budget = PortBudget.parse(text)
        assert 1 <= budget.of(100) <= 100


@given(st.integers(1, 100), st.integers(0, 65536))
def test_a_share_is_rounded_down_but_never_to_nothing(percent: int, pool: int) -> None:
    assert PortBudget.parse(f"{percent}%").of(pool) == min(pool, max(1, pool * percent // 100))


@given(st.integers(0, 65536))
def test_without_a_bound_every_port_may_be_used(pool: int) -> None:
    assert EVERY_PORT.of(pool) == pool
