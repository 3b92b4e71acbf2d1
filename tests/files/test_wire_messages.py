"""push and pull as a user meets them: what is refused, told, left out, cut off and gone on with."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.finished_run import COMPLAINTS, STRICTLY
from tests.files.trees import leftovers, plant, seen
from tests.program import Program, ended, said
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.servers.requirement import program
from tests.servers.sshd import start_sshd
from tests.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

ONE = ("-f", "hosts.yaml", "-w", "h01")
TEN = ("-f", "hosts.yaml")
NOT_BY_LUCK = 2 * 1000**3
"""Bytes of a file that takes long enough to be cut off."""


# What is refused before anything connects.


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("push",), "requires SRC and DEST"),
        (("push", "hosts.yaml"), "requires SRC and DEST"),
        (("push", "nothing", "/tmp"), "nothing: No such file"),
        (("push", "folder", "/tmp"), "folders are copied with -r"),
        (("push", "broken", "/tmp"), "broken: No such file"),
        (("push", "hosts.yaml", "folder/hosts.yaml", "/tmp"), "would have the same name"),
        (("push", "hosts.yaml", "~other/x"), "~"),
        (("push", "--via", "scp", "--update", "hosts.yaml", "/tmp"), "scp has no --update"),
        (("pull", "/etc/hostname", "hosts.yaml"), "not a folder"),
        (("pull", "..", "folder"), "this gives the copy no name"),
    ],
)
def test_what_cannot_be_meant_is_refused(multirsh: Program, words: tuple[str, ...], said: str) -> None:
    multirsh.write("hosts.yaml", "hosts: [{h01: {address: 127.0.0.1, port: 1}}]\n")
    multirsh.write("folder/hosts.yaml", "")
    (multirsh.home / "broken").symlink_to("nowhere")

    refused = multirsh(words[0], "-f", "hosts.yaml", *words[1:])

    assert refused.code == 2, refused.err
    assert said in refused.err
    assert refused.out == ""


def test_a_transport_that_carries_no_files_says_so(multirsh: Program) -> None:
    multirsh.write("hosts.yaml", "hosts: [{h01: {address: 127.0.0.1, transport: rsh}}]\n")

    refused = multirsh("push", *ONE, "hosts.yaml", "/tmp/x")

    assert refused.code == 2
    assert "rsh: h01" in refused.err


# What is told.


def test_a_tree_of_2000_files_to_several_hosts(on_internal: Program, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for number in range(2000):
        file = tree / f"d{number % 40}" / f"f{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"%d\n" % number * (number % 100))

    few = ("-f", "hosts.yaml", "-w", "h[01-03]")
    (tmp_path / "there").mkdir()  # the three are one machine
    pushed, pulled = (
        ended(on_internal.start(*words))
        for words in (("push", *few, "-r", tree, tmp_path / "there"), ("pull", *few, "-r", tree, "back"))
    )

    assert pushed.code == pulled.code == 0, pushed.err + pulled.err
    assert "files: 6,000 copied" in pushed.err
    want = seen(tree)
    assert seen(tmp_path / "there" / "tree") == want
    for host in ("h01", "h02", "h03"):
        assert seen(on_internal.home / "back" / host / "tree") == want
    assert not leftovers(tmp_path)


def test_special_files_are_left_out_with_a_word(on_internal: Program, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_text("x")
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tree / "socket"))

    pushed = on_internal("push", *ONE, "-r", tree, tmp_path / "there")
    pulled = on_internal("pull", *ONE, "-r", tree, "back")

    assert pushed.code == pulled.code == 0
    assert pushed.err.count("neither file, folder nor link") == 2
    assert pulled.err.count("left out: special") == 2
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["file"]
    assert [path.name for path in (on_internal.home / "back" / "h01" / "tree").iterdir()] == ["file"]


@pytest.mark.parametrize("links", ["keep", "follow", "skip"])
def test_links_by_choice(on_internal: Program, tmp_path: Path, links: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_text("x")
    (tree / "link").symlink_to("file")

    assert on_internal("push", *ONE, "-r", "--links", links, tree, tmp_path / "there").code == 0
    assert on_internal("pull", *ONE, "-r", "--links", links, tree, "back").code == 0

    for copy in (tmp_path / "there", on_internal.home / "back" / "h01" / "tree"):
        kinds = {path.name: "link" if path.is_symlink() else "file" for path in copy.iterdir()}
        assert (
            kinds
            == {
                "keep": {"file": "file", "link": "link"},
                "follow": {"file": "file", "link": "file"},
                "skip": {"file": "file"},
            }[links]
        )


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_unchanged_files_are_left_out(on_internal: Program, tmp_path: Path, direction: str) -> None:
    tree = plant(tmp_path / "tree", files=5)
    there = tmp_path / "there"
    there.mkdir()
    words = (direction, *ONE, "-r", "--update", tree, there)
    assert on_internal(*words).code == 0
    (tree / "large").write_bytes(b"changed")

    again = on_internal(*words)

    assert again.code == 0
    assert re.search(r"^files: 4 copied, 7 B, \d+ unchanged$", again.err, re.MULTILINE), again.err
    copy = there / "tree" if direction == "push" else there / "h01" / "tree"
    assert seen(copy) == seen(tree)


def test_a_failure_is_one_hosts(on_internal: Program, internal: Daemon) -> None:
    """Who may not write there fails, with the path; who may does not."""
    there = internal.directory / "there"
    there.mkdir()
    on_internal.write(
        "two.yaml",
        f"hosts:\n  - h01: {{address: 127.1.0.1}}\n  - h02: {{address: 127.1.0.2, user: {internal.guest}}}\n",
    )

    done = on_internal("push", "-f", "two.yaml", "hosts.yaml", there)

    assert done.code == 5
    assert "2 hosts: 1 ok, 1 failed" in done.err
    assert f"{there}/hosts.yaml: permission denied" in done.err
    assert "failed (copy): h02" in done.err


def test_a_full_disk_there_is_told_as_that(on_internal: Program, small_disk: Path) -> None:
    on_internal.write("large", "x" * 3_000_000)

    done = on_internal("push", *ONE, "large", small_disk)

    assert done.code == 5
    assert "no space left on the host" in done.err
    assert not list(small_disk.iterdir())


def test_a_full_disk_here_is_told_once(on_internal: Program, small_disk: Path) -> None:
    on_internal.write("large", "x" * 3_000_000)

    done = on_internal("pull", *TEN, on_internal.home / "large", small_disk)

    assert done.code == 4
    assert done.err.count("No space left on device") == 1, done.err
    assert "local (disk): h[01-10]" in done.err
    assert not [path for path in small_disk.rglob("*") if path.is_file()]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where the test stands."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


# What is cut off.


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A file that takes long to copy, and no room."""
    file = tmp_path / "endless"
    with file.open("wb") as made:
        made.truncate(NOT_BY_LUCK)
    return file


