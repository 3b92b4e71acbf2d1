"""Copies over what is there already: its owner, its secrets, what it is, and half files of other versions."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from multirsh.files.paths import partial_name
from tests.files.homes import many_homes
from tests.files.test_wire_messages import begun, endless
from tests.files.trees import leftovers
from tests.program import Program, ended
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.servers.requirement import program
from tests.servers.sshd import start_sshd
from tests.waiting import wait_until

__all__ = ["endless"]

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

ONE = ("-f", "hosts.yaml", "-w", "h01")
MEBIBYTE = 1024 * 1024
DAY_SECONDS = 24 * 60 * 60
OTHER = 1234
"""The number of a user and of a group that no test logs in as."""


def acl_of(path: Path) -> set[str]:
    program("getfacl", package="acl")
    said = subprocess.run(["getfacl", "-npcE", path], capture_output=True, check=True, text=True)
    return set(said.stdout.split())


def give_acl(path: Path) -> None:
    program("setfacl", package="acl")
    subprocess.run(["setfacl", "-m", "u:4321:r", path], check=True)


def age(path: Path, seconds: float) -> None:
    """Let a file be so old."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def places(by: Program, root: Path, direction: str, *, name: str = "source") -> tuple[Path, Path, Path]:
    """Where a file of this name is copied from, what is named as DEST, and the folder that it comes to."""
    there = root / "there"
    folder = there if direction == "push" else there / "h01"
    folder.mkdir(parents=True)
    return by.home / name, there, folder


# Half files of another version.


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_another_version_of_the_same_size_and_time_is_not_gone_on_with(
    on_internal: Program, tmp_path: Path, direction: str
) -> None:
    source, there, folder = places(on_internal, tmp_path, direction)
    old, new = os.urandom(8 * MEBIBYTE), os.urandom(8 * MEBIBYTE)
    source.write_bytes(new)
    os.utime(source, ns=(10**18, 10**18 + 1))
    for time in (10**18 + 1, 10**9):  # as this direction knows it
        (folder / os.fsdecode(partial_name(b"source", len(new), time))).write_bytes(old[: 6 * MEBIBYTE])

    done = on_internal(direction, *ONE, "--partial", source, there)

    assert done.code == 0, done.err
    assert (folder / "source").read_bytes() == new


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_what_both_ends_sum_up_alike_is_gone_on_with(
    on_internal: Program, tmp_path: Path, direction: str
) -> None:
    source, there, folder = places(on_internal, tmp_path, direction)
    data = os.urandom(8 * MEBIBYTE)
    source.write_bytes(data)
    os.utime(source, (10**9, 10**9))
    time = 10**18 if direction == "push" else 10**9
    partial = folder / os.fsdecode(partial_name(b"source", len(data), time))
    partial.write_bytes(data[: 6 * MEBIBYTE])
    partial.chmod(0o600)

    done = on_internal(direction, *ONE, "--partial", "--json", source, there)

    assert done.code == 0, done.err
    (copied,) = [json.loads(line) for line in done.out.splitlines() if '"copied"' in line]
    assert copied["bytes"] == 2 * MEBIBYTE
    assert (folder / "source").read_bytes() == data
    assert not leftovers(there)


# Half files of long ago.


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_what_a_copy_has_left_long_ago_is_removed(on_server: Program, tmp_path: Path, direction: str) -> None:
    """The next copy of the same file does it; what may still be written is left alone."""
    source, there, folder = places(on_server, tmp_path, direction)
    source.write_text("new")
    old, fresh, beside = (folder / f".source.multirsh-{end}" for end in ("1", "2", "of-another"))
    for path in (old, fresh, beside):
        path.write_text("half")
    age(old, 2 * DAY_SECONDS)
    age(beside, 2 * DAY_SECONDS)

    assert on_server(direction, *ONE, source, there).code == 0

    assert sorted(folder.iterdir()) == sorted([fresh, beside, folder / "source"])


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_half_files_of_old_versions_are_removed_once_a_new_one_is_there(
    on_internal: Program, tmp_path: Path, direction: str
) -> None:
    source, there, folder = places(on_internal, tmp_path, direction, name="source*")
    source.write_text("new")
    paths = [folder / os.fsdecode(partial_name(name, 5, 6)) for name in (b"source*", b"source", b"source*")]
    paths[2] = folder / os.fsdecode(partial_name(b"source*", 7, 8))
    for path in paths:
        path.write_text("half")
    for path in paths[:2]:
        age(path, 2 * DAY_SECONDS)

    asked = source if direction == "push" else str(source).replace("*", "[*]")
    assert on_internal(direction, *ONE, "--partial", asked, there).code == 0

    assert sorted(folder.iterdir()) == sorted([*paths[1:], folder / "source*"])


