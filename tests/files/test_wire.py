"""push and pull by every way to a host's files: sshd's SFTP, sftp-server, dropbear, scp."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.files.trees import leftovers, plant, seen
from tests.program import Program

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

ONE = ("-f", "hosts.yaml", "-w", "h01")


def but_times_of_folders(tree: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    return {path: what[:2] if what[0] == "folder" else what for path, what in tree.items()}


def test_a_tree_comes_and_goes(on_server: Program, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Pushed, and pulled back, it is the same: contents, names, links, modes and times."""
    tree = plant(tmp_path / "tree")
    there = tmp_path / "there"
    there.mkdir()
    by_scp = "scp_only" in request.node.name

    pushed = on_server("push", *ONE, "-rp", tree, there)

    assert (pushed.code, pushed.out) == (0, ""), pushed.err
    want, got = seen(tree, exact=True), seen(there / "tree", exact=True)
    if by_scp:  # the times of folders are lost
        want, got = but_times_of_folders(want), but_times_of_folders(got)
    assert got == want
    assert not leftovers(there)

    pulled = on_server("pull", *ONE, "-rp", there / "tree", "back")

    assert pulled.code == (5 if by_scp else 0), pulled.err
    back = seen(on_server.home / "back" / "h01" / "tree", exact=True)
    if by_scp:  # it follows links, and one leads nowhere
        assert "broken" in pulled.err
        back = but_times_of_folders({path: what for path, what in back.items() if got[path][0] != "link"})
        got = {path: what for path, what in got.items() if what[0] != "link"}
    assert back == got
    assert not leftovers(on_server.home)


def test_what_there_is_decides_where_a_file_goes(on_server: Program, tmp_path: Path) -> None:
    """As with scp: into a folder, else under the new name; several need a folder, and so does a slash."""
    one, two = on_server.write("one", "1"), on_server.write("two", "2")
    there = tmp_path / "there"
    there.mkdir()

    assert on_server("push", *ONE, one, there).code == 0
    assert on_server("push", *ONE, one, there / "renamed").code == 0
    assert on_server("push", *ONE, one, two, f"{there}/").code == 0
    assert {path.name: path.read_text() for path in there.iterdir()} == {
        "one": "1",
        "two": "2",
        "renamed": "1",
    }

    for destination in (there / "none" / "x", f"{there}/none/", f"{there}/one/"):
        refused = on_server("push", *ONE, one, destination)
        assert refused.code == 5, refused.err
        assert str(destination).rstrip("/") in refused.err
    assert on_server("push", *ONE, one, two, there / "one").code == 5


def test_what_fails_is_told_and_the_rest_is_copied(on_server: Program, tmp_path: Path) -> None:
    tree = plant(tmp_path / "tree", files=5)
    there = tmp_path / "there"
    (there / "tree" / "large").mkdir(parents=True)
    (there / "tree" / "empty").write_text("no folder")

    ended = on_server("push", *ONE, "-r", tree, there)

    assert ended.code == 5
    assert "h01: " in ended.err
    assert str(there / "tree" / "empty") in ended.err
    assert str(there / "tree" / "large") in ended.err
    assert "failed (copy): h01" in ended.err
    assert (there / "tree" / "sub" / "run.sh").exists()
    assert not leftovers(there)


def test_patterns_are_the_hosts(on_server: Program, tmp_path: Path) -> None:
    there = tmp_path / "a log's"
    there.mkdir()
    for name in ("a.log", "b.log", ".hidden.log", "c.txt", "[x].log"):
        (there / name).write_text(name)

    ended = on_server("pull", *ONE, there / "*.log", there / "nothing*", "logs")

    assert ended.code == 5, ended.err
    assert "nothing" in ended.err
    found = on_server.home / "logs" / "h01"
    assert sorted(path.name for path in found.iterdir()) == ["[x].log", "a.log", "b.log"]


def test_a_file_that_is_overwritten_keeps_its_mode(on_server: Program, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("old")
    secret.chmod(0o600)
    source = on_server.write("source", "new", mode=0o644)

    ended = on_server("push", *ONE, source, secret)

    assert ended.code == 0, ended.err
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("new", 0o600)


def test_events_tell_of_each_file(on_server: Program, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    source = on_server.write("source", "12345")

    ended = on_server("push", *ONE, "--json", source, tmp_path / "there")

    events = [json.loads(line) for line in ended.out.splitlines()]
    (copied,) = [event for event in events if event["event"] == "copied"]
    assert (copied["host"], copied["path"], copied["bytes"]) == ("h01", str(tmp_path / "there"), 5)
    assert copied["via"] == ("scp" if "scp_only" in request.node.name else "sftp")
    assert (copied["skipped"], copied["error"]) == (None, None)
    finished = next(event for event in events if event["event"] == "host_finished")
    assert (finished["status"], finished["closed_by"], finished["stdout_bytes"]) == ("ok", "remote", 0)
    assert events[-1]["ports"]["time_wait_left"] == 0
