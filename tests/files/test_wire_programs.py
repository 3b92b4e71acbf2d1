"""Copies by transports that are programs of this machine: exec, local."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.files.trees import plant, seen
from tests.program import Program

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.mark.parametrize(
    "way", [("-R", "local"), ("-R", "exec", "--exec", "sh -c %c")], ids=["local", "exec"]
)
@pytest.mark.parametrize("via", ["sftp", "scp"])
def test_a_tree_comes_and_goes(multirsh: Program, tmp_path: Path, way: tuple[str, ...], via: str) -> None:
    tree = plant(tmp_path / "tree", files=5)
    for link in ("broken", "link", "sub/up"):
        (tree / link).unlink()
    there = tmp_path / "there"
    there.mkdir()

    pushed = multirsh("push", *way, "-w", "a", "-rp", "--via", via, tree, there)
    pulled = multirsh("pull", *way, "-w", "a,b", "-rp", "--via", via, there / "tree", "back")

    assert (pushed.code, pulled.code) == (0, 0), pushed.err + pulled.err
    assert seen(there / "tree") == seen(tree)
    for host in ("a", "b"):
        assert seen(multirsh.home / "back" / host / "tree") == seen(tree)