# Secrets.


@pytest.mark.parametrize("partial", [False, True], ids=["plain", "partial"])
@pytest.mark.parametrize("exact", [False, True], ids=["usual", "exact"])
def test_a_temporary_file_is_never_more_open_than_its_target(
    on_internal: Program, endless: Path, tmp_path: Path, *, partial: bool, exact: bool
) -> None:
    """Neither than the file that is overwritten, nor than what it becomes with -p."""
    there = tmp_path / "there"
    there.mkdir()
    (there / "endless").write_text("old")
    (there / "endless").chmod(0o644 if exact else 0o640)
    endless.chmod(0o600 if exact else 0o644)
    flags = [flag for flag, is_given in (("--partial", partial), ("-p", exact)) if is_given]
    process = on_internal.start("push", *ONE, *flags, endless, there)
    wait_until(lambda: begun(there), what="a copy")

    (half,) = leftovers(there)
    assert stat.S_IMODE(half.stat().st_mode) & 0o177 == 0

    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_half_file_that_is_too_open_is_not_gone_on_with(on_internal: Program, tmp_path: Path) -> None:
    """It may have been made before its target was a secret."""
    there = tmp_path / "there"
    there.mkdir()
    source = on_internal.write("source", "x" * 8 * MEBIBYTE)
    os.utime(source, (10**9, 10**9))
    (there / "source").write_text("secret")
    (there / "source").chmod(0o600)
    partial = there / os.fsdecode(partial_name(b"source", 8 * MEBIBYTE, 10**18))
    partial.write_bytes(source.read_bytes()[: 6 * MEBIBYTE])
    partial.chmod(0o644)
    with partial.open("rb") as reader:
        assert on_internal("push", *ONE, "--partial", source, there).code == 0
        assert os.fstat(reader.fileno()).st_nlink == 0

    assert (there / "source").read_bytes() == source.read_bytes()
    assert stat.S_IMODE((there / "source").stat().st_mode) == 0o600


# Owners.


@pytest.mark.parametrize("preserve", [False, True], ids=["usual", "exact"])
def test_what_is_overwritten_keeps_its_owner_and_acl(
    on_server: Program, tmp_path: Path, *, preserve: bool
) -> None:
    """As root, without --sudo; to the host and from it."""
    source = on_server.write("source", "new", mode=0o604)
    there = tmp_path / "there"
    for folder in (there, there / "h01"):
        folder.mkdir()
        (folder / "source").write_text("old")
        (folder / "source").chmod(0o640)
        os.chown(folder / "source", OTHER, OTHER)
        give_acl(folder / "source")
    before = acl_of(there / "source")
    flags = ["-p"] if preserve else []

    pushed = on_server("push", *ONE, *flags, source, there)
    pulled = on_server("pull", *ONE, *flags, source, there)

    assert (pushed.code, pulled.code) == (0, 0), pushed.err + pulled.err
    assert "but" not in pushed.err + pulled.err
    for made in (there / "source", there / "h01" / "source"):
        status = made.stat()
        assert (made.read_text(), status.st_uid, status.st_gid) == ("new", OTHER, OTHER)
        assert "user:4321:r--" in acl_of(made)
        if preserve:
            assert stat.S_IMODE(status.st_mode) == 0o604
        else:
            assert (acl_of(made), stat.S_IMODE(status.st_mode)) == (before, 0o640)


def test_in_a_folder_of_many_the_one_acl_is_kept(on_internal: Program, tmp_path: Path) -> None:
    """The folder is asked for first, where many of its files are overwritten."""
    tree, there = on_internal.home / "tree", tmp_path / "there"
    for folder in (tree, there / "tree", there / "tree" / "plain"):
        folder.mkdir(parents=True)
    for number in range(20):
        for name in (f"f{number}", f"plain/f{number}"):
            on_internal.write(f"tree/{name}", "new")
            (there / "tree" / name).write_text("old")
    give_acl(there / "tree" / "f7")

    done = on_internal("push", *ONE, "-r", tree, there)

    assert done.code == 0, done.err
    made = [path for path in there.rglob("*") if path.is_file()]
    assert {path.read_text() for path in made} == {"new"}
    assert [path.name for path in made if "user:4321:r--" in acl_of(path)] == ["f7"]


