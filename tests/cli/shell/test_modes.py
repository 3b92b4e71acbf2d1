"""The output modes of the shell."""

from __future__ import annotations

import itertools

import pytest

from multirsh.cli.options import DisplayOptions
from multirsh.cli.shell.modes import MODES, display_in, mode_of, next_mode
from multirsh.errors import UsageError
from multirsh.output.normalize import Normalizer

PLAIN = DisplayOptions(no_prefix=False, as_json=False, quiet=False, progress="never", color="never")


@pytest.mark.parametrize(("start", "mode"), [*itertools.product(MODES, MODES)])
def test_every_mode_can_follow_every_other(start: str, mode: str) -> None:
    begun = display_in(start, PLAIN)
    assert mode_of(begun) == start
    shown = display_in(mode, begun)
    assert mode_of(shown) == mode
    assert shown == display_in(mode, PLAIN)
    shown.options()


def test_the_equals_sign_switches_between_gathered_and_live_output() -> None:
    assert next_mode("=", "live") == "gather"
    assert {next_mode("=", mode) for mode in MODES if mode != "live"} == {"live"}
    with pytest.raises(UsageError, match="did you mean gather"):
        next_mode("gahter", "live")


def test_the_normalizer_is_used_only_where_outputs_are_compared() -> None:
    normalizer = Normalizer.parse("host")
    display = DisplayOptions(
        no_prefix=False,
        as_json=False,
        quiet=False,
        progress="never",
        color="never",
        gather_all=True,
        differences=True,
        normalizer=normalizer,
    )
    assert display_in("diff", display) is display
    assert display_in("gather", display).normalizer is normalizer
    assert display_in("live", display).normalizer is None
