"""Who holds a socket, asked of real processes."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from multirsh.ports.holders import Holders, Process, _links, find_holders
from multirsh.ports.socket_table import read_table
from multirsh.ports.sockets import TcpState
from tests.servers.requirement import require_root

NOBODY = pwd.getpwnam("nobody")


def inode_of(ours: socket.socket) -> int:
    return os.fstat(ours.fileno()).st_ino


@contextmanager
def child_with(held: socket.socket, *, user: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has inherited a socket and waits."""
    with subprocess.Popen(
        ["cat", "--", "-"], stdin=subprocess.PIPE, pass_fds=[held.fileno()], user=user
    ) as child:
        yield child


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """Give up root's capabilities for a while."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def test_the_table_names_the_inode_and_the_inode_its_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (row,) = [row for row in read_table(states=[TcpState.LISTEN]) or () if row.local.port == port]
        assert (row.inode, row.uid) == (inode_of(server), os.geteuid())
        found = find_holders([row.inode])
    (process,) = found.by_inode[row.inode]
    assert process.pid == os.getpid()
    assert process.user == pwd.getpwuid(os.geteuid()).pw_name
    assert process.program == Path("/proc/self/comm").read_text(encoding="utf-8").strip()


def test_many_sockets_in_one_pass_and_all_their_holders() -> None:
    with socket.socket() as ours, socket.socket() as shared, child_with(shared) as child:
        shared_inode = inode_of(shared)
        found = find_holders([inode_of(ours), shared_inode, 0, 4_000_000_000])
        assert [process.pid for process in found.by_inode[inode_of(ours)]] == [os.getpid()]
        assert [process.pid for process in found.by_inode[shared_inode]] == sorted([os.getpid(), child.pid])
        assert set(found.by_inode) == {inode_of(ours), shared_inode}
        (theirs,) = [process for process in found.by_inode[shared_inode] if process.pid == child.pid]
        assert (theirs.program, theirs.argv) == ("cat", ("cat", "--", "-"))


@pytest.mark.root
def test_root_sees_the_processes_of_others_and_names_their_user() -> None:
    require_root()
    with socket.socket() as shared, child_with(shared, user=NOBODY.pw_uid) as child:
        found = find_holders([inode_of(shared)])
        assert [process.user for process in found.by_inode[inode_of(shared)] if process.pid == child.pid] == [
            "nobody"
        ]


@pytest.mark.root
def test_what_is_not_ours_to_see_is_counted_and_never_called_free() -> None:
    require_root()
    with socket.socket() as ours, socket.socket() as theirs, child_with(theirs) as child:
        inode = inode_of(theirs)
        theirs.close()
        assert [process.pid for process in find_holders([inode]).by_inode[inode]] == [child.pid]
        with acting_as(NOBODY.pw_uid):
            found = find_holders([inode, inode_of(ours)])
        assert set(found.by_inode) == {inode_of(ours)}
    assert found.unseen > 0
    assert not found.is_complete


def test_no_proc_is_not_nobody(tmp_path: Path) -> None:
    assert find_holders([1], tmp_path / "absent") == Holders({}, unseen=0, are_others_hidden=True)
    assert not find_holders([1], tmp_path / "absent").is_complete


def test_hidden_processes_are_told(tmp_path: Path) -> None:
    """As /proc looks with hidepid=2: others are not even listed, and so 1 is not."""
    (tmp_path / "77" / "fd").mkdir(parents=True)
    (tmp_path / "77" / "fd" / "3").symlink_to("socket:[5]")
    found = find_holders([5], tmp_path)
    assert found.are_others_hidden
    assert found.by_inode == {5: [Process(77, "", (), "")]}


def test_a_process_that_ends_meanwhile_is_none(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    found = find_holders([5], tmp_path)
    assert found == Holders({}, unseen=0, are_others_hidden=False)
    assert found.is_complete


def test_a_process_that_ends_while_it_is_read_is_not_called_secret() -> None:
    with socket.socket() as shared, child_with(shared) as child:
        links = iter(_links(Path(f"/proc/{child.pid}/fd")))
        next(links)
        child.kill()
        child.wait()
        assert list(links) == []


def test_a_zombie_holds_nothing() -> None:
    with socket.socket() as shared, child_with(shared) as child:
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert [process.pid for process in find_holders([inode_of(shared)]).by_inode[inode_of(shared)]] == [
            os.getpid()
        ]
