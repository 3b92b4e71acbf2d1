"""What Linux alone has is behind one door (``multirsh.linux``), and a run goes on where it is missing."""

from __future__ import annotations

import ast
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

import multirsh
from multirsh import linux
from multirsh.shortage import part_of_room, room_bytes

PACKAGE = Path(multirsh.__file__).parent
ANOTHER_NAME_OF_STDIN = "/proc/self/fd/0"


def beside_the_door(tree: ast.Module) -> Iterator[str]:
    """What of Linux alone mypy cannot see: files of /proc and /sys, and functions of the C library."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if text.startswith(("/proc", "/sys")):
                yield text
            case ast.Import(names=names):
                yield from (name.name for name in names if name.name == "ctypes")


def test_nothing_of_linux_alone_is_beside_the_door() -> None:
    found = {
        (str(path.relative_to(PACKAGE)), what)
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "linux.py"
        for what in beside_the_door(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == {("cli/options/command.py", ANOTHER_NAME_OF_STDIN)}


def test_where_the_room_is_not_known_all_that_is_wanted_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 40, 1 << 40))
    room = room_bytes()
    assert room is not None
    assert 0 < room < 1 << 40
    monkeypatch.setattr(linux, "PROC", Path("/nowhere"))
    assert room_bytes() is None
    assert part_of_room(1 << 50, 8) == 1 << 50
    assert any("statm" in line for line in linux.missing())
