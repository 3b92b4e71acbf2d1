"""``multirsh hosts``: what a selection means."""

from __future__ import annotations

import json

import pytest

from tests.program import Program

FILE = """\
defaults: {user: deploy}
hosts:
  - web[01-12]
  - db1: {address: db1.example.com, port: 2222, vars: {rack: 7}}
groups:
  web: {hosts: ["web[01-12]"], user: www}
  prod: {groups: [web], hosts: [db1]}
"""


@pytest.fixture
def user(multirsh: Program) -> Program:
    multirsh.write("hosts.yaml", FILE)
    return multirsh


@pytest.mark.parametrize(
    ("args", "out"),
    [
        ((), "db1,web[01-12]\n"),
        (("-a",), "db1,web[01-12]\n"),
        (("-g", "web", "-x", "web[02-11]"), "web[01,12]\n"),
        (("-w", "@prod!web*"), "db1\n"),
        (("-w", "@prod&web[03-05/2]", "--expand"), "web03\nweb05\n"),
        (("-w", "web02,web01", "--expand"), "web01\nweb02\n"),
    ],
)
def test_a_selection(user: Program, args: tuple[str, ...], out: str) -> None:
    ended = user("hosts", "-f", "hosts.yaml", *args)

    assert sorted(ended.out.strip().split(",")) == sorted(out.strip().split(","))
    assert (ended.code, ended.err) == (0, "")


def test_without_a_file(multirsh: Program) -> None:
    assert multirsh("hosts", "-w", "a[1-3]!a2", "--expand").out == "a1\na3\n"


def test_a_pick(user: Program) -> None:
    ended = user("hosts", "-f", "hosts.yaml", "-g", "web", "--pick", "3", "--expand")

    names = ended.out.split()
    assert len(set(names)) == 3
    assert all(name.startswith("web") for name in names)


def test_an_object_a_host(user: Program) -> None:
    ended = user("hosts", "-f", "hosts.yaml", "-w", "db1,web01", "--json")

    web, db = (json.loads(line) for line in ended.out.splitlines())
    assert db == {
        "host": "db1",
        "address": "db1.example.com",
        "user": "deploy",
        "port": 2222,
        "identity": None,
        "jump": None,
        "transport": None,
        "source_port": None,
        "host_keys": None,
        "vars": {"rack": 7},
        "groups": ["prod"],
    }
    assert (web["host"], web["user"], web["groups"]) == ("web01", "www", ["web", "prod"])


def test_a_reader_that_goes_away(multirsh: Program) -> None:
    ended = multirsh.shell("multirsh hosts -w 'h[1-100000]' --expand | head -1; exit ${PIPESTATUS[0]}")

    assert (ended.code, ended.out, ended.err) == (141, "h1\n", "")


@pytest.mark.parametrize(
    ("to", "told"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
def test_a_stdout_that_takes_nothing(multirsh: Program, to: str, told: str) -> None:
    ended = multirsh.shell(f"multirsh hosts -w a {to}")

    assert (ended.code, ended.err) == (1, f"multirsh: standard output: {told}\n")


def test_help_on_a_full_disk(multirsh: Program) -> None:
    ended = multirsh.shell("multirsh --help >/dev/full")

    assert (ended.code, ended.err) == (1, "multirsh: No space left on device\n")
