"""What only explains itself is quick: it loads neither asyncio nor asyncssh."""

from __future__ import annotations

import subprocess
import sys

import pytest

import multirsh as package
from tests.program import Program

LOADED = """
import sys
from multirsh.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(sorted({"asyncio", "asyncssh", "cryptography", "rich"} & sys.modules.keys()), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "args",
    [
        ("--version",),
        ("--help",),
        ("lab", "--help"),
        ("hosts", "--help"),
        ("ports", "--help"),
        ("-w", "a", "--bogus"),
    ],
)
def test_little_is_loaded(multirsh: Program, args: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *args],
        env=multirsh.environ,
        cwd=multirsh.home,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )

    assert done.stderr.decode().splitlines()[-1] == "[]"


def test_version(multirsh: Program) -> None:
    ended = multirsh("--version")

    assert (ended.code, ended.out, ended.err) == (0, f"multirsh {package.__version__}\n", "")
