"""Trees of files to be copied, and what is found of them afterwards."""

from __future__ import annotations

import hashlib
import os
import random
import stat
from pathlib import Path


def plant(root: Path, *, files: int = 30, seed: int = 1) -> Path:
    """Make a folder with files of all sizes, folders in folders, links, odd names, modes and times."""
    draw = random.Random(seed)
    root.mkdir(parents=True)
    folders = [root, root / "sub", root / "sub" / "deep er", root / "empty"]
    for folder in folders[1:]:
        folder.mkdir()
    for number in range(files):
        file = draw.choice(folders[:3]) / f"file {number}"
        file.write_bytes(draw.randbytes(draw.choice([0, 1, 1000, 40_000])))
    (root / "large").write_bytes(draw.randbytes(3_000_001))
    (root / "naïve 'quoted' $HOME").write_bytes(b"odd\n")
    Path(os.fsdecode(os.fsencode(root) + b"/not utf \xff")).write_bytes(b"bytes\n")
    (root / "sub" / "run.sh").write_bytes(b"#!/bin/sh\n")
    (root / "sub" / "run.sh").chmod(0o750)
    os.utime(root / "large", (1_600_000_000, 1_500_000_000))
    (root / "link").symlink_to("sub/run.sh")
    (root / "sub" / "up").symlink_to("../large")
    (root / "broken").symlink_to("nowhere")
    os.utime(root / "sub", (1_600_000_000, 1_500_000_001))
    return root


def seen(root: Path, *, exact: bool = False) -> dict[str, tuple[object, ...]]:
    """What is below ``root``: sums of files, targets of links; ``exact`` with modes and times."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            facts: tuple[object, ...] = ()
            if exact and not path.is_symlink():
                facts = (stat.S_IMODE(status.st_mode), int(status.st_mtime))
            if path.is_symlink():
                what: tuple[object, ...] = ("link", str(path.readlink()))
            elif path.is_dir():
                what = ("folder",)
            else:
                what = ("file", hashlib.sha256(path.read_bytes()).hexdigest())
            found[str(path.relative_to(root))] = what + facts
    return found


def leftovers(root: Path) -> list[Path]:
    """Half files: what a copy calls a file before it is there."""
    return [path for path in root.rglob("*") if ".multirsh-" in path.name]
