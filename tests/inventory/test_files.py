from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from multirsh.errors import InventoryError, UsageError
from multirsh.inventory import Inventory
from multirsh.inventory.files import MAX_BYTES


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
