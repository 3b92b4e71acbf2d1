"""The shell at a terminal, over real sshd: keys go to tmux, and the tests read its screen."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.end_to_end.remotes import Remotes
from tests.program import MULTIRSH, Program
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.tmux import Window
from tests.waiting import wait_until

pytestmark = pytest.mark.root

LOGIN = r"Accepted publickey for"


@pytest.fixture
def screen(on_sshd: Program) -> Iterator[Window]:
    """A shell on h01-h05, at its first prompt."""
    with Window(on_sshd, [*MULTIRSH, "shell", "-f", "hosts.yaml", "-g", "few"]) as made:
        made.expect(r"^h\[01-05\] \(5\)>$")
        yield made


def test_a_session(screen: Window, on_sshd: Program, sshd: Daemon, in_module_namespace: Namespace) -> None:
    logins = sshd.log.count(LOGIN)
    screen.line("echo one")
    shown = screen.expect(r"^5 hosts: 5 ok")
    assert "h03: one" in shown
    assert "local ports" not in shown

    screen.line("@h[02-03]")
    screen.expect(r"^h\[02-03\] \(2\)>$")
    screen.line("+h05")
    screen.line("-h03")
    screen.expect(r"^h\[02,05\] \(2\)>$")
    screen.line("=")
    screen.expect(r"=gather>$")
    screen.line("echo two")
    shown = screen.expect(r"^2 hosts: 2 ok")
    assert "---- h[02,05] (2) ---" in shown

    screen.line("=live")
    screen.line("test $MULTIRSH_HOST = h02")
    screen.expect(r"failed \(exit 1\): h05$")
    screen.line(".failed")
    screen.expect(r"^h05 \(1\)>$")
    screen.line("@few")
    screen.line(".status")
    screen.expect(r"^open: h\[01-05\] \(5\)")
    assert sshd.log.count(LOGIN) == logins + 5

    screen.line(".reconnect h01")
    screen.expect(r"^1 connection closed; the next command logs in again$")
    screen.line("!printf 'here: %s' $((6 * 7))")  # without the end of a line
    screen.expect(r"^here: 42 *$")
    screen.line(".statsu")
    screen.expect(r"there is no shell command \.statsu; did you mean \.status\?$")
    screen.key("C-d")
    screen.expect(r"^ended 2$")
    assert not in_module_namespace.client_side([sshd.port])

    history = on_sshd.home / ".local/state/multirsh/shell_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert stat.S_IMODE(history.parent.stat().st_mode) == 0o700
    assert "+echo two" in history.read_text().splitlines()


def test_ctrl_c_ends_the_command_and_not_the_shell(screen: Window, remotes: Remotes, sshd: Daemon) -> None:
    logins = sshd.log.count(LOGIN)
    for number in range(1, 6):  # more often than would end a run for good
        screen.line(remotes.marking())
        remotes.wait_for(5 * number)
        screen.key("C-c")
        screen.expect("(?s)" + number * r".*^5 hosts: 5 cancelled")
    assert not remotes.alive
    screen.type("never sent")
    screen.key("C-c")
    screen.line("echo after")
    shown = screen.expect(r"^5 hosts: 5 ok")
    assert "h05: after" in shown
    assert sshd.log.count(LOGIN) == logins + 5

    # Nor does it end the shell while a local command runs.
    screen.line("!trap '' INT; echo up; read line; echo got $line")
    screen.expect(r"^up$")
    for number in range(1, 6):  # more often than would end a run for good
        screen.key("C-c")
        screen.expect(rf"(?s)^up\n(\^C){{{number}}}")
    screen.line("a line")
    screen.expect(r"got a line$")
    screen.line("quit")
    screen.expect(r"^ended 0$")


def test_tab_completes_and_lines_come_back(screen: Window) -> None:
    screen.type("@h0")
    screen.key("Tab")
    screen.expect(r"^\s*h01\s+h02")
    screen.type("4")
    screen.key("Enter")
    screen.expect(r"^h04 \(1\)>$")
    screen.type("@@f")
    screen.key("Tab")
    screen.expect(r"@@few$")
    screen.key("Enter")
    screen.type(".sta")
    screen.key("Tab")
    screen.expect(r"> \.status$")
    screen.key("Enter")
    screen.expect(r"^not open: h\[01-05\] \(5\)")
    screen.line(" echo secret")
    screen.expect(r"^5 hosts: 5 ok")
    screen.line("echo plain")
    screen.expect(r"(?s)5 hosts: 5 ok.*5 hosts: 5 ok")
    screen.type("ec")
    screen.key("Up")
    screen.expect(r"> echo plain$")


def test_pasted_lines_are_run_in_turn_up_to_the_first_error(screen: Window) -> None:
    screen.paste("echo first\n@h02\necho second\n@nobody\necho never\n\n@h03\n")
    screen.key("Enter")
    shown = screen.expect(r"^multirsh: 2 lines of what was pasted were not run$")
    assert "h05: first" in shown
    assert "h02: second" in shown
    screen.expect(r"(?s)were not run.*^h02 \(1\)>$")
    assert ": never" not in screen.shown


def test_what_is_typed_while_a_command_runs_is_the_next_line(screen: Window, remotes: Remotes) -> None:
    screen.line(remotes.waiting)
    remotes.wait_for(5)
    screen.line("@h02")
    screen.type("echo ne")
    screen.expect("^echo ne$")
    remotes.let_go()
    screen.expect(r"^h02 \(1\)> echo ne$")
    screen.line("xt")
    shown = screen.expect(r"(?s)^5 hosts: 5 ok.*^1 host: 1 ok")
    assert "h02: next" in shown

    # It is not run after a line that was interrupted or had an error. Here part of it arrives together with
    # that line, as from a terminal without bracketed paste.
    screen.type(f"{remotes.marking()}\recho never\r")
    remotes.wait_for(6)
    screen.line("echo nor this")
    screen.key("C-c")
    screen.expect(r"^1 host: 1 cancelled")
    screen.type("@nobody\recho never\r")
    screen.expect(r"nobody is not in the hosts of this shell")
    screen.expect(r"^multirsh: what was typed ahead was not run$")
    screen.line("echo at last")
    shown = screen.expect(r"^h02: at last$")
    assert ": never" not in shown
    assert ": nor this" not in shown


def test_lost_connections_are_opened_again_and_reported(screen: Window, sshd: Daemon) -> None:
    screen.line("true")
    screen.expect(r"^5 hosts: 5 ok")
    for pid in sshd.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    screen.line("echo again")
    shown = screen.expect(r"(?s)5 ok.*5 hosts: 5 ok")
    assert "connections lost meanwhile, opened anew: h[01-05]" in shown


def test_a_terminal_that_hangs_up_ends_the_shell_in_order(
    screen: Window, sshd: Daemon, in_module_namespace: Namespace, remotes: Remotes
) -> None:
    screen.line(remotes.marking())
    remotes.wait_for(5)
    screen.hang_up()
    wait_until(lambda: not remotes.alive, what="the commands' ends")
    wait_until(lambda: not in_module_namespace.client_side([sshd.port]), what="the connections' ends")
