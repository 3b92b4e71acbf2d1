"""What commands find around them, by every login shell of a real sshd."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from multirsh.commands.command import Command
from multirsh.engine.fleet import Fleet
from multirsh.errors import UsageError
from multirsh.model import Host, Status, TransportName
from multirsh.sh_text import quoted
from multirsh.testing import FakeTransport
from tests.commands.guests import HOST, fleet_as_guest, lines, told
from tests.conftest import StartServer
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.servers.requirement import program
from tests.servers.sshd import start_sshd

on_servers = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

NOT_SH = {"fish", "csh", "tcsh"}

OWN = ("MULTIRSH_", "_=", "PWD=", "SSH_CLIENT=", "SSH_CONNECTION=")
"""What differs, or may: ours; what shells that are not the login shell add; each connection's port."""


PRINTS = """printf "%s|" "$A" "$EMPTY" "$PATH"; env | grep "^UID=" """


async def environment(fleet: Fleet, command: Command | str) -> list[str]:
    return sorted(line for line in lines(await told(fleet, command)) if line and not line.startswith(OWN))


@pytest.mark.root
@pytest.mark.usefixtures("no_leaks")
async def test_a_login_shell_that_reads_something_else(
    module_namespace: Namespace, in_module_namespace: Namespace, tmp_path: Path
) -> None:
    with start_sshd(namespace=module_namespace, shell=program("perl", package="perl-base")) as server:
        async with fleet_as_guest(server, tmp_path) as fleet:
            result = await told(fleet, Command("print(1)", environment={"A": "1"}))
            assert (result.exit_status, result.stdout) == (125, b"")
            assert b"multirsh: the login shell does not read commands as sh, csh or fish do" in result.stderr
            assert b"printf" not in result.stderr


class TestAroundACommand:
    pytestmark = on_servers

    async def test_which_host_of_which_run(self, guest: Fleet) -> None:
        run = guest.run("sh -c 'echo \"$MULTIRSH_HOST $MULTIRSH_INDEX $MULTIRSH_RUN\"'")
        result = (await run.gather())[HOST]
        assert lines(result) == [f"{HOST} 0 {run.id}"]

    async def test_all_else_is_as_without(self, guest: Fleet) -> None:
        plain = await environment(guest, "env; echo")
        assert await environment(guest, "env; echo MULTIRSH_") == plain
        assert await environment(guest, Command("env; echo", environment={"HELLO": "x"})) == sorted(
            [*plain, "HELLO=x"]
        )

    async def test_the_shell_takes_itself_for_what_sshd_started(self, guest: Fleet, shell: str) -> None:
        if shell in NOT_SH:
            command = "echo a$status 'c  d' \"$HOME\"; umask; pwd"  # they have no $0
        else:
            command = 'echo "$0 $#" \'c  d\' "$HOME" `echo e`; umask; pwd'
        plain = lines(await told(guest, command))
        assert lines(await told(guest, Command(command, environment={"HELLO": "x"}))) == plain
        assert shell in NOT_SH or plain[0].startswith(f"{shell} 0 ")

    @pytest.mark.parametrize(
        ("command", "status"), [("exit 7", Status.FAILED), ("sh -c 'kill -TERM $$'", Status.FAILED)]
    )
    async def test_its_ending_is_the_commands_own(self, guest: Fleet, command: str, status: Status) -> None:
        plain = await told(guest, command)
        result = await told(guest, Command(command, environment={"HELLO": "x"}))
        assert (result.status, result.exit_status, result.signal) == (
            plain.status,
            plain.exit_status,
            plain.signal,
        )
        assert result.status in {status, Status.SIGNALLED}

    async def test_a_signal_ends_it_as_one(self, guest: Fleet) -> None:
        result = await told(guest, Command("exec sh -c 'kill -TERM $$'", directory="/"))
        assert (result.status, result.signal) == (Status.SIGNALLED, "TERM")

    async def test_variables_of_any_kind(self, guest: Fleet) -> None:
        odd = 'it\'s  $HOME \\ ! `x` "y" %s\n\tzwölf \udcff\n'
        variables = {"A": odd, "UID": "12", "PATH": "/usr/bin:/bin:/there", "EMPTY": "", "LC_ALL": "C.UTF-8"}
        command = Command(f"sh -c {quoted(PRINTS)}", environment=variables)
        result = await told(guest, command)
        assert result.stderr == b""
        assert result.stdout == odd.encode("utf-8", "surrogateescape") + b"||/usr/bin:/bin:/there|UID=12\n"

    @pytest.mark.parametrize("name", ["a b", "it's $HOME!", "-", "-n", "a\\b", "zwölf"])
    async def test_a_directory(self, guest: Fleet, by_shell: Daemon, name: str) -> None:
        there = by_shell.accounts.home(by_shell.guest) / name
        there.mkdir(exist_ok=True)
        assert lines(await told(guest, Command("sh -c pwd", directory=name))) == [str(there)]
        assert lines(await told(guest, Command("sh -c pwd", directory=str(there)))) == [str(there)]

    async def test_a_directory_that_is_not_there(self, guest: Fleet) -> None:
        result = await told(guest, Command("echo ran", directory="/no/such place"))
        assert (result.stdout, result.exit_status) == (b"", 125)
        assert b"/no/such place" in result.stderr

    async def test_standard_input_is_the_commands(self, guest: Fleet) -> None:
        everything = bytes(range(256)) * 1000
        result = await told(guest, Command("cat", environment={"HELLO": "x"}), everything)
        assert result.stdout == everything

    async def test_a_plain_command_is_sent_untouched(self) -> None:
        fake = FakeTransport()
        async with Fleet([Host("a")], transports={TransportName.SSH: fake}) as fleet:
            for command in (" echo  'x'\n", "echo \udcff {host}"):
                await fleet.run(command).gather()
                await fleet.run(Command(command)).gather()
                assert fake.connections.pop().commands == fake.connections.pop().commands == [command]