@pytest.mark.parametrize("direction", ["push", "push by scp", "pull"])
def test_a_folder_with_an_acl_for_new_files_opens_no_old_one(
    on_internal: Program, tmp_path: Path, direction: str
) -> None:
    """A temporary file has such a list, and would let others in as soon as it has the mode of the old one."""
    source = on_internal.write("source", "new")
    there = tmp_path / "there" / "h01"
    there.mkdir(parents=True)
    (there / "source").write_text("old")
    (there / "source").chmod(0o640)
    before = acl_of(there / "source")
    subprocess.run(["setfacl", "-d", "-m", "u:4321:rwx", there], check=True)
    command, *flags = direction.split()
    via = ["--via", "scp"] if flags else []

    done = on_internal(command, *ONE, *via, source, there if command == "push" else there.parent)

    assert done.code == 0, done.err
    assert (there / "source").read_text() == "new"
    assert acl_of(there / "source") == before


def test_an_owner_that_cannot_be_kept_is_told(
    internal: Daemon, scp_only: Daemon, in_module_namespace: Namespace, multirsh: Program
) -> None:
    """Who had only been let in by the group is then let in by what all others may."""
    for server, words in ((internal, ()), (scp_only, ("--via", "scp"))):
        multirsh.knows(server, 1)
        there = server.directory / "there"
        there.mkdir()
        there.chmod(0o777)
        target = there / "hosts.yaml"
        target.write_text("old")
        os.chown(target, OTHER, OTHER)
        target.chmod(0o664)

        done = multirsh("push", *ONE, *words, "-l", server.guest, "hosts.yaml", there)

        assert done.code == 0, done.err
        told = re.search(r"hosts\.yaml: copied, but its owner is (\d+):\d+ and not 1234:1234", done.err)
        assert told, done.err
        status = target.stat()
        assert (str(status.st_uid), stat.S_IMODE(status.st_mode)) == (told[1], 0o644)
        assert target.read_text() == (multirsh.home / "hosts.yaml").read_text()


def test_a_host_with_sftp_alone_says_once_that_no_acl_can_be_seen(
    module_namespace: Namespace, in_module_namespace: Namespace, multirsh: Program, tmp_path: Path
) -> None:
    with many_homes(module_namespace, tmp_path, 1) as server:
        multirsh.knows(server, 1)
        files = [multirsh.write(name, "new") for name in ("a", "b")]
        first = multirsh("push", *ONE, *files, ".")
        again = multirsh("push", *ONE, *files, ".")

    assert (first.code, again.code) == (0, 0), again.err
    assert "access control" not in first.err
    assert again.err.count("copied, but access control lists are lost") == 1


# What is no file.


