"""Servers that lie to a pull: nothing is ever written outside of the host's own folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from multirsh.files.sftp.packets import LONGEST_PACKET, FileAttributes, PacketType
from tests.conftest import StartHooked
from tests.files.evil import FILE, FOLDER, LINK, EvilSftp, Node, says
from tests.files.trees import leftovers
from tests.program import Ended, Program
from tests.servers.hooked import Conduct, HookedServer

pytestmark = pytest.mark.usefixtures("no_leaks")

ONE = ("-f", "hosts.yaml", "-w", "h01")


class Victim:
    """Pulls from a server that lies, and looks at what has become of this machine.

    Attributes:
        outside: A folder beside the target, with a file in it.
        home: The host's own folder.
    """

    def __init__(self, multirsh: Program, hooked: StartHooked) -> None:
        self._multirsh = multirsh
        self._hooked = hooked
        self.outside = multirsh.home / "outside"
        self.outside.mkdir()
        (self.outside / "precious").write_text("mine")
        self.home = multirsh.home / "got" / "h01"

    def pulls(self, conduct: Conduct, *words: str) -> Ended:
        """Pull from it, once or again."""
        server = self._hooked(conduct)
        assert isinstance(server, HookedServer)
        self._multirsh.knows(server, 1)
        self._multirsh.write("hosts.yaml", "hosts:\n  - h01: {address: 127.0.0.1}\n")
        self._multirsh.write(".ssh/known_hosts", server.known_hosts(["127.0.0.1"]))
        before = self._beside()
        ended = self._multirsh("pull", "--no-journal", *ONE, *words, "got")
        assert self._beside() == before
        assert (self.outside / "precious").read_text() == "mine"
        assert not leftovers(self._multirsh.home)
        assert "Traceback" not in ended.err
        assert "internal" not in ended.err
        return ended

    def pulls_tree(self, nodes: dict[bytes, Node], *words: str) -> Ended:
        """Pull ``tree`` from an SFTP server with these nodes."""
        return self.pulls(Conduct(session=EvilSftp(nodes).session), "-r", *words, "tree")

    def _beside(self) -> set[Path]:
        """All that is not in the host's folder."""
        home = self._multirsh.home
        mine = {home / "hosts.yaml", home / "got", home / "passwd", home / "group"}
        return {
            path
            for path in home.rglob("*")
            if path not in mine and ".ssh" not in path.parts and not path.is_relative_to(self.home)
        }


@pytest.fixture
def victim(multirsh: Program, hooked: StartHooked) -> Victim:
    return Victim(multirsh, hooked)


NAMES = [b"../up", b"/etc/evil", b"a/b", b"..", b".", b"", b"nul\0", b"n" * 300]


@pytest.mark.parametrize("mode", [FILE, FOLDER, LINK], ids=["file", "folder", "link"])
@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_name_that_leads_elsewhere_is_refused(victim: Victim, name: bytes, mode: int) -> None:
    node = Node(mode, data=b"evil", names=[(b"f", FILE)], target=b"/etc")
    ended = victim.pulls_tree(
        {
            b"tree": Node(FOLDER, names=[(name, mode), (b"good", FILE)]),
            b"tree/good": Node(data=b"good"),
            b"tree/" + name: node,
            b"/etc/evil": node,
        }
    )

    assert ended.code == (0 if name in {b".", b".."} else 5)
    assert {path.name for path in (victim.home / "tree").iterdir()} == {"good"}


@pytest.mark.parametrize("name", [b"line\nfeed", b"esc\x1b[2J", b"bell\x07", b"\x7f"], ids=repr)
def test_a_name_with_control_characters_is_a_name(victim: Victim, name: bytes) -> None:
    """It is pulled as it can be pushed; what is said of it is safe on a terminal."""
    nodes = {
        b"tree": Node(FOLDER, names=[(name, FILE), (b"gone" + name, FILE)]),
        b"tree/" + name: Node(data=b"data"),
    }

    ended = victim.pulls_tree(nodes)

    assert ended.code == 5
    assert {os.fsencode(path.name) for path in (victim.home / "tree").iterdir()} == {name}
    assert "no such file or folder" in ended.err
    assert not set(ended.err) & set(map(chr, (*range(9), *range(11, 32), 127)))
    assert len([line for line in ended.err.splitlines() if "gone" in line]) == 2  # its own, and the summary


