"""What is copied: files whose size says nothing, or that vanish; contents, whole paths, odd names."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from multirsh.errors import UsageError
from multirsh.files.options import CopyOptions, Via
from multirsh.files.sftp.pull import nearest
from multirsh.files.sources import SourceTree, read_sources
from multirsh.model import Status
from tests.files.trees import leftovers, plant, seen
from tests.fleets import fleet_of, hosts_on, known, ssh_options
from tests.program import Program
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

ONE = ("-f", "hosts.yaml", "-w", "h01")
SECOND_NS = 10**9
PSEUDO = ("/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled")


# Sizes.


@pytest.mark.parametrize("path", PSEUDO)
def test_a_file_is_read_to_its_end_whatever_its_size_is_said_to_be(
    on_server: Program, tmp_path: Path, path: str
) -> None:
    content = Path(path).read_bytes()
    target = tmp_path / "there"
    target.write_text("what was there")

    pushed = on_server("push", *ONE, path, target)

    assert pushed.code == 0, pushed.err
    assert target.read_bytes() == content


@pytest.mark.parametrize("path", PSEUDO)
def test_it_is_pulled_so_too(on_internal: Program, path: str) -> None:
    pulled = on_internal("pull", *ONE, path, "got")

    assert pulled.code == 0, pulled.err
    assert (on_internal.home / "got" / "h01" / Path(path).name).read_bytes() == Path(path).read_bytes()


# What cannot be read.


def test_what_cannot_be_read_is_one_files_failure(on_server: Program, tmp_path: Path) -> None:
    tree = plant(tmp_path / "tree", files=3)
    there = tmp_path / "there"
    there.mkdir()

    done = on_server("push", *ONE, "-r", "--links", "follow", tree, there)

    assert done.code == 5
    assert f"h01: {there}/tree/broken: it cannot be read here: no such file or directory" in done.err
    assert ", 1 failed" in done.err
    made = seen(there / "tree")
    assert made.pop("link")[0] == made.pop("sub/up")[0] == "file"
    want = seen(tree)
    assert made == {path: what for path, what in want.items() if path not in {"link", "broken", "sub/up"}}


@pytest.mark.parametrize("via", ["sftp", "scp"])
async def test_a_file_that_vanishes_is_its_own_failure(
    internal: Daemon, in_module_namespace: Namespace, tmp_path: Path, via: str
) -> None:
    """One before it is begun, one that is cut short after that; those around them arrive."""
    names = ["127.1.0.1", "127.1.0.2"]
    ssh = ssh_options(known(internal, names, tmp_path))
    sources = [tmp_path / name for name in ("a", "gone", "m", "short", "z")]
    for source in sources:
        source.write_bytes(b"x" * 2_000_000)
    there = tmp_path / "there"
    there.mkdir()

    async with fleet_of(hosts_on(internal, names), ssh) as fleet:
        push = fleet.push(sources, there, CopyOptions(via=Via(via)))
        sources[1].unlink()
        with sources[3].open("r+b") as file:
            file.truncate(1_500_000)
        results = await push.gather()

    assert {result.status for result in results.values()} == {Status.FAILED}
    for result in results.values():
        assert result.error is not None
        assert "(and 1 more)" in result.error.message
    assert sorted(path.name for path in there.iterdir()) == ["a", "m", "z"]
    assert {path.stat().st_size for path in there.iterdir()} == {2_000_000}
    assert not leftovers(there)


@pytest.mark.parametrize("via", ["sftp", "scp"])
async def test_what_cannot_be_read_empties_no_file_that_is_written_in_place(
    internal: Daemon, in_module_namespace: Namespace, tmp_path: Path, via: str
) -> None:
    ssh = ssh_options(known(internal, ["127.1.0.1"], tmp_path))
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("new")
    target.write_text("old")

    async with fleet_of(hosts_on(internal, ["127.1.0.1"]), ssh) as fleet:
        push = fleet.push([source], target, CopyOptions(inplace=True, via=Via(via)))
        source.unlink()
        results = await push.gather()

    assert results["127.1.0.1"].status is Status.FAILED
    assert target.read_text() == "old"


def as_nobody(call: Callable[[], bool]) -> bool:
    """Whether ``call`` says so in a process of a user who may not do everything."""
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os._exit(0 if call() else 1)
        except BaseException as error:  # noqa: BLE001 - the child must not go on as a test
            sys.stderr.write(f"{error!r}\n")
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_may_not_be_read_is_known_before_anything_connects(tmp_path: Path) -> None:
    """It fails on every host, and the others are copied; if there is nothing else, nothing is begun."""
    tree = tmp_path / "tree"
    (tree / "closed").mkdir(parents=True)
    (tree / "open").write_text("x")
    (tree / "secret").write_text("x")
    (tree / "secret").chmod(0o600)
    (tree / "closed").chmod(0o700)
    here = os.open(tmp_path, os.O_RDONLY)  # for a user who may not walk the way to it

    def looked(*names: str) -> SourceTree:
        os.fchdir(here)
        return read_sources([os.fsencode(name) for name in names], CopyOptions(recursive=True))

    def leaves_others() -> bool:
        tree = looked("tree")
        return [entry.parts for entry in tree.entries] == [(b"tree",), (b"tree", b"open")] and [
            (cannot.parts, cannot.reason) for cannot in tree.unreadable
        ] == [
            ((b"tree", b"closed"), "it cannot be read here: permission denied"),
            ((b"tree", b"secret"), "it cannot be read here: permission denied"),
        ]

    def is_refused() -> bool:
        with pytest.raises(UsageError, match="permission denied"):
            looked("tree/secret")
        return True

    tmp_path.chmod(0o755)
    try:
        assert as_nobody(leaves_others)
        assert as_nobody(is_refused)
    finally:
        os.close(here)


# Contents, and whole paths.


@pytest.mark.parametrize("source", [".", "./", "../tree/.", "sub/.."])
def test_what_is_in_a_folder_is_copied_by_its_dot(on_server: Program, tmp_path: Path, source: str) -> None:
    """As by scp, cp and rsync; into a folder that is there, or a new one."""
    tree = plant(tmp_path / "tree", files=3)
    there = tmp_path / "there"
    (there / "old").mkdir(parents=True)
    (there / "old" / "file").write_text("stays")

    into = on_server("push", "-f", on_server.home / "hosts.yaml", "-w", "h01", "-r", source, there, cwd=tree)
    new = on_server(
        "push", "-f", on_server.home / "hosts.yaml", "-w", "h01", "-r", source, tmp_path / "new", cwd=tree
    )

    assert (into.code, new.code) == (0, 0), into.err + new.err
    assert seen(tmp_path / "new") == seen(tree)
    assert (there / "old" / "file").read_text() == "stays"
    assert {path: what for path, what in seen(there).items() if not path.startswith("old")} == seen(tree)


def test_contents_may_be_merged_but_not_over_each_other(on_internal: Program, tmp_path: Path) -> None:
    for path in ("a/sub/one", "b/sub/two", "c/sub/one"):
        on_internal.write(path, path)
    there = tmp_path / "there"
    there.mkdir()

    merged = on_internal("push", *ONE, "-r", "a/.", "b/.", there)
    refused = on_internal("push", *ONE, "-r", "a/.", "c/.", there)

    assert merged.code == 0, merged.err
    assert {str(path.relative_to(there)) for path in there.rglob("*")} == {"sub", "sub/one", "sub/two"}
    assert refused.code == 2
    assert "would have the same name" in refused.err


def test_whole_paths_are_kept_where_names_are_alike(on_server: Program, tmp_path: Path) -> None:
    logs = tmp_path / "log"
    for name in ("a", "b"):
        (logs / name / "old").mkdir(parents=True)
        (logs / name / "error.log").write_text(name)
        (logs / name / "old" / "error.log").write_text(f"old {name}")

    refused = on_server("pull", *ONE, logs / "*" / "error.log", "flat")
    words = (logs / "*" / "error.log", logs / "[a]" / "old", f"{logs}/b/old/.")
    kept = on_server("pull", *ONE, "-r", "--parents", *words, "got")

    assert kept.code == 0, kept.err
    root = on_server.home / "got" / "h01"
    want = {f"{logs}/{name}/error.log": name for name in ("a", "b")}
    want |= {f"{logs}/{name}/old/error.log": f"old {name}" for name in ("a", "b")}
    got = {f"/{path.relative_to(root)}": path.read_text() for path in root.rglob("*") if path.is_file()}
    assert got == want
    assert refused.code == 5
    assert "another source has this name; --parents keeps whole paths" in refused.err


def test_parents_do_not_lead_out(on_internal: Program) -> None:
    refused = on_internal("pull", *ONE, "--parents", "../x/y", "got")

    assert refused.code == 2
    assert "--parents cannot keep '..'" in refused.err


def test_braces_are_several_sources(on_server: Program, tmp_path: Path) -> None:
    for name in ("a1", "a2", "b1", "{c,d}"):
        (tmp_path / name).write_text(name)

    done = on_server("pull", *ONE, tmp_path / "{a,b}1", f"{tmp_path}/a{{2,}}", f"{tmp_path}/[{{]c,d}}", "got")

    assert done.code == 5
    assert f"{tmp_path}/a: " in done.err
    found = {path.name for path in (on_server.home / "got" / "h01").iterdir()}
    assert found == {"a1", "b1", "a2", "{c,d}"}


@pytest.mark.parametrize("name", ["line\nfeed", "esc\x1b[2J", "bell\x07"], ids=repr)
def test_a_name_that_can_be_pushed_can_be_pulled(on_internal: Program, tmp_path: Path, name: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / name).write_text("x")
    (tree / "link").symlink_to(name)

    pushed = on_internal("push", *ONE, "-r", tree, tmp_path / "there")
    pulled = on_internal("pull", *ONE, "-r", tmp_path / "there", "got")

    assert (pushed.code, pulled.code) == (0, 0), pushed.err + pulled.err
    assert seen(on_internal.home / "got" / "h01" / "there") == seen(tree)


# Times and folders.


@pytest.mark.parametrize("seconds", [-1, -(10**9), 0, 1_600_000_000, 3_000_000_000, 5_000_000_000])
def test_a_time_is_what_it_was(on_internal: Program, tmp_path: Path, seconds: int) -> None:
    """Before 1970, and after 2106, too, though SFTP has no word for them."""
    source = on_internal.write("source", "x")
    os.utime(source, (seconds, seconds))

    pushed = on_internal("push", *ONE, "-p", source, tmp_path / "there")
    pulled = on_internal("pull", *ONE, "-p", source, tmp_path)

    assert (pushed.code, pulled.code) == (0, 0), pushed.err + pulled.err
    assert "but" not in pushed.err + pulled.err
    assert (tmp_path / "there").stat().st_mtime == seconds
    if seconds < 1 << 32:  # what a server tells of others is the time of another file
        assert (tmp_path / "h01" / "source").stat().st_mtime == seconds


def test_a_time_by_scp_keeps_its_microseconds(
    scp_only: Daemon, in_module_namespace: Namespace, multirsh: Program
) -> None:
    multirsh.knows(scp_only, 1)
    there = scp_only.directory / "there"
    for time in (1_600_000_000 * SECOND_NS + 123_456_789, -SECOND_NS):
        source = multirsh.write("source", "x")
        os.utime(source, ns=(time, time))

        pushed = multirsh("push", *ONE, "-p", source, there)

        assert pushed.code == 0, pushed.err
        assert there.stat().st_mtime_ns == time // 1000 * 1000


@pytest.mark.parametrize(
    ("raw", "now", "time"),
    [
        (5, 1_800_000_000, 5),
        (1_800_000_000, 1_800_000_000, 1_800_000_000),
        (3_000_000_000, 1_800_000_000, 3_000_000_000),
        ((1 << 32) - 1, 1_800_000_000, -1),
        ((1 << 32) - 86_400, 1_800_000_000, -86_400),
    ],
)
def test_a_time_of_32_bits_is_the_nearest_to_now(raw: int, now: int, time: int) -> None:
    assert nearest(raw, now) == time


@pytest.mark.parametrize("preserve", [False, True], ids=["usual", "exact"])
def test_a_folder_that_is_read_only_stays_so(on_internal: Program, tmp_path: Path, *, preserve: bool) -> None:
    tree = tmp_path / "tree"
    (tree / "closed").mkdir(parents=True)
    (tree / "closed" / "file").write_text("x")
    (tree / "closed").chmod(0o555)
    tree.chmod(0o755)
    flags = ("-rp",) if preserve else ("-r",)

    pushed = on_internal("push", *ONE, *flags, tree, tmp_path / "there")
    pulled = on_internal("pull", *ONE, *flags, tree, "got")

    assert (pushed.code, pulled.code) == (0, 0), pushed.err + pulled.err
    for made in (tmp_path / "there", on_internal.home / "got" / "h01" / "tree"):
        assert (made / "closed" / "file").read_text() == "x"
        assert stat.S_IMODE((made / "closed").stat().st_mode) == 0o555
        assert stat.S_IMODE(made.stat().st_mode) == 0o755


def test_what_cannot_be_read_on_the_host_empties_no_file_in_place(
    on_internal: Program, tmp_path: Path
) -> None:
    """A file of no size that is read to its end is begun before anything is known of it."""
    target = tmp_path / "h01" / "mem"
    target.parent.mkdir()
    target.write_text("old")

    done = on_internal("pull", "-f", "hosts.yaml", "-w", "h01", "--inplace", "/proc/self/mem", tmp_path)

    assert done.code == 5, done.err
    assert target.read_text() == "old"
