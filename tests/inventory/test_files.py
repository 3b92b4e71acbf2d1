from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from multirsh.errors import InventoryError, UsageError
from multirsh.inventory import Inventory
from multirsh.inventory.files import MAX_BYTES, decode, format_of
from tests.inventory.reading import place


def load_error(*paths: str | Path) -> InventoryError:
    with pytest.raises(InventoryError) as caught:
        Inventory.load(*paths)
    return caught.value


def test_files_and_standard_input_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("hosts: [b, a]\n")
    (tmp_path / "list").write_text("c\na\n")
    inventory = Inventory.load(tmp_path / "a.yaml", "-", str(tmp_path / "list"), stdin=io.BytesIO(b"z\n"))
    assert [host.name for host in inventory.hosts] == ["b", "a", "z", "c"]
    assert inventory.sources == (str(tmp_path / "a.yaml"), "<stdin>", str(tmp_path / "list"))


def test_standard_input_may_be_yaml() -> None:
    assert Inventory.load("-", stdin=io.BytesIO(b"hosts: [a]")).hosts[0].name == "a"


def test_errors_in_standard_input_say_so() -> None:
    with pytest.raises(InventoryError, match=r"<stdin>:2:1: 'é' cannot be"):
        Inventory.load("-", stdin=io.BytesIO("a\né".encode()))


def test_standard_input_can_be_read_once_and_has_to_be_there() -> None:
    with pytest.raises(UsageError, match="only once"):
        Inventory.load("-", "-", stdin=io.BytesIO(b"a"))
    with pytest.raises(UsageError, match="needs a standard input"):
        Inventory.load("-")


def test_without_files_there_are_no_hosts() -> None:
    inventory = Inventory.load()
    assert (inventory.hosts, inventory.sources) == ((), ())


def test_a_missing_file_is_named() -> None:
    error = load_error("/nowhere/hosts.yaml")
    assert str(error) == "/nowhere/hosts.yaml: there is no such file"


def test_a_number_that_is_no_file_is_told_of_the_fanout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_error("32").hint == "-f names a hosts file; for the fanout use -j 32"
    Path("32").write_text("a\n")
    assert Inventory.load("32").hosts[0].name == "a"


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert "a directory" in load_error(tmp_path).message


@pytest.fixture
def unreadable(tmp_path: Path) -> Iterator[Path]:
    """A file that the test may not read, be it run by root."""
    path = tmp_path / "hosts"
    path.write_text("a\n")
    path.chmod(0)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield path
    os.seteuid(before)


def test_a_file_that_may_not_be_read_says_so(unreadable: Path) -> None:
    assert load_error(unreadable).message == "it cannot be read: Permission denied"


def test_a_file_whose_reading_fails_says_why(tmp_path: Path) -> None:
    path = tmp_path / "loop"
    path.symlink_to(path)
    assert load_error(path).message.startswith("it cannot be read: ")


