"""Names that cannot be looked up, and a resolver that says nothing: the others run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.program import Program, ended
from tests.servers.daemon import Daemon
from tests.servers.mounts import with_files
from tests.servers.namespace import Namespace

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

SILENT_RESOLVER = "10.9.0.53"


@pytest.fixture
def names(multirsh: Program, sshd: Daemon, tmp_path: Path) -> list[str]:
    """A prefix by which ``quick01`` to ``quick10`` are known, and a silent resolver is asked for the rest."""
    multirsh.knows(sshd)
    aliases = [f"quick{number:02}" for number in range(1, 11)]
    multirsh.write(".ssh/known_hosts", sshd.known_hosts(aliases) + sshd.known_hosts(["127.1.0.1"]))
    files = {
        "hosts": "".join(f"127.2.0.{number} {name}\n" for number, name in enumerate(aliases, 1)),
        "resolv.conf": f"nameserver {SILENT_RESOLVER}\n",
        "nsswitch.conf": "hosts: files dns\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return with_files({f"/etc/{name}": tmp_path / name for name in files})


def finished(out: str) -> dict[str, Counter[tuple[str, str | None, str | None]]]:
    """Status, kind and phase of the hosts, by the first letter of their names."""
    found: dict[str, Counter[tuple[str, str | None, str | None]]] = {}
    for event in map(json.loads, out.splitlines()):
        if event["event"] == "host_finished":
            error = event["error"] or {}
            ending = (event["status"], error.get("kind"), error.get("phase"))
            found.setdefault(event["host"][0], Counter())[ending] += 1
    return found


def test_a_silent_resolver_stalls_only_those_whom_it_is_asked_for(
    in_module_namespace: Namespace, multirsh: Program, names: list[str]
) -> None:
    in_module_namespace.add_void("10.9.0.0/24")
    nodes = "dead[01-40].example,quick[01-10],127.1.0.1"
    told = ended(multirsh.start("-w", nodes, "-j", "60", "-t", "2", "--json", "true", prefix=names))
    assert finished(told.out) == {
        "d": {("timeout", "timeout", "resolve"): 40},
        "q": {("ok", None, None): 10},
        "1": {("ok", None, None): 1},
    }
    assert told.code == 3
    assert "Traceback" not in told.err
    ends = [event for event in map(json.loads, told.out.splitlines()) if event["event"] == "host_finished"]
    quick = [event["seconds"]["total"] for event in ends if event["status"] == "ok"]
    assert max(quick) < 2.0


def test_names_that_nobody_knows_are_told_and_the_others_run(
    in_module_namespace: Namespace, multirsh: Program, names: list[str], tmp_path: Path
) -> None:
    (tmp_path / "nsswitch.conf").write_text("hosts: files\n")
    nodes = "gone[01-40].example,quick[01-10]"
    told = ended(multirsh.start("-w", nodes, "-j", "5", "--json", "true", prefix=names))
    assert finished(told.out) == {
        "g": {("unreachable", "name", "resolve"): 40},
        "q": {("ok", None, None): 10},
    }
    assert told.code == 4
