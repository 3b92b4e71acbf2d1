"""How large the code is, and how long the way of one command on one host through it.

    python -m tests.bench.figures [--files]

The size: lines, modules, classes, names that several classes bear, and
imports. The way: one ``multirsh -f hosts.yaml "echo hi"``, a process of its
own, on one real sshd in a network namespace (which needs root), where no other
sockets are; the files of the package that
a function ran of, and the moves from one such file to another, as
``sys.setprofile`` and ``threading.setprofile`` see them. What is run by
importing a module is no part of the way. ``--files`` lists the files in the
order in which they are come to, with the calls in each.
"""

from __future__ import annotations

import ast
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fleets import known
from tests.servers.namespace import Namespace
from tests.servers.sshd import start_sshd

PACKAGE: Final = Path(__file__).resolve().parents[2] / "multirsh"

SMALL: Final = 60
"""A module of so many lines or fewer may be a fragment of another."""

FEW_MOVES: Final = 5

TRACED: Final = r"""
import atexit, sys, threading
from collections import Counter

package, report = sys.argv.pop(1), sys.argv.pop(1)
calls, moves, at, own_threads = Counter(), Counter(), {}, {}

def profile(frame, event, argument):
    if event not in ("call", "return"):
        return
    code = frame.f_code
    # Generated methods have no file; what a module does at its import is no part of the way.
    while not code.co_filename.startswith(package) or code.co_name == "<module>" or not code.co_flags & 2:
        if event == "call":
            return
        frame, event = frame.f_back, "call"
        if frame is None or frame.f_code.co_name == "_run_once":  # back in the event loop
            return
        code, event = frame.f_code, "back"
    if event == "return":  # what follows is seen by what follows
        return
    file, thread = code.co_filename[len(package):], threading.get_ident()
    if event == "call":
        calls[file] += 1
    if at.get(thread, file) != file:
        moves[(at[thread], file)] += 1
    at[thread] = file

def told():
    sys.setprofile(None)
    threading.setprofile(None)
    with open(report, "w") as out:
        for file, count in calls.items():
            print(count, file, file=out)
        for (one, other), count in moves.items():
            print(count, one, other, file=out)

atexit.register(told)
import multirsh, pkgutil
for module in pkgutil.walk_packages(multirsh.__path__, "multirsh."):
    if not module.name.startswith("multirsh.testing") and not module.name.endswith("__main__"):
        __import__(module.name)
from multirsh.cli.main import main
threading.setprofile(profile)
sys.setprofile(profile)
main()
"""


def size() -> dict[str, float]:
    """The figures that the text of the package gives."""
    files = [file for file in PACKAGE.rglob("*.py") if "__pycache__" not in file.parts]
    texts = {file: file.read_text() for file in files}
    lines = {file: len(text.splitlines()) for file, text in texts.items()}
    classes: Counter[str] = Counter()
    imports = 0
    for text in texts.values():
        for node in ast.walk(ast.parse(text)):
            classes.update([node.name] if isinstance(node, ast.ClassDef) else [])
            imports += isinstance(node, ast.Import | ast.ImportFrom)
    shared = {name: count for name, count in classes.items() if count > 1}
    return {
        "lines": sum(lines.values()),
        "modules": len(files),
        f"modules of {SMALL} lines or fewer": sum(count <= SMALL for count in lines.values()),
        "classes": classes.total(),
        "class names that several classes bear": len(shared),
        "classes that bear them": sum(shared.values()),
        "import statements a module": round(imports / len(files), 1),
    }


@dataclass(frozen=True, slots=True)
class Way:
    """Of one command on one host.

    Attributes:
        calls: In each file that a function ran of, in the order in which they are come to.
        moves: From one file to another, by the pair of them.
    """

    calls: Mapping[str, int]
    moves: Mapping[tuple[str, str], int]


def way() -> Way:
    """Run one command on one host, and see where it goes."""
    with (
        Namespace() as namespace,
        tempfile.TemporaryDirectory() as name,
        start_sshd(namespace=namespace) as server,
    ):
        folder = Path(name)
        known(server, ["127.0.0.1"], folder)
        (folder / "ssh_config").write_text(f"UserKnownHostsFile {folder}/known_hosts\n")
        (folder / "hosts.yaml").write_text(
            f"hosts: [127.0.0.1]\n"
            f"defaults: {{user: {server.user}, port: {server.port}, identity: {server.client_key}}}\n"
        )
        report = folder / "report"
        words = ["-F", f"{folder}/ssh_config", "-f", f"{folder}/hosts.yaml", "echo hi"]
        done = namespace.run(
            [sys.executable, "-c", TRACED, f"{PACKAGE}/", str(report), *words],
            env={**os.environ, "XDG_STATE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
            check=False,
        )
        if done.returncode != 0 or b"hi" not in done.stdout:
            raise RuntimeError(f"exit code {done.returncode}: {done.stderr.decode()}")
        calls: dict[str, int] = {}
        moves: dict[tuple[str, str], int] = {}
        for line in report.read_text().splitlines():
            count, *files = line.split()
            if len(files) == 1:
                calls[files[0]] = int(count)
            else:
                moves[files[0], files[1]] = int(count)
    return Way(calls, moves)


def main(arguments: Sequence[str]) -> None:
    """Print the figures."""
    for what, figure in size().items():
        print(f"{figure:>9,} {what}")
    found = way()
    print(f"{len(found.calls):>9,} files of which a function runs for one echo hi on one host")
    print(f"{sum(found.moves.values()):>9,} moves from file to file")
    print(f"{sum(found.calls.values()):>9,} calls")
    if "--files" in arguments:
        for file, count in found.calls.items():
            print(f"{count:>9,} {file}")
        packages = Counter(str(Path(file).parent) for file in found.calls)
        print("\nfiles by package:", ", ".join(f"{name} {count}" for name, count in sorted(packages.items())))
        print("\nmoves, there and back, of five or more:")
        pairs: Counter[str] = Counter()
        for pair, count in found.moves.items():
            pairs[" <> ".join(sorted(pair))] += count
        for names, count in pairs.most_common():
            if count >= FEW_MOVES:
                print(f"{count:>9,} {names}")


if __name__ == "__main__":
    main(sys.argv[1:])
