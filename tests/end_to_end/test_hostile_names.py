"""Names that are commands to a shell: refused at every door, before anything runs or connects."""

from __future__ import annotations

import pytest

from tests.program import Program

PROXY = "ProxyCommand=echo %r %h %n; touch ran"
HOSTILE = "$(touch${IFS}ran)"

DOORS: dict[tuple[str, ...], str] = {
    ("-w", "a", "-l", HOSTILE): "-l/--user: the user cannot be '$(touch${IFS}ran)': it holds '('",
    ("-w", "a", "-J", f"{HOSTILE}@gate"): "-J/--jump: the user of a jump host cannot be ",
    ("-w", "a", "-J", "gate`touch ran`"): "-J/--jump: a jump host cannot be ",
    ("-w", f"{HOSTILE}@a"): "-w:2: '(' cannot be in a user name",
    ("-w", "a$(touch ran)"): "-w:2: '$' cannot be in a host name",
    ("-w", "a", "-o", f"User={HOSTILE}"): "-o: the user cannot be ",
    ("-w", "a", "-o", f"HostName={HOSTILE}"): "-o: HostName cannot be ",
    ("-w", "a", "-o", f"ProxyJump={HOSTILE}@gate"): "-o: the user of a jump host cannot be ",
    ("-w", "a", "-l", "a$HOME"): "-o: %r in a command cannot be 'a$HOME': it holds '$'",
    ("-w", "a$HOME@a"): "-o: %r in a command cannot be 'a$HOME': it holds '$'",
    ("-w", "a", "-F", "user"): "user:2: the user cannot be ",
    ("-w", "a", "-F", "dollar"): "-o: %r in a command cannot be 'a$HOME'",
    ("-w", "a", "-F", "name"): "name:1: HostName cannot be 'a;b': it holds ';'",
    ("-w", "a", "-F", "exec"): "exec:2: %k in a command cannot be '$(touch ran)': it holds '('",
    ("-f", "hosts.yaml"): "hosts.yaml:2:20: '(' cannot be in a user name",
    ("-f", "dollar.yaml"): "-o: %r in a command cannot be 'a$HOME'",
    ("-f", "list"): "list:1:2: '(' cannot be in a user name",
    ("-w", "a", "-R", "exec", "--exec", "sh -c 'echo %u' %c", "-l", "a$HOME"): "a: %u in --exec cannot be ",
    ("-w", "a", "-R", "rsh", "-l", HOSTILE): "-l/--user: the user cannot be ",
    ("-w", "a", f"--sudo={HOSTILE}"): "the user of --sudo cannot be ",
}


@pytest.fixture
def user(multirsh: Program) -> Program:
    """One with files in which names are commands."""
    multirsh.write("user", f'Host a\n User "{HOSTILE}"\n')
    multirsh.write("dollar", "User a$HOME\n")
    multirsh.write("name", "HostName %h;b\n")
    multirsh.write("exec", 'HostKeyAlias "$(touch ran)"\nMatch exec "echo %k"\n Port 5\n')
    multirsh.write("jump", f"ProxyJump {HOSTILE.replace('$', '')}@gate\n")
    multirsh.write("hosts.yaml", f'hosts: [a]\ndefaults: {{user: "{HOSTILE}"}}\n')
    multirsh.write("dollar.yaml", 'hosts: [a]\ndefaults: {user: "a$HOME"}\n')
    multirsh.write("list", f"{HOSTILE}@a\n")
    return multirsh


@pytest.mark.parametrize("args", DOORS, ids=" ".join)
def test_a_command_is_no_name(args: tuple[str, ...], user: Program) -> None:
    ended = user(*args, "-o", PROXY, "true")

    assert (ended.code, ended.out) == (2, "")
    assert DOORS[args] in ended.err
    assert ended.err.count("\n") == 1
    assert not (user.home / "ran").exists()


def test_nor_does_ssh_config_name_a_jump_host_so(user: Program) -> None:
    ended = user("-w", "a", "-F", "jump", "true")

    assert ended.code == 2
    assert ended.err.startswith("multirsh: jump:1: the user of a jump host cannot be '(touch{IFS}ran)'")


def test_nor_is_it_from_the_environment(user: Program) -> None:
    ended = user("-w", "a", "-o", PROXY, "true", env={"MULTIRSH_USER": HOSTILE})

    assert ended.code == 2
    assert ended.err.startswith("multirsh: MULTIRSH_USER: the user cannot be '$(touch${IFS}ran)'")
    assert not (user.home / "ran").exists()


@pytest.mark.parametrize("key", ["user", "jump"])
def test_nor_from_the_settings_file(key: str, user: Program) -> None:
    path = user.write(".config/multirsh/config.toml", f"{key} = '{HOSTILE}@x'\n")
    ended = user("-w", "a", "-o", PROXY, "true")

    assert ended.code == 2
    assert ended.err.startswith(f"multirsh: {path}: {key}: the user ")
    assert not (user.home / "ran").exists()


def test_names_that_are_only_names_still_reach_the_proxy_command(user: Program) -> None:
    ended = user("-w", "a", "-l", "CORP\\jane", "-o", "ProxyCommand=echo '%r' %h > ran", "-t", "5", "true")

    assert ended.code == 4
    assert (user.home / "ran").read_text() == "CORP\\jane a\n"


def test_a_machines_account_can_log_in_where_no_shell_reads_its_name(user: Program) -> None:
    ended = user("-w", "a", "-l", "WEB01$", "-o", "ProxyCommand=echo %h > ran", "-t", "5", "true")

    assert ended.code == 4
    assert (user.home / "ran").read_text() == "a\n"
