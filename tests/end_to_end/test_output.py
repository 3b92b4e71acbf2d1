"""What hosts wrote, gathered and in files, by the command line."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import MULTIRSH, Program
from tests.servers.requirement import require_root
from tests.waiting import HANG_GUARD_S

LAB = ("lab", "-g", "web")


def test_equals_stand_together_and_stderr_comes_live(multirsh: Program) -> None:
    ended = multirsh(*LAB, "-b", "case $MULTIRSH_LAB_HOST in web03) echo no >&2; exit 3;; *) echo yes;; esac")
    assert (ended.code, ended.out) == (5, "---- web[01-02,04-06] (5)\nyes\n")
    assert ended.err.startswith("web03: no\n6 hosts: 5 ok, 1 failed in ")


def test_one_block_a_host_in_order_with_stderr(multirsh: Program) -> None:
    ended = multirsh(*LAB, "-L", "-B", "echo $MULTIRSH_LAB_HOST; echo err >&2")
    assert ended.out == "".join(f"---- web0{n}\nweb0{n}\nerr\n" for n in range(1, 7))


def test_differences_of_normalized_output(multirsh: Program) -> None:
    command = "echo I am $MULTIRSH_LAB_HOST; case $MULTIRSH_LAB_HOST in web02) echo odd;; esac"
    ended = multirsh(*LAB, "--diff", "--normalize", "host", command)
    first, *rest = ended.out.split("\n", 2)
    assert first == "---- web[01,03-06] (5)"
    assert rest[1].splitlines()[0] == "---- web02 (1)"
    assert "+odd" in rest[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-b", "--json"), "-b and --json exclude each other"),
        (("-L", "--diff"), "-L and --diff exclude each other"),
        (("--normalize", "host"), "--normalize requires -b, -B or --diff"),
        (("-b", "--normalize", "hots"), "--normalize: 'hots' is not a rule of --normalize"),
        (("-b", "--output-mem", "some"), "--output-mem: 'some' is not a size, such as 64M"),
        (("--outdir", "/dev/null/x"), "--outdir /dev/null/x: Not a directory"),
        (("--outdir", "d", "--errdir", "d"), "--outdir and --errdir are the same directory"),
    ],
)
def test_what_cannot_be_meant(multirsh: Program, options: tuple[str, ...], said: str) -> None:
    ended = multirsh(*LAB, *options, "true", cwd=multirsh.home)
    assert (ended.code, ended.out) == (2, "")
    assert f"multirsh: {said}" in ended.err


def test_much_output_is_exact_and_memory_is_bounded(multirsh: Program) -> None:
    """4 MB from each of six hosts, with 256 KiB to hold it; what is more is on disk."""
    command = 'yes "this is $MULTIRSH_LAB_HOST" | head -c 4000000'
    argv = [*MULTIRSH, *LAB, "-b", "-N", "--output-mem", "256K", command]
    process = subprocess.run(
        ["bash", "-c", 'sha256sum < <("$@"; echo "code $?" >&2)', "bash", *argv],
        env=multirsh.environ,
        capture_output=True,
        timeout=HANG_GUARD_S,
        check=False,
    )
    expected = hashlib.sha256()
    for number in range(1, 7):
        line = f"this is web0{number}\n".encode()
        written = (line * (4_000_000 // len(line) + 1))[:4_000_000]
        expected.update(written if written.endswith(b"\n") else written + b"\n")
    assert process.stderr.decode().splitlines()[-1] == "code 0"
    assert process.stdout.split()[0].decode() == expected.hexdigest()


class TestFolders:
    def test_a_file_a_host_to_the_byte_and_appended(self, multirsh: Program, tmp_path: Path) -> None:
        folders = ("--outdir", tmp_path / "a" / "out", "--errdir", tmp_path / "err")
        command = "printf 'a\\000\\377'; printf 'no line' >&2"
        for _ in range(2):
            ended = multirsh(*LAB, "--json", *folders, command)
            assert ended.code == 0
        names = [f"web0{number}" for number in range(1, 7)]
        assert sorted(path.name for path in (tmp_path / "a" / "out").iterdir()) == names
        for name in names:
            assert (tmp_path / "a" / "out" / name).read_bytes() == b"a\0\xff" * 2
            assert (tmp_path / "err" / name).read_bytes() == b"no line" * 2

    def test_whoever_is_silent_has_no_file(self, multirsh: Program, tmp_path: Path) -> None:
        multirsh(*LAB, "--outdir", tmp_path / "out", "case $MULTIRSH_LAB_HOST in web01) echo x;; esac")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["web01"]

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        """A disk of 256 KiB."""
        require_root()
        disk = tmp_path / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
        try:
            yield disk
        finally:
            subprocess.run(["umount", disk], check=True)

    @pytest.mark.root
    def test_a_disk_that_fills_up_is_told_once_and_the_run_goes_on(
        self, multirsh: Program, small_disk: Path
    ) -> None:
        out, err = small_disk / "out", small_disk / "err"
        command = "head -c 100000 /dev/zero; echo end; head -c 100000 /dev/zero >&2"
        ended = multirsh(*LAB, "-j", "1", "--outdir", out, "--errdir", err, command)
        assert ended.code == 1
        (complaint,) = [line for line in ended.err.splitlines() if "cannot be written" in line]
        assert "No space left on device; it is incomplete" in complaint
        assert "6 hosts: 6 ok" in ended.err
        assert ended.out.count("end\n") == 6, "stdout has it all"
        assert sum(path.stat().st_size >= 100_000 for path in small_disk.glob("*/*")) == 2

    @pytest.mark.root
    def test_gathered_output_stays_in_memory_where_the_disk_is_full(
        self, multirsh: Program, small_disk: Path
    ) -> None:
        multirsh.environ["TMPDIR"] = str(small_disk)
        command = "yes $MULTIRSH_LAB_HOST | head -c 400000"
        ended = multirsh(*LAB, "-b", "-N", "--output-mem", "64K", command)
        assert ended.code == 0
        assert ended.err.count("output is kept in memory, since it cannot be on disk: No space left") == 1
        assert len(ended.out) >= 6 * 400_000