class TestATerminal:
    pytestmark = on_servers

    async def test_there_is_one_without_echo_and_carriage_returns(self, guest: Fleet) -> None:
        result = await told(guest, Command("tty; stty size; echo $TERM; sh -c 'echo err >&2'", tty=True))
        device, *rest = lines(result)
        assert device.startswith("/dev/pts/")
        assert rest == ["24 80", "dumb", "err"]

    async def test_its_input_ends(self, guest: Fleet) -> None:
        result = await told(guest, Command("cat; cat; echo end", tty=True))
        assert result.stdout == b"end\n"

    @pytest.mark.parametrize("data", [b"one\ntwo\n", b"one\ntwo"])
    async def test_it_takes_input(self, guest: Fleet, data: bytes) -> None:
        result = await told(guest, Command("cat; cat; sh -c 'echo; echo end'", tty=True), data)
        assert result.stdout == data + b"\nend\n"

    async def test_with_an_environment(self, guest: Fleet) -> None:
        result = await told(guest, Command("tty; env | grep HELLO", tty=True, environment={"HELLO": "x"}))
        assert lines(result)[1:] == ["HELLO=x"]

    async def test_an_ending_is_kept(self, guest: Fleet) -> None:
        assert (await told(guest, Command("exit 3", tty=True))).exit_status == 3

    async def test_dropbear_has_them_too(
        self, dropbear_here: StartServer, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        async with fleet_as_guest(dropbear_here(), tmp_path) as fleet:
            result = await told(fleet, Command("tty; cat; echo end", tty=True), b"line\n")
        assert lines(result)[1:] == ["line", "end"]

    async def test_a_server_without_refuses(
        self, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        async with fleet_as_guest(sshd_here(options={"PermitTTY": "no"}), tmp_path) as fleet:
            result = await told(fleet, Command("echo ran", tty=True))
        assert (result.status, result.stdout) == (Status.UNREACHABLE, b"")


async def test_where_there_are_no_terminals_nothing_connects() -> None:
    fake = FakeTransport()
    fake.has_terminals = False
    async with Fleet([Host("a")], transports={TransportName.SSH: fake}) as fleet:
        with pytest.raises(UsageError, match="a: there are no terminals by ssh"):
            fleet.run(Command("tty", tty=True))
        fleet.run(Command("tty"))
    assert fake.connections == []


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (lambda: Command(" "), "no command to run"),
        (lambda: Command("a\0"), "NUL"),
        (lambda: Command("a", environment={"A-B": ""}), "'A-B' is not a variable name"),
        (lambda: Command("a", environment={"1A": ""}), "not a variable name"),
        (lambda: Command("a", environment={"": ""}), "not a variable name"),
        (lambda: Command("a", environment={"A\n": ""}), "not a variable name"),
        (lambda: Command("a", environment={"A": "\0"}), "NUL"),
        (lambda: Command("a", environment={"MULTIRSH_RUN": "x"}), "set by multirsh"),
        (lambda: Command("a", directory=""), "not a directory"),
        (lambda: Command("a", directory="x\0"), "not a directory"),
    ],
)
def test_what_cannot_be_meant(made: Callable[[], Command], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        made()


async def test_what_is_too_long_with_its_context_is_told_before_anything_connects() -> None:
    fake = FakeTransport()
    async with Fleet([Host("a"), Host("b" * 60)], transports={TransportName.SSH: fake}) as fleet:
        with pytest.raises(UsageError, match="too long"):
            fleet.run(Command("echo " + "x" * 131_000, environment={"A": "b"}))
    assert fake.connections == []


def test_the_values_of_variables_are_not_in_its_repr() -> None:
    assert "secret" not in repr(Command("x", environment={"TOKEN": "secret"}))
