"""Patterns, as sh reads them: compared with what a real shell finds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from multirsh.files import globs

NAMES = ["a", "ab", "b", ".a", "[x]", "a*b", "A", "x-y", "naïve"]
PATTERNS = ["*", "?", "a*", ".*", "[ab]", "[!a]*", "[[]x]", "*b", "a[*]b", "[a-c]?", "??*", "na*ve"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_shell_finds_the_same(tmp_path: Path, pattern: str) -> None:
    for name in NAMES:
        (tmp_path / name).touch()
    said = subprocess.run(
        ["sh", "-c", f'for f in {pattern}; do [ -e "$f" ] && printf \'%s\\n\' "$f"; done; :'],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        env={"LC_ALL": "C"},
    )
    want = set(said.stdout.decode().splitlines()) - {".", ".."}

    assert {name for name in NAMES if globs.matches(name.encode(), pattern.encode())} == want


def test_a_pattern_is_cut_into_parts() -> None:
    assert globs.parts(b"/var/*/x") == (b"/", (b"var", b"*", b"x"))
    assert globs.parts(b"a//b?") == (b".", (b"a", b"b?"))
    assert globs.is_pattern(b"[a]")
    assert not globs.is_pattern(b"/plain/path")
