"""``--rerun`` and ``--resume`` without a hosts file: the hosts are reached as the record says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from multirsh.journal import Journal, RunSummary
from tests.program import Program

FILE = """
defaults: {user: deploy, port: 2201}
hosts:
  - web1: {address: 10.0.0.1}
  - web2: {address: 10.0.0.2, user: root}
  - web3: {address: 10.0.0.3}
"""
TELLS = ("--exec", "sh -c 'echo $1@$2:$3; test $2 != 10.0.0.2' sh %u %h %p %c")
"""Reaches nothing, and says what it would have reached; the second host fails."""

CANARY = "canary-77b0"


@pytest.fixture
def user(multirsh: Program) -> Program:
    """A user whose run was ok on web1 and web3 and failed on web2."""
    multirsh.write("hosts.yaml", FILE)
    assert multirsh("-R", "exec", *TELLS, "-f", "hosts.yaml", "x").code == 5
    (multirsh.home / "hosts.yaml").unlink()
    return multirsh


def journal_of(user: Program) -> Journal:
    return Journal(user.home / ".local/state/multirsh/runs")


def change(user: Program, run: Callable[[dict[str, Any]], object]) -> RunSummary:
    """Change the plan in the newest record."""
    entry = journal_of(user).find()
    path = user.home / f".local/state/multirsh/runs/{entry.run}.ndjson"
    first, rest = path.read_bytes().split(b"\n", 1)
    row = json.loads(first)
    run(row["plan"])
    path.write_bytes(json.dumps(row).encode() + b"\n" + rest)
    return entry


def test_address_user_port_and_transport_are_the_recorded_ones(user: Program, tmp_path: Path) -> None:
    ended = user("--rerun", "ok", *TELLS, cwd=tmp_path)
    assert (ended.code, sorted(ended.out.splitlines())) == (
        0,
        ["web1: deploy@10.0.0.1:2201", "web3: deploy@10.0.0.3:2201"],
    )
    # And so of the rerun, in turn; only hosts that it ran on are in its record.
    ended = user("--rerun", "ok", "-x", "web3", *TELLS)
    assert ended.out == "web1: deploy@10.0.0.1:2201\n"
    reached = journal_of(user).plan(journal_of(user).find())["reached"]
    assert list(reached["hosts"]) == ["web1"]


def test_the_environment_and_config_toml_are_not_asked_and_the_command_line_is_and_that_is_said(
    user: Program,
) -> None:
    user.write(".config/multirsh/config.toml", 'user = "other"\nport = 99\n')
    ended = user("--rerun", "failed", *TELLS, env={"MULTIRSH_USER": "another"})
    assert ended.out == "web2: root@10.0.0.2:2201\n"
    assert "in the record" not in ended.err
    ended = user("--rerun", "failed", "-l", "admin", *TELLS)
    assert ended.out == "web2: admin@10.0.0.2:2201\n"
    assert "multirsh: web2: user root in the record, admin now" in ended.err
    ended = user("--rerun", "failed", "-w", "me@web2:7", *TELLS)
    assert ended.out == "web2: me@10.0.0.2:7\n"


def test_a_hosts_file_says_it_where_one_is_named_and_what_differs_is_said(user: Program) -> None:
    user.write("now.yaml", FILE.replace("10.0.0.1", "10.9.9.1").replace("port: 2201", "port: 22"))
    ended = user("-f", "now.yaml", "-R", "exec", *TELLS, "--rerun", "ok")
    assert sorted(ended.out.splitlines()) == ["web1: deploy@10.9.9.1:22", "web3: deploy@10.0.0.3:22"]
    assert (
        "multirsh: web1: address 10.0.0.1 in the record, 10.9.9.1 now, port 2201 in the record, 22 now"
        in ended.err
    )
    assert "multirsh: web3: port 2201 in the record, 22 now" in ended.err


def test_names_are_those_of_the_run(user: Program) -> None:
    ended = user("--rerun", "ok", "-w", "web*", *TELLS)
    assert len(ended.out.splitlines()) == 2
    ended = user("--rerun", "ok", "-w", "web9", *TELLS)
    assert (ended.code, ended.out) == (2, "")
    assert "web9 is not in the run " in ended.err
    ended = user("--rerun", "ok", "--pick", "1", *TELLS)
    assert (ended.code, len(ended.out.splitlines())) == (0, 1)


def test_a_record_that_does_not_say_how_is_refused_without_a_hosts_file(user: Program) -> None:
    entry = change(user, lambda plan: plan.pop("reached"))
    for args in (("--rerun", "failed"), ("--resume", "last"), ("--rerun", "ok", "-w", "web1")):
        ended = user(*args, *TELLS)
        assert (ended.code, ended.out) == (2, "")
        assert f"the record of {entry.run} does not say how these hosts were reached: web[1-3]" in ended.err
        assert "give a hosts file with -f" in ended.err
    user.write("hosts.yaml", FILE)
    assert user("-f", "hosts.yaml", "-R", "exec", *TELLS, "--rerun", "ok").code == 0


def test_a_record_that_was_tampered_with_is_refused(user: Program) -> None:
    def spoil(plan: dict[str, Any]) -> None:
        plan["reached"]["ways"][0]["port"] = "22; x"

    entry = change(user, spoil)
    ended = user("--rerun", "ok", *TELLS)
    assert (ended.code, ended.out) == (2, "")
    assert f"the record of {entry.run} is damaged: how its hosts were reached cannot be read" in ended.err


def test_another_program_than_the_recorded_one_is_refused_unless_it_is_given(user: Program) -> None:
    runs = len(journal_of(user).runs())
    ended = user("--rerun", "ok")
    assert (ended.code, ended.out) == (2, "")
    assert "exec needs to know what program reaches a host" in ended.err
    ended = user("--rerun", "ok", env={"MULTIRSH_EXEC": "echo elsewhere %h %c"})
    assert (ended.code, ended.out) == (2, "")
    assert "web[1,3]: the command that carries the connection has changed" in ended.err
    assert len(journal_of(user).runs()) == runs, "what did not begin is not the last run"
    ended = user("--rerun", "ok", "-w", "web1", env={"MULTIRSH_EXEC": "echo elsewhere %h %c"})
    assert (ended.code, ended.out) == (2, ""), "-w chooses among the hosts, and says nothing of their ways"
    ended = user("--rerun", "ok", "--exec", "echo elsewhere %h %c")
    assert (ended.code, len(ended.out.splitlines())) == (0, 2)
    assert "web[1,3]: the command that carries the connection has changed" in ended.err


def test_a_rerun_that_reached_none_names_the_run_that_it_took_its_hosts_from(user: Program) -> None:
    first = journal_of(user).find().run
    assert user("--rerun", "failed", "--exec", "false %h %c", "x").code == 5
    nowhere = ("-R", "ssh", "-p", "1", "-J", "none", "-F", "none", "-o", "HostName=127.0.0.1")
    assert user("--rerun", "failed", *nowhere).code == 4
    ended = user("--rerun", "failed", *TELLS)
    assert ended.code == 2
    assert "was failed; unreachable 1; its hosts came from" in ended.err
    assert user("--rerun", "failed", first, *TELLS).out == "web2: root@10.0.0.2:2201\n"


def test_a_run_is_gone_on_with_as_recorded_and_its_record_stands_for_all_hosts(user: Program) -> None:
    user.write("hosts.yaml", FILE)
    stops = ("--exec", TELLS[1].replace("10.0.0.2", "10.0.0.1"))
    assert user("-R", "exec", *stops, "-f", "hosts.yaml", "-j", "1", "-k", "x").code in {5, 6}
    (user.home / "hosts.yaml").unlink()
    ended = user("--resume", "last", *stops)
    assert sorted(ended.out.splitlines()) == ["web2: root@10.0.0.2:2201", "web3: deploy@10.0.0.3:2201"]
    plan = journal_of(user).plan(journal_of(user).find())
    assert set(plan["reached"]["hosts"]) == {"web1", "web2", "web3"}


def test_no_secret_is_in_what_is_recorded_of_the_way(user: Program) -> None:
    user("-w", "h", "-o", f"ProxyCommand=false {CANARY}", "-o", f"SetEnv=T={CANARY}", "true")
    user("-w", "h", "-R", "exec", "--exec", f"echo {CANARY} %h %c", "-q", "true")
    state = [path for path in (user.home / ".local").rglob("*.ndjson") if path.name != "index.ndjson"]
    reached = [json.loads(path.read_bytes().split(b"\n")[0])["plan"]["reached"] for path in state]
    assert len(reached) == 3
    assert CANARY not in json.dumps(reached)


@pytest.mark.root
def test_ssh_reaches_the_same_place_as_the_same_user_whatever_ssh_config_says_by_now(
    on_sshd: Program, tmp_path: Path
) -> None:
    user = on_sshd
    config = (user.home / ".ssh/config").read_text()
    blocks = "Host a\n HostName 127.1.0.3\n ProxyJump b\nHost b\n HostName 127.1.0.4\nMatch all\n"
    user.write("cfg", blocks + config)
    user.write(".ssh/config", "User nobody\nPort 1\n")
    tells = "set -- $SSH_CONNECTION; echo $USER $3 $4; exit 1"
    first = user("-F", "cfg", "-w", "a", tells)
    assert first.code == 5, first.err
    user.write("cfg", f"Host a\n HostName 127.1.0.5\nHost b\n HostName 127.1.0.6\nMatch all\n{config}")

    again = user("--rerun", "failed", cwd=tmp_path)

    assert (again.code, again.out) == (5, first.out), again.err
    assert first.out.startswith("a: ")
    assert "127.1.0.3" in first.out
    one, other = (journal_of(user).plan(entry)["reached"] for entry in journal_of(user).runs())
    assert one == other