def test_no_file_has_nul_in_its_name() -> None:
    assert "no file can have this name" in load_error("a\0b").message


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_says_so(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_bytes(data)
    assert str(load_error(path)) == f"{path}: it is empty"


def test_a_file_that_is_too_large_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert load_error(path).message == "it is larger than 64 MiB"


class TestIncludes:
    """``#include FILE`` in a plain list, as pdsh has it."""

    def test_the_hosts_of_a_list_stand_where_it_is_included(self, tmp_path: Path) -> None:
        (tmp_path / "lists" / "more").mkdir(parents=True)
        (tmp_path / "all").write_text('a\n#include lists/web\n#include "lists/d b"  # quoted\nz\n')
        (tmp_path / "lists" / "web").write_text("web[1, 2]\n  #include more/web # from its own folder\n")
        (tmp_path / "lists" / "more" / "web").write_text(f"web3\n#include {tmp_path}/lists/root\n")
        (tmp_path / "lists" / "root").write_text("root@r\n")
        (tmp_path / "lists" / "d b").write_text("db:22\n# include is a comment\n#included, too\n")
        inventory = Inventory.load(tmp_path / "all")
        assert [host.name for host in inventory.hosts] == ["a", "web1", "web2", "web3", "r", "db", "z"]
        assert inventory.by_name["r"].settings.user == "root"
        assert inventory.sources == (str(tmp_path / "all"),)

    def test_what_is_included_may_be_in_yaml(self, tmp_path: Path) -> None:
        (tmp_path / "all").write_text("#include hosts.yaml\n")
        (tmp_path / "hosts.yaml").write_text("hosts: [a]\ngroups: {g: {hosts: [a]}}\n")
        assert [host.name for host in Inventory.load(tmp_path / "all").members("g")] == ["a"]

    def test_from_standard_input_it_is_from_the_current_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("web").write_text("web1\n")
        loaded = Inventory.load("-", stdin=io.BytesIO(b"#include web\n"))
        assert [host.name for host in loaded.hosts] == ["web1"]

    def test_a_list_that_two_others_include_is_read_once(self, tmp_path: Path) -> None:
        for number in range(18):
            include = f"#include {number + 1}\n" * 2
            (tmp_path / str(number)).write_text(f"h{number}\n{include}")
        (tmp_path / "18").write_text("last\n")
        assert len(Inventory.load(tmp_path / "0").hosts) == 19

    @pytest.mark.parametrize(
        ("text", "where", "message"),
        [
            ("a\n#include nowhere\n", (2, 10), "nowhere cannot be included: there is no such file"),
            ("a\n #include\n", (2, 2), "#include needs the name of a list"),
            ("#include  # web\n", (1, 1), "#include needs the name of a list"),
            ("#include .\n", (1, 10), "cannot be included: this is a directory"),
            ("#include all\n", (1, 10), "all includes itself"),
            ("#include ./loop\n", (2, 10), "all includes itself"),
            ("#include deep0\n", (1, 10), "included more than 20 deep"),
            ("#include wrong\n", (2, 2), "';' cannot be"),
            ("#include empty\n", (None, None), "it is empty"),
        ],
    )
    def test_what_cannot_be_included_is_told_with_its_place(
        self, tmp_path: Path, text: str, where: tuple[int | None, int | None], message: str
    ) -> None:
        (tmp_path / "all").write_text(text)
        (tmp_path / "loop").write_text("b\n#include all\n")
        (tmp_path / "wrong").write_text("b\nb;c\n")
        (tmp_path / "empty").write_text("")
        for number in range(30):
            (tmp_path / f"deep{number}").write_text(f"#include deep{number + 1}\n")
        with pytest.raises(InventoryError) as caught:
            Inventory.load(tmp_path / "all")
        assert message in caught.value.message
        assert (caught.value.line, caught.value.column) == where


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"a\r\nb\rc\n", "a\nb\nc\n"), (b"\xef\xbb\xbfa", "a"), ("\u00e9\t\u20ac".encode(), "\u00e9\t\u20ac")],
)
def test_bytes_become_text(data: bytes, text: str) -> None:
    assert decode(data, "h") == text


@pytest.mark.parametrize(
    ("data", "where", "message"),
    [
        (b"a\nb\x00c", (2, 2), "NUL"),
        (b"a\r\nb\r\nc\x1b[31m", (3, 2), "U+001B"),
        (b"a\n\xc2\x85", (2, 1), "U+0085"),
        ("a\u2028b".encode(), (1, 2), "U+2028"),
        ("a\n\ufeffb".encode(), (2, 1), "U+FEFF"),
        (b"a\nb\xe9c", (2, 2), "byte 0xe9 is not UTF-8"),
        ("\u00e9\n\u00e9".encode() + b"\xff", (2, 2), "byte 0xff is not UTF-8"),
        ("hosts: [a]".encode("utf-16"), (1, 1), "UTF-16"),
    ],
)
def test_other_bytes_are_refused_with_their_place(data: bytes, where: tuple[int, int], message: str) -> None:
    with pytest.raises(InventoryError) as caught:
        decode(data, "h")
    assert message in caught.value.message
    assert place(caught.value) == where


def test_latin_1_after_50_000_lines_is_named_by_its_line() -> None:
    with pytest.raises(InventoryError) as caught:
        decode(b"host\r\n" * 50_000 + b"caf\xe9\r\n", "h")
    assert place(caught.value) == (50_001, 4)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("web1\n", "hosts.yaml"),
        ("web1\n", "HOSTS.YML"),
        ("hosts:\n- a\n", "hosts"),
        ("# c\n\n  # d\ngroups: {}\n", "<stdin>"),
        ('"hosts": [a]', "hosts"),
        ("{hosts: [a]}", "hosts"),
        ("---\nhosts: [a]", "hosts"),
        ("hostz :\n- a", "hosts"),
    ],
)
def test_yaml_is_recognised_by_its_name_or_its_first_line(text: str, source: str) -> None:
    assert format_of(text, source).name == "yaml"


@pytest.mark.parametrize(
    "text", ["web1\n", "host:22\n", "::1", "[::1]:22", "# hosts:\nweb1", "- a", "a b", ""]
)
def test_everything_else_is_a_plain_list(text: str) -> None:
    assert format_of(text, "hosts.txt").name == "list"