@pytest.mark.parametrize("target", [b"../../outside", b"/etc", b"x/../../../outside", b"", b"a\0b"])
def test_a_link_that_leads_out_is_not_made(victim: Victim, target: bytes) -> None:
    ended = victim.pulls_tree(
        {b"tree": Node(FOLDER, names=[(b"x", LINK)]), b"tree/x": Node(LINK, target=target)}
    )

    assert ended.code == 0
    assert "left out: its link leads out of the folder" in ended.err
    assert not list((victim.home / "tree").iterdir())


def test_nothing_is_written_through_a_link(victim: Victim) -> None:
    """One made by an earlier entry of the same name; and one that somebody else has put there."""
    nodes = {
        b"tree": Node(FOLDER, names=[(b"real", FOLDER), (b"x", LINK), (b"x", FOLDER), (b"y", FOLDER)]),
        b"tree/real": Node(FOLDER, names=[(b"keep", FILE)]),
        b"tree/real/keep": Node(data=b"keep"),
        b"tree/x": Node(LINK, target=b"real", names=[(b"evil", FILE)]),
        b"tree/x/evil": Node(data=b"evil"),
        b"tree/y": Node(FOLDER, names=[(b"evil", FILE)]),
        b"tree/y/evil": Node(data=b"evil"),
    }
    (victim.home / "tree").mkdir(parents=True)
    (victim.home / "tree" / "y").symlink_to("../../../outside")

    ended = victim.pulls_tree(nodes)

    assert ended.code == 5
    assert {path.name for path in (victim.home / "tree" / "real").iterdir()} <= {"keep"}
    assert {path.name for path in victim.outside.iterdir()} == {"precious"}


def test_a_link_in_the_place_of_a_file_is_replaced(victim: Victim) -> None:
    (victim.home / "tree").mkdir(parents=True)
    (victim.home / "tree" / "f").symlink_to("../../../outside/precious")

    ended = victim.pulls_tree({b"tree": Node(FOLDER, names=[(b"f", FILE)]), b"tree/f": Node(data=b"new")})

    assert ended.code == 0, ended.err
    assert not (victim.home / "tree" / "f").is_symlink()
    assert (victim.home / "tree" / "f").read_text() == "new"


def test_the_hosts_own_folder_is_no_link(victim: Victim) -> None:
    victim.home.parent.mkdir()
    victim.home.symlink_to("../outside")

    ended = victim.pulls_tree({b"tree": Node(FOLDER, names=[(b"f", FILE)]), b"tree/f": Node(data=b"new")})

    assert ended.code == 5
    assert {path.name for path in victim.outside.iterdir()} == {"precious"}


@pytest.mark.parametrize(("said", "data"), [(10, b"short"), (1 << 63, b"x" * 100_000)], ids=["short", "huge"])
def test_a_file_is_read_to_its_end_whatever_its_size_is_said_to_be(
    victim: Victim, said: int, data: bytes
) -> None:
    """As those in /sys are, of which each is said to have 4096 bytes."""
    ended = victim.pulls(Conduct(session=EvilSftp({b"f": Node(size=said, data=data)}).session), "f")

    assert ended.code == 0, ended.err
    assert (victim.home / "f").read_bytes() == data


def test_a_file_that_is_cut_short_while_it_is_read_has_failed(victim: Victim) -> None:
    class Cutting(EvilSftp):
        def _answer(self, kind: PacketType, *asked: Any) -> bytes:
            if kind is PacketType.READ:
                self.nodes = {b"f": Node(data=b"short")}
            return super()._answer(kind, *asked)

    ended = victim.pulls(Conduct(session=Cutting({b"f": Node(size=10, data=b"short")}).session), "f")

    assert ended.code == 5, ended.err
    assert "cut short on the host" in ended.err
    assert not victim.home.exists()


def test_a_file_that_never_ends_has_failed(victim: Victim) -> None:
    evil = EvilSftp({b"f": Node(size=0)}, endless=True)

    ended = victim.pulls(Conduct(session=evil.session), "f")

    assert ended.code == 5, ended.err
    assert "its size is reported as 0" in ended.err
    assert not list(victim.home.iterdir())