def begun(folder: Path) -> bool:
    """Whether a copy is under way there."""
    sizes = []
    for path in leftovers(folder):
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:
            return False
    return any(size > 1_000_000 for size in sizes)


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_killed_in_the_middle_no_half_file_has_its_name(
    on_internal: Program, endless: Path, tmp_path: Path, direction: str
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    process = on_internal.start(direction, *ONE, endless, there)
    wait_until(lambda: begun(there), what="a copy")

    process.kill()
    process.communicate()

    found = [path for path in there.rglob("*") if path.is_file()]
    assert found == leftovers(there)


@pytest.mark.parametrize("direction", ["push", "pull"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
def test_stopped_nothing_is_left(
    on_internal: Program, endless: Path, tmp_path: Path, direction: str, number: signal.Signals
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    on_internal.environ.update(STRICTLY)
    process = on_internal.start(direction, *ONE, "--json", endless, there)
    wait_until(lambda: begun(there), what="a copy")

    process.send_signal(number)
    if number == signal.SIGINT:
        said(process, "longest in flight")
        process.send_signal(number)
    done = ended(process)

    assert done.code == 128 + number, done.err
    assert not [path for path in there.rglob("*") if path.is_file()]
    events = [json.loads(line) for line in done.out.splitlines()]
    (finished,) = [event for event in events if event["event"] == "host_finished"]
    assert finished["status"] == "cancelled"
    assert finished["error"]["fate"] == "dead"
    assert finished["closed_by"] == "remote"
    assert not [word for word in COMPLAINTS if word in done.err], done.err


def test_u_bounds_a_hosts_whole_copy(on_internal: Program, endless: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()

    done = on_internal("push", *ONE, "-u", "0.5", endless, there)

    assert done.code == 3
    assert "timeout (run" in done.err
    assert not list(there.iterdir())


def test_a_connection_that_dies_is_lost(
    on_internal: Program, internal: Daemon, endless: Path, tmp_path: Path
) -> None:
    """And the half file has not its name."""
    there = tmp_path / "there"
    there.mkdir()
    process = on_internal.start("push", *ONE, endless, there)
    wait_until(lambda: begun(there), what="a copy")

    # All stand still first: nobody is left to tell us how another ended.
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in internal.processes():
            os.kill(pid, number)
    done = ended(process)

    assert done.code == 3, done.err
    assert "lost" in done.err
    assert list(there.iterdir()) == leftovers(there)


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_what_was_cut_off_is_gone_on_with(on_internal: Program, tmp_path: Path, direction: str) -> None:
    source = tmp_path / "source"
    block = os.urandom(1_000_000)
    with source.open("wb") as file:
        for number in range(400):
            file.write(block[number:] + block[:number])
    there = tmp_path / "there"
    there.mkdir()
    process = on_internal.start(direction, *ONE, "--partial", source, there)
    wait_until(lambda: begun(there), what="a copy")
    process.kill()
    process.communicate()
    (partial,) = leftovers(there)
    size = partial.stat().st_size

    done = on_internal(direction, *ONE, "--partial", "--json", source, there)

    assert done.code == 0, done.err
    (copied,) = [json.loads(line) for line in done.out.splitlines() if '"copied"' in line]
    assert copied["bytes"] <= 400_000_000 - size + 2 * 1024 * 1024
    (made,) = [path for path in there.rglob("*") if path.is_file()]
    assert made.name == "source"
    assert made.read_bytes() == source.read_bytes()


def test_a_partial_file_of_another_version_is_not_gone_on_with(on_internal: Program, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    source = on_internal.write("source", "first" * 1000)
    process = on_internal("push", *ONE, "--partial", source, there)
    assert process.code == 0
    (there / ".source.multirsh-partial-0123456789abcdef").write_text("other")

    source.write_text("second" * 1000)
    assert on_internal("push", *ONE, "--partial", source, there).code == 0

    assert (there / "source").read_text() == "second" * 1000


# As root.


@pytest.fixture(scope="module")
def sudoers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Who may do what; sudo calls the guest nobody."""
    program("sudo", package="sudo")
    file = tmp_path_factory.mktemp("sudo") / "sudoers"
    file.touch(mode=0o440)
    return file


@pytest.fixture(scope="module")
def with_sudo(module_namespace: Namespace, sudoers: Path) -> Iterator[Daemon]:
    """sshd, with SFTP, which would not run as root."""
    options = {"Subsystem": "sftp internal-sftp"}
    replaced = {"/etc/sudoers": sudoers}
    with start_sshd(namespace=module_namespace, options=options, replaced=replaced) as server:
        yield server


@pytest.mark.parametrize("allowed", [True, False], ids=["allowed", "refused"])
def test_root_writes_what_a_user_may_not(
    in_module_namespace: Namespace, with_sudo: Daemon, sudoers: Path, multirsh: Program, *, allowed: bool
) -> None:
    """By ``sudo -n``; where that is refused, we were not let in. What is overwritten keeps its owner."""
    multirsh.knows(with_sudo, 1)
    there = with_sudo.directory / ("there" if allowed else "elsewhere")
    there.mkdir(mode=0o700)
    (there / "hosts.yaml").write_text("old")
    os.chown(there / "hosts.yaml", 1234, 1234)
    sudoers.write_text(f"nobody ALL=(ALL) NOPASSWD: {'ALL' if allowed else '/bin/true'}\n")

    done = multirsh("push", *ONE, "-l", with_sudo.guest, "--sudo", "hosts.yaml", there)

    made = there / "hosts.yaml"
    if allowed:
        assert done.code == 0, done.err
        assert made.read_text() == (multirsh.home / "hosts.yaml").read_text()
    else:
        assert done.code == 4, done.err
        assert "auth (sudo denied): h01" in done.err
        assert made.read_text() == "old"
    assert made.stat().st_uid == 1234
    assert not leftovers(there)
