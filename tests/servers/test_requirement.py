"""Skipping is for people's machines, not for CI."""

from __future__ import annotations

import pytest

from tests.servers.requirement import program, require


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_what_is_missing_skips_and_fails_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="needs the moon"):
        require([], "needs the moon")
    with pytest.raises(outcome, match=r"needs no-such-program \(Debian package none\)"):
        program("no-such-program", package="none")
    require([1], "never seen")


def test_programs_of_the_administrator_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert program("ip", package="iproute2").name == "ip"
