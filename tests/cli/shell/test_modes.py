"""How output is shown, by the words of the options."""

from __future__ import annotations

import itertools

import pytest

from multirsh.cli.options import DisplayOptions
from multirsh.cli.shell.modes import MODES, mode_of, next_mode, showing_in
from multirsh.errors import UsageError
from multirsh.output.normalize import Normalizer

PLAIN = DisplayOptions(no_prefix=False, as_json=False, quiet=False, progress="never", color="never")


@pytest.mark.parametrize(("start", "mode"), [*itertools.product(MODES, MODES)])
def test_every_mode_can_follow_every_other(start: str, mode: str) -> None:
    begun = showing_in(start, PLAIN)
    assert mode_of(begun) == start
    shown = showing_in(mode, begun)
    assert mode_of(shown) == mode
    assert shown == showing_in(mode, PLAIN)
    shown.options()


def test_the_equals_sign_goes_to_and_fro() -> None:
    assert next_mode("=", "live") == "gather"
    assert {next_mode("=", mode) for mode in MODES if mode != "live"} == {"live"}
    with pytest.raises(UsageError, match="did you mean gather"):
        next_mode("gahter", "live")


def test_what_does_not_count_in_comparing_counts_only_there() -> None:
    normalizer = Normalizer.parse("host")
    showing = DisplayOptions(
        no_prefix=False,
        as_json=False,
        quiet=False,
        progress="never",
        color="never",
        gather_all=True,
        differences=True,
        normalizer=normalizer,
    )
    assert showing_in("diff", showing) is showing
    assert showing_in("gather", showing).normalizer is normalizer
    assert showing_in("live", showing).normalizer is None
