"""Row 43: a run is killed at any moment, and gone on with until it is over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.killed_runs import ALWAYS, HOSTS
from tests.program import ROOT


@pytest.mark.parametrize("points", [20, pytest.param(200, marks=pytest.mark.bench)])
def test_no_host_that_has_run_runs_again_none_is_lost_and_every_record_is_read(
    points: int, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.end_to_end.killed_runs", tmp_path / "runs", str(points), "43"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        cwd=ROOT,
        check=True,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == points
    for one in told:
        assert one["garbage"] == 0
        assert one["code"] == 0, one["words"]
        assert one["done"] == HOSTS
        assert sorted(one["counts"]) == HOSTS
        repeated = {host for host, count in one["counts"].items() if count > 1}
        assert repeated <= set(one["doubt"])
        for code, words, doubt in one["refusals"]:
            assert code == 2
            assert f"the command may have begun on {len(doubt)} host" in words
            assert doubt[0].removeprefix("h") in words
    # Points are spread over the run: some kills leave hosts in doubt, and some runs are killed again.
    assert any(one["doubt"] for one in told)
    assert any(1 < one["kills"] <= ALWAYS for one in told)
