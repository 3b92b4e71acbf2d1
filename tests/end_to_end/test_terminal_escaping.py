"""No word of the command line, of a local file or of a remote reaches a terminal with power over it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Sequence

import pytest

from tests.program import MULTIRSH, Program

CANARY = "c\x1b]0;x\x07\u202e\u009b1m\x7f"
SHOWN = r"c\x1b]0;x\x07\u202e\u009b1m\x7f"
POWERFUL = ("\x1b]", "\x07", "\u202e", "\u009b", "\x7f")
ON = ("-w", "127.0.0.1", "-p", "1", "--no-journal")

PLACES: dict[str, Sequence[str]] = {
    "-f": ("-f", CANARY, "x"),
    "-F": (*ON, "-F", CANARY, "x"),
    "-i": (*ON, "-i", CANARY, "x"),
    "-o, a keyword": (*ON, "-o", f"{CANARY}=1", "x"),
    "-o, a value": (*ON, "-o", f"Port={CANARY}", "x"),
    "-o, a file": (*ON, "-o", f"UserKnownHostsFile={CANARY}/\x1b]", "x"),
    "-l": (*ON, "-l", CANARY, "x"),
    "-J": (*ON, "-J", CANARY, "x"),
    "-w": ("-w", CANARY, "x"),
    "-x": ("-w", "a", "-x", CANARY, "x"),
    "-g": ("-f", "hosts", "-g", CANARY, "x"),
    "-R": (*ON, "-R", CANARY, "x"),
    "--exec": (*ON, "-R", "exec", "--exec", f"{CANARY} %q", "x"),
    "--exec, a program": (*ON, "-R", "exec", "--exec", f"/{CANARY}", "x"),
    "--bind": (*ON, "--bind", CANARY, "x"),
    "--normalize": (*ON, "-b", "--normalize", CANARY, "x"),
    "--batch": (*ON, "--batch", CANARY, "x"),
    "--env": (*ON, "--env", CANARY, "x"),
    "--template": (*ON, "--template", f"{{{CANARY}}}"),
    "--stdin-file": (*ON, "--stdin-file", CANARY, "x"),
    "--outdir": (*ON, "--outdir", f"hosts/{CANARY}", "x"),
    "--report": (*ON, "--report", f"{CANARY}/x", "x"),
    "--password-file": (*ON, "--password-file", CANARY, "x"),
    "--rerun": ("--rerun", CANARY, "x"),
    "--rerun, a run": ("--rerun=failed " + CANARY, "x"),
    "--resume": ("--resume", CANARY, "x"),
    "a switch with a value": (f"--json={CANARY}", "x"),
    "an option": (f"--{CANARY}", "x"),
    "a letter": (*ON, "-\x1b]", "x"),
    "an option of a subcommand": ("hosts", f"--{CANARY}"),
    "a subcommand": ("runs", CANARY),
    "a run": ("runs", "show", CANARY),
    "a script": ("script", *ON, CANARY),
    "a script's shell": ("script", *ON, "--shell", f"'{CANARY}", "hosts"),
    "a source": ("push", "-w", "a", CANARY, "/tmp"),
    "a destination": ("pull", "-w", "a", "x", f"hosts/{CANARY}"),
    "a number": ("lab", "--hosts", CANARY),
    "a port": ("ports", CANARY),
    "an extra word": ("hosts", "-w", "a", CANARY),
    "a variable": ("-w", "a", "x"),
    "ssh_config, a keyword": (*ON, "-F", "odd_config", "x"),
    "a list": ("-f", "odd_list", "x"),
    "a list's name": ("-f", f"odd{CANARY}", "x"),
    "a YAML file": ("-f", "odd.yaml", "x"),
    "a gate": (*ON, "--batch", "1", "--gate", f"hosts:echo {CANARY}; false", "-R", "local", "x"),
}
"""Where a word comes from, and a command line that ends in an error about it."""


def on_a_terminal(program: Program, args: Sequence[str], **environ: str) -> tuple[int, str]:
    """Run it with a terminal as all its streams: its exit code, and all that the terminal was sent."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*MULTIRSH, *args],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=program.environ | environ,
        cwd=program.home,
        start_new_session=True,
    )
    os.close(slave)
    sent = b""
    try:
        while data := os.read(master, 65536):
            sent += data
    except OSError:  # the last program that had it open has ended (pty(7))
        pass
    os.close(master)
    return process.wait(60), sent.decode()


@pytest.fixture
def user(multirsh: Program) -> Program:
    """A home with odd files in it."""
    multirsh.write("hosts", "a\n")
    multirsh.write("odd_config", f"{CANARY} yes\n")
    multirsh.write("odd_list", f"web{CANARY}\n".replace("\x1b", "\u2067").replace("\x07", ""))
    multirsh.write(f"odd{CANARY}", "a b\n")
    multirsh.write("odd.yaml", "hosts:\n  - a: {usr\u202e: x}\n")
    return multirsh


@pytest.mark.parametrize("place", PLACES)
def test_an_error_about_it_shows_it_and_gives_it_no_power(user: Program, place: str) -> None:
    environ = {"MULTIRSH_FANOUT": CANARY} if place == "a variable" else {}
    code, sent = on_a_terminal(user, PLACES[place], **environ)

    assert code not in {0, 1}
    assert "multirsh: " in sent or "127.0.0.1" in sent
    assert "Traceback" not in sent
    assert not [character for character in POWERFUL if character in sent]


@pytest.mark.parametrize("key", [f'"{CANARY}" = 1'.replace("\x1b", "\\u001b").replace("\x07", "\\u0007")])
def test_so_does_one_about_config_toml(user: Program, key: str) -> None:
    user.write(".config/multirsh/config.toml", key.replace("\x7f", "\\u007f") + "\n")
    code, sent = on_a_terminal(user, ("-w", "a", "x"))
    assert code == 2
    assert not [character for character in POWERFUL if character in sent]


def test_nor_does_a_variable_of_a_hosts_file(user: Program) -> None:
    user.write("vars.yaml", 'hosts:\n  - a: {vars: {v: "\u202e\\u009b1m"}}\n')
    code, sent = on_a_terminal(user, ("hosts", "-f", "vars.yaml", "--json"))
    assert (code, json.loads(sent)["vars"]) == (0, {"v": "\u202e\u009b1m"})
    assert not [character for character in POWERFUL if character in sent]


def test_bytes_that_are_no_utf8_are_shown_by_number(user: Program) -> None:
    code, sent = on_a_terminal(user, ("-f", os.fsdecode(b"no\xffhosts"), "x"))
    assert (code, sent) == (2, "multirsh: no\\xffhosts: there is no such file\r\n")


def test_the_escaped_word_is_all_there(user: Program) -> None:
    code, sent = on_a_terminal(user, ("-f", CANARY, "x"))
    assert (code, sent) == (2, f"multirsh: {SHOWN}: there is no such file\r\n")