def test_a_longer_answer_than_was_asked_for(victim: Victim) -> None:
    class Generous(EvilSftp):
        def _answer(self, *asked: Any) -> bytes:
            answer = super()._answer(*asked)
            return answer[:5] + b"\0\0\0\x20" + b"y" * 32 if answer[0] == 103 else answer

    evil = Generous({b"f": Node(data=b"12345")})

    assert victim.pulls(Conduct(session=evil.session), "f").code == 5


def test_folders_in_folders_without_end(victim: Victim) -> None:
    deep = Node(FOLDER, names=[(b"d", FOLDER)])
    nodes = {b"tree" + b"/d" * depth: deep for depth in range(300)}

    ended = victim.pulls_tree(nodes)

    assert ended.code == 5
    assert "more than 100 folders deep" in ended.err


def test_a_pattern_takes_only_what_matches(victim: Victim) -> None:
    nodes = {
        b"logs": Node(FOLDER, names=[(b"a.log", FILE), (b".bashrc", FILE), (b"evil.sh", FILE)]),
        b"logs/a.log": Node(data=b"a"),
        b"logs/.bashrc": Node(data=b"evil"),
        b"logs/evil.sh": Node(data=b"evil"),
    }

    ended = victim.pulls(Conduct(session=EvilSftp(nodes).session), "logs/*.log")

    assert ended.code == 0, ended.err
    assert [path.name for path in victim.home.iterdir()] == ["a.log"]


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xff\xff\xff",
        (LONGEST_PACKET + 1).to_bytes(4, "big"),
        b"\0\0\0\0",
        b"\0\0\0\x05\x65\0\0\0\x63",
        b"\0\0\0\x02\x65\0",
        b"\0\0\0\x05\x02\0\0\0\x03",
        b"\0\0\0\x05\x68\0\0\0\x01",
        b"Welcome to this machine!\n",
    ],
)
def test_what_is_no_sftp_is_told_as_that(victim: Victim, raw: bytes) -> None:
    evil = EvilSftp({}, raw=raw)

    ended = victim.pulls(Conduct(session=evil.session), "--via", "sftp", "f")

    assert ended.code == 5, ended.err
    assert "violates the protocol" in ended.err


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (b"C0644 4 ../evil\nevil\0", ()),
        (b"C0644 4 /etc/evil\nevil\0", ()),
        (b"C0644 4 .bashrc\nevil\0", ()),
        (b"D0755 0 ..\nC0644 4 f\nevil\0E\n", ()),
        (b"D0755 0 tree\nC0644 4 ../f\nevil\0E\n", ("tree",)),
        (b"D0755 0 tree\nC0644 4 f\nevil\0E\nE\n", ("tree",)),
        (b"C0644 99999999999999999999 tree\n", ()),
        (b"C0644 100 tree\nshort", ()),
        (b"E\n", ()),
        (b"X" * 100_000, ()),
        (b"\2scp: no\n", ()),
        (b"C6777 4 tree\nevil\0", ("tree",)),
    ],
)
def test_records_of_scp_that_lie(victim: Victim, said: bytes, kept: tuple[str, ...]) -> None:
    ended = victim.pulls(Conduct(session=says(said)), "--via", "scp", "-rp", "tree")

    assert ended.code == (0 if said.startswith(b"C6777") else 5), ended.err
    found = sorted(victim.home.iterdir()) if victim.home.exists() else []
    assert tuple(path.name for path in found) == kept
    assert not any(path.stat().st_mode & 0o6000 for path in found)


def test_what_a_listing_does_not_tell_is_asked_for(victim: Victim) -> None:
    nodes = {
        b"tree": Node(
            FOLDER,
            names=lambda turn: [(b"f", FileAttributes()), (b"gone", FileAttributes())] if not turn else [],
        ),
        b"tree/f": Node(data=b"there"),
    }

    ended = victim.pulls_tree(nodes)

    assert ended.code == 5
    assert "tree/gone: it is gone" in ended.err
    assert (victim.home / "tree" / "f").read_text() == "there"