@pytest.mark.parametrize("kind", ["fifo", "device"])
@pytest.mark.parametrize("direction", ["push", "pull", "in a folder", "in place"])
def test_a_device_or_fifo_is_not_replaced(
    on_server: Program, tmp_path: Path, kind: str, direction: str
) -> None:
    source = on_server.write("source", "new")
    target = tmp_path / ("h01" if direction == "pull" else "there") / "source"
    target.parent.mkdir()
    if kind == "fifo":
        os.mkfifo(target)
    else:
        os.mknod(target, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    before = target.stat()
    words = {
        "push": ("push", *ONE, source, target),
        "pull": ("pull", *ONE, source, tmp_path),
        "in a folder": ("push", *ONE, source, target.parent),
        "in place": ("push", *ONE, "--inplace", source, target.parent),
    }[direction]

    done = on_server(*words)

    assert done.code == 5, done.err
    assert "a device, a FIFO or a socket" in done.err
    assert (target.stat().st_ino, target.stat().st_rdev) == (before.st_ino, before.st_rdev)
    assert [path.name for path in target.parent.iterdir()] == ["source"]


# Where nothing can be renamed, or no mode set.


@pytest.fixture
def refusing(module_namespace: Namespace, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """sshd whose SFTP refuses some requests, as those of vendors do."""
    with start_sshd(
        namespace=module_namespace,
        options={"Subsystem": "sftp internal-sftp", "ForceCommand": f"internal-sftp -P {request.param}"},
    ) as server:
        yield server


@pytest.mark.parametrize("refusing", ["setstat,fsetstat"], indirect=True)
def test_a_server_that_sets_no_modes_can_be_written_to(
    in_module_namespace: Namespace, refusing: Daemon, multirsh: Program, tmp_path: Path
) -> None:
    multirsh.knows(refusing, 1)
    there = tmp_path / "there"
    there.mkdir()
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "file").write_text("new")
    (tree / "sub" / "odd").write_text("new")

    first = multirsh("push", *ONE, "-r", f"{tree}/.", there)
    (there / "sub" / "odd").chmod(0o604)
    again = multirsh("push", *ONE, "-r", f"{tree}/.", there)
    asked = multirsh("push", *ONE, "-p", tree / "sub" / "file", there)

    assert (first.code, again.code) == (0, 0), first.err + again.err
    assert (there / "sub" / "file").stat().st_mode & 0o777 == 0o644
    # The first file that is done has the host's note of access control lists before its own.
    unset = [line for line in again.err.splitlines() if "its mode and times could not be set" in line]
    assert [line.partition(": copied, but ")[0].rpartition("/")[2] for line in unset] == ["odd"]
    assert asked.code == 5
    assert "-p asks for them" in asked.err
    assert not leftovers(there)


@pytest.mark.parametrize("refusing", ["rename,posix-rename"], indirect=True)
def test_a_server_that_renames_nothing_names_the_step_and_the_way_out(
    in_module_namespace: Namespace, refusing: Daemon, multirsh: Program, tmp_path: Path
) -> None:
    multirsh.knows(refusing, 1)
    target = tmp_path / "target"
    target.write_text("old and longer than what comes")

    refused = multirsh("push", *ONE, "hosts.yaml", target)
    assert refused.code == 5
    assert "its temporary file cannot be renamed to it (--inplace writes to the file itself)" in refused.err
    assert target.read_text() == "old and longer than what comes"
    assert not leftovers(tmp_path)

    done = multirsh("push", *ONE, "--inplace", "hosts.yaml", target)
    assert done.code == 0, done.err
    assert target.read_text() == (multirsh.home / "hosts.yaml").read_text()


@pytest.mark.parametrize("via", ["sftp", "scp"])
@pytest.mark.parametrize("direction", ["push", "pull"])
def test_a_mount_in_the_place_of_a_file_is_written_to_in_place(
    on_internal: Program, tmp_path: Path, direction: str, via: str
) -> None:
    """Such as /etc/hosts of a container."""
    mounted, target = tmp_path / "mounted", tmp_path / "there" / "h01" / "source"
    target.parent.mkdir(parents=True)
    for file in (mounted, target):
        file.write_text("old and longer than what comes")
    source = on_internal.write("source", "new")
    words = ("--via", via, source, target if direction == "push" else tmp_path / "there")
    subprocess.run(["mount", "--bind", mounted, target], check=True)
    try:
        refused = on_internal(direction, *ONE, *words)
        assert refused.code == 5, refused.err
        assert "--inplace writes to the file itself" in refused.err
        assert mounted.read_text() == "old and longer than what comes"
        inode = target.stat().st_ino

        done = on_internal(direction, *ONE, "--inplace", *words)

        assert done.code == 0, done.err
        assert (mounted.read_text(), target.stat().st_ino) == ("new", inode)
        assert not leftovers(tmp_path)
    finally:
        subprocess.run(["umount", "-l", target], check=True)


def test_a_folder_that_cannot_be_written_to_names_the_way_out(
    internal: Daemon, in_module_namespace: Namespace, multirsh: Program
) -> None:
    multirsh.knows(internal, 1)
    there = internal.directory / "read-only"
    there.mkdir()
    (there / "hosts.yaml").write_text("old")
    (there / "hosts.yaml").chmod(0o666)
    words = ("push", *ONE, "-l", internal.guest, "hosts.yaml", there)

    refused = multirsh(*words)
    done = multirsh(words[0], "--inplace", *words[1:])

    assert refused.code == 5
    assert "no temporary file can be made beside it (--inplace writes to the file itself)" in refused.err
    assert done.code == 0, done.err
    assert (there / "hosts.yaml").read_text() == (multirsh.home / "hosts.yaml").read_text()


def test_no_inodes_are_told_once(on_internal: Program, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    files = [on_internal.write(f"f{number}", "x") for number in range(8)]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=4", "none", folder], check=True)
    try:
        process = on_internal.start("push", *ONE, *files, folder)
        done = ended(process)
        found = leftovers(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)

    assert done.code == 5
    assert done.err.count("no inodes left on the host") == 2, done.err  # the file's line, and the summary
    assert not found
