"""What ``tests/conftest.py`` does for every test."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.program import ROOT

pytest_plugins = ["pytester"]


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "with xdist"])
@pytest.mark.parametrize(
    "start",
    ["trap '' INT QUIT; exec", "trap '' HUP INT QUIT TERM CHLD TSTP TTIN TTOU; exec", "exec nohup"],
    ids=["background job", "all ignored", "nohup"],
)
def test_whoever_starts_the_tests_signals_have_their_default_dispositions(
    pytester: pytest.Pytester, start: str, workers: tuple[str, ...]
) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(
        conftest="import tests.conftest",
        test_dispositions="""
            import signal
            import subprocess
            from pathlib import Path

            def test_a_child_ignores_and_blocks_no_signal():
                status = subprocess.run(
                    ["cat", "/proc/self/status"], capture_output=True, text=True, check=True
                ).stdout
                masks = dict(line.split(":\\t") for line in status.splitlines() if line.startswith("Sig"))
                assert int(masks["SigIgn"], 16) == int(masks["SigBlk"], 16) == 0

            def test_sigint_is_a_keyboard_interrupt():
                assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        """,
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers]
    ended = subprocess.run(
        ["sh", "-c", f'{start} "$@"', "sh", *command],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in ended.stdout, ended.stdout + ended.stderr
