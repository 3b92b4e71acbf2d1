"""Under ``ulimit -v``: every host has a status, everything is told, and the program ends by itself."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from multirsh.cli import main as cli
from multirsh.cli.signals import _Shortages
from multirsh.shortage import NO_MEMORY
from tests.program import Program, ended
from tests.servers.requirement import program
from tests.waiting import HANG_GUARD_S

HOSTS = 20
PIECE = "head -c 1000000 /dev/urandom | base64; hostname"
KIB = 1024


def under(kib: int, *limits: str) -> list[str]:
    return [str(program("prlimit", package="util-linux")), f"--as={kib * KIB}:{kib * KIB}", *limits, "--"]


def check(multirsh: Program, *options: str, prefix: list[str]) -> Counter[str]:
    """Run, see that all is told, and count the statuses."""
    done = ended(multirsh.start("-f", "hosts.yaml", *options, PIECE, prefix=prefix))
    assert "Traceback" not in done.err
    assert "Exception ignored" not in done.err
    shown = multirsh("runs", "show", "last", "--json")
    rows = [json.loads(line) for line in shown.out.splitlines()]
    statuses = Counter(row["status"] for row in rows if row["event"] == "host_finished")
    assert statuses.total() == HOSTS, done.err
    assert rows[-1]["event"] == "run_finished"
    assert rows[-1]["counts"] == dict(statuses)
    assert done.code == rows[-1]["exit_code"] or (done.code == 1 and "is not complete" in done.err)
    assert f"{HOSTS} hosts:" in done.err
    assert done.err.count(NO_MEMORY) <= 1 + ("is not complete" in done.err)
    return statuses


@pytest.mark.root
@pytest.mark.usefixtures("no_leaks")
class TestOnSshd:
    @pytest.mark.parametrize("kib", [120_000, 200_000])
    @pytest.mark.parametrize("options", ["-b", "", "--json"])
    def test_every_host_has_a_status_and_all_is_told(self, options: str, kib: int, on_sshd: Program) -> None:
        statuses = check(on_sshd, "-j", "20", *options.split(), prefix=under(kib))
        assert set(statuses) <= {"ok", "local"}
        assert statuses["ok"], "memory that one host does not get is another's"

    def test_threads_whose_usual_stacks_there_is_no_room_for_are_started_all_the_same(
        self, on_sshd: Program
    ) -> None:
        stack = f"--stack={2**30}:{2**30}"
        assert check(on_sshd, "-j", "20", prefix=under(400_000, stack)) == {"ok": HOSTS}


def test_where_there_is_not_even_memory_to_begin_it_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(error: BaseException) -> Callable[..., None]:
        def main(**_options: object) -> None:
            raise error

        return main

    for error in (MemoryError(), BaseExceptionGroup("of a task", [MemoryError()])):
        monkeypatch.setattr(cli.group, "main", fails(error))
        assert cli._run([]) == 1
        assert capfd.readouterr().err == f"multirsh: {NO_MEMORY}\n"
    monkeypatch.setattr(cli.group, "main", fails(BaseExceptionGroup("ours", [MemoryError(), KeyError()])))
    with pytest.raises(BaseExceptionGroup):
        cli._run([])


async def test_a_callback_that_there_is_no_memory_for_prints_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shortages = _Shortages()
    loop = asyncio.get_running_loop()
    for _ in range(10):
        shortages(loop, {"message": "a callback", "exception": MemoryError()})
    assert not caplog.records
    shortages(loop, {"message": "a callback", "exception": ValueError("ours")})
    assert "ours" in caplog.text


def test_a_callback_that_fails_for_ever_ends_the_program() -> None:
    code = (
        "import asyncio; from multirsh.cli.signals import run\n"
        "async def program(signals):\n"
        "    def fails():\n"
        "        loop.call_soon(fails)\n"
        "        raise MemoryError\n"
        "    loop = asyncio.get_running_loop()\n"
        "    loop.call_soon(fails)\n"
        "    await asyncio.Event().wait()\n"
        "run(program)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, timeout=HANG_GUARD_S
    )
    assert (done.returncode, done.stderr.decode()) == (1, f"multirsh: {NO_MEMORY}\n")
