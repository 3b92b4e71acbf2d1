"""Skipping is for people's machines, not for CI."""

from __future__ import annotations

import pytest

from tests.servers.requirement import program, require

pytest_plugins = ["pytester"]


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


@pytest.mark.parametrize("side_by_side", [[], ["-n", "1"]], ids=["alone", "by xdist"])
def test_no_mark_skips_in_ci(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, side_by_side: list[str]
) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(
        conftest="from tests.conftest import pytest_runtest_makereport",
        test_skipping="""
            import pytest

            @pytest.mark.skipif(True, reason="needs the moon")
            def test_marked():
                pass

            def test_plain():
                pass
        """,
    )
    monkeypatch.setenv("CI", "")
    pytester.runpytest(*side_by_side).assert_outcomes(passed=1, skipped=1)
    monkeypatch.setenv("CI", "true")
    told = pytester.runpytest(*side_by_side)
    told.assert_outcomes(passed=1, errors=1)
    told.stdout.fnmatch_lines(["*CI must not skip*needs the moon*"])
