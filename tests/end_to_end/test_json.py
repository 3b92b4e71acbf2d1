"""``--json``: the contract's schema, line by line."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

import multirsh as package
from tests.program import Program

pytestmark = pytest.mark.root

HEAD: dict[str, Any] = {"event": str, "run": str, "t": (int, float)}
NUMBER = (int, float)
MAYBE_NUMBER = (int, float, type(None))

SCHEMA: dict[str, dict[str, Any]] = {
    "run_started": HEAD | {"command": str, "hosts": list, "fanout": int, "version": str},
    "host_started": HEAD | {"host": str, "attempt": int},
    "stdout": HEAD | {"host": str, "data": str},
    "stderr": HEAD | {"host": str, "data": str},
    "host_finished": HEAD
    | {
        "host": str,
        "status": str,
        "exit_status": (int, type(None)),
        "signal": (str, type(None)),
        "error": {"kind": str, "phase": str, "message": str, "fate": str},
        "attempts": int,
        "closed_by": (str, type(None)),
        "local_port": (int, type(None)),
        "stdout_bytes": int,
        "stderr_bytes": int,
        "seconds": {
            "connect": MAYBE_NUMBER,
            "auth": MAYBE_NUMBER,
            "run": MAYBE_NUMBER,
            "close": MAYBE_NUMBER,
            "total": MAYBE_NUMBER,
        },
    },
    "run_finished": HEAD
    | {
        "counts": dict,
        "exit_code": int,
        "seconds": NUMBER,
        "ports": {
            "peak": int,
            "closed_by": {"remote": int, "local": int, "reset": int},
            "time_wait_left": (int, type(None)),
        },
    },
}
"""Every event's keys and the types of their values: a table inside is an object inside."""

MAY_BE_NULL = {"error"}

MAY_BE_ABSENT = {"fate"}
"""There where a command was given up on."""


def check(row: Any, schema: dict[str, Any]) -> None:
    """Exactly these keys, but for one or the other, each of its type."""
    assert isinstance(row, dict)
    if "data_b64" in row:
        row = {key if key != "data_b64" else "data": value for key, value in row.items()}
    assert schema.keys() - MAY_BE_ABSENT <= row.keys() <= schema.keys()
    for key, kind in schema.items():
        if key in MAY_BE_ABSENT and key not in row:
            continue
        if isinstance(kind, dict):
            if not (row[key] is None and key in MAY_BE_NULL):
                check(row[key], kind)
        else:
            assert isinstance(row[key], kind), (key, row[key])
            assert not isinstance(row[key], bool), (key, row[key])


def events_of(text: str) -> list[dict[str, Any]]:
    """Every line, checked against the schema."""
    rows = [json.loads(line) for line in text.splitlines()]
    for row in rows:
        check(row, SCHEMA[row["event"]])
    return rows


def test_every_line_is_of_the_schema(on_sshd: Program) -> None:
    """A run in which there is everything: output on both streams, bytes, a failure, a timeout, a refusal."""
    on_sshd.write(
        "mixed.yaml",
        "hosts:\n"
        + "".join(f"  - h0{number}: {{address: 127.1.0.{number}}}\n" for number in range(1, 5))
        + "  - h05: {address: 127.1.0.5, user: nobody-here}\n",
    )
    command = (
        "case $SSH_CONNECTION in *127.1.0.1*) echo out; echo err >&2;; *127.1.0.2*) printf '\\377\\000';; "
        "*127.1.0.3*) exit 7;; *) sleep 60;; esac"
    )

    ended = on_sshd("-f", "mixed.yaml", "--json", "-u", "1", "-j", "3", command)

    rows = events_of(ended.out)
    assert {row["event"] for row in rows} == SCHEMA.keys()
    assert {row["run"] for row in rows} == {rows[0]["run"]}
    times = [row["t"] for row in rows]
    assert times == sorted(times)

    first, last = rows[0], rows[-1]
    assert first["event"] == "run_started"
    assert first["command"] == command
    assert first["hosts"] == ["h01", "h02", "h03", "h04", "h05"]
    assert (first["fanout"], first["version"]) == (3, package.__version__)
    assert last["event"] == "run_finished"
    assert last["exit_code"] == ended.code == 3
    assert last["counts"] == {"ok": 2, "failed": 1, "timeout": 1, "auth": 1}
    assert last["ports"] == {
        "peak": last["ports"]["peak"],
        "closed_by": {"remote": 5, "local": 0, "reset": 0},
        "time_wait_left": 0,
    }

    endings = {row["host"]: row for row in rows if row["event"] == "host_finished"}
    assert sorted(row["host"] for row in rows if row["event"] == "host_finished") == first["hosts"]
    statuses = [endings[host]["status"] for host in first["hosts"]]
    assert statuses == ["ok", "ok", "failed", "timeout", "auth"]
    assert endings["h03"]["exit_status"] == 7
    assert endings["h04"]["error"]["phase"] == "run"
    assert (endings["h01"]["stdout_bytes"], endings["h01"]["stderr_bytes"]) == (4, 4)
    assert {row["closed_by"] for row in endings.values()} == {"remote"}

    for host in first["hosts"]:
        order = [row["event"] for row in rows if row.get("host") == host]
        assert (order[0], order[-1]) == ("host_started", "host_finished")
    (bytes_row,) = [row for row in rows if row["event"] == "stdout" and row["host"] == "h02"]
    assert base64.b64decode(bytes_row["data_b64"]) == b"\xff\x00"
    assert "5 hosts: 2 ok" in ended.err  # people's words, and nothing of them on stdout


def test_quiet_leaves_stderr_empty(on_sshd: Program) -> None:
    ended = on_sshd("-f", "hosts.yaml", "-g", "few", "--json", "-q", "echo a")

    assert ended.err == ""
    assert events_of(ended.out)[-1]["counts"] == {"ok": 5}


def test_a_run_that_cannot_begin_says_nothing_on_stdout(on_sshd: Program) -> None:
    ended = on_sshd("-f", "hosts.yaml", "--json", "-w", "h99", "true")

    assert (ended.code, ended.out) == (2, "")
