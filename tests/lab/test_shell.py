"""What a command is given, and how its end is worded."""

from __future__ import annotations

import signal

import pytest

from multirsh.lab.shell import (
    RFC_SIGNALS,
    choose_shell,
    command_environment,
    command_words,
    outcome_of,
    signal_by_name,
    ssh_signal_name,
)
from multirsh.model import Exited, Signalled


def test_the_users_shell_if_it_is_a_program() -> None:
    assert choose_shell({"SHELL": "/bin/bash"}, is_executable=lambda _: True) == "/bin/bash"
    assert choose_shell({"SHELL": "/gone"}, is_executable=lambda _: False) == "/bin/sh"
    assert choose_shell({"SHELL": "bash"}, is_executable=lambda _: True) == "/bin/sh"
    assert choose_shell({}, is_executable=lambda _: True) == "/bin/sh"


def test_a_command_is_one_word_to_the_shell() -> None:
    assert command_words("/bin/sh", "ls  -l; exit 3") == ("/bin/sh", "-c", "ls  -l; exit 3")
    assert command_words("/bin/sh", None) == ("/bin/sh",)


def test_a_command_sees_a_remote_environment_and_not_the_terminals() -> None:
    made = command_environment(  # noqa: S604 - a path, not a flag
        {
            "HOME": "/h",
            "PATH": "/bin",
            "LC_TIME": "C",
            "SSH_AUTH_SOCK": "/agent",
            "DISPLAY": ":0",
            "USER": "x",
        },
        host="web01",
        account="ann",
        shell="/bin/sh",
        requested={"LC_ALL": "C.UTF-8", "LD_PRELOAD": "/evil", "PATH": "/evil"},
        connection="127.0.0.1 1 127.77.0.1 2",
    )
    assert made == {
        "HOME": "/h",
        "PATH": "/bin",
        "LC_TIME": "C",
        "LC_ALL": "C.UTF-8",
        "USER": "ann",
        "LOGNAME": "ann",
        "SHELL": "/bin/sh",
        "SSH_CONNECTION": "127.0.0.1 1 127.77.0.1 2",
        "MULTIRSH_LAB_HOST": "web01",
    }


@pytest.mark.parametrize("status", [0, 1, 255])
def test_an_exit_status_is_itself(status: int) -> None:
    assert outcome_of(status) == Exited(status)


def test_a_signal_is_named_as_ssh_names_it() -> None:
    assert outcome_of(-signal.SIGTERM) == Signalled("TERM")
    assert ssh_signal_name(signal.SIGBUS) == "BUS@lab.invalid"
    assert ssh_signal_name(signal.SIGRTMIN + 1) == f"{signal.SIGRTMIN + 1}@lab.invalid"


@pytest.mark.parametrize("name", sorted(RFC_SIGNALS))
def test_names_and_numbers_agree(name: str) -> None:
    number = signal_by_name(name)
    assert number is not None
    assert ssh_signal_name(number) == name


def test_other_signals_have_no_name() -> None:
    assert signal_by_name("STOP") is None
    assert signal_by_name("nonsense") is None
