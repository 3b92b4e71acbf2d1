"""The live display in a real terminal emulator, and what readers of our streams get in its place."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

from tests.end_to_end.remotes import Remotes
from tests.program import MULTIRSH, Program
from tests.tmux import Window

pytestmark = pytest.mark.root

DRAWN = r"in flight|\[=*>|waiting for|longest:|not ok:"
"""Words of the live display."""
FEW = "-f hosts.yaml -g few"
SLOW = "sleep 0.5"
"""Long enough for something to be drawn, if anything were."""


def gate_of(remotes: Remotes) -> str:
    """One that lets nobody through before the remotes are let go."""
    return f"until test -e {remotes.folder}/go; do sleep 0.1; done"


@pytest.fixture
def window(on_sshd: Program) -> Iterator[Window]:
    with Window(on_sshd, columns=80, lines=24) as made:
        yield made


def test_it_never_tears_the_output_and_leaves_nothing(window: Window) -> None:
    """While lines come, the window becomes narrower and wider, and lower than the display."""
    command = "for i in 1 2 3 4 5; do echo line $i of many words to be read; sleep 0.4; done"
    window.line(f"multirsh {FEW} '{command}'; echo code $?")
    for columns, lines in ((60, 24), (100, 30), (30, 8), (80, 24)):
        window.expect("h0[1-5]: line", scrolled=False)
        window.resize(columns, lines)
    window.expect("^code 0", scrolled=False)

    shown = window.shown
    printed = [line for line in shown.splitlines() if line.startswith("h0")]
    wanted = {f"h{host:02}: line {i} of many words to be read" for host in range(1, 6) for i in range(1, 6)}
    assert set(printed) == wanted
    assert len(printed) == len(wanted)
    assert not re.search(DRAWN, shown)


def test_what_the_run_waits_for(window: Window, remotes: Remotes) -> None:
    window.line(
        f"multirsh {FEW} --batch 2 --gate 'until test -e {remotes.folder}/go; do sleep 0.1; done' true"
    )
    window.expect(r"^2/5  2 ok  0 in flight .*\nwaiting for: the gate$", scrolled=False)
    remotes.let_go()
    assert not re.search(DRAWN, window.expect("5 hosts: 5 ok", scrolled=False))


def test_the_last_lines_while_output_is_gathered(window: Window, remotes: Remotes) -> None:
    window.line(f"clear; multirsh {FEW} -b 'echo first; {remotes.waiting}'; echo code $?")
    remotes.wait_for(5)
    screen = window.expect(r"(?:^h0[1-5]: first$[\s\S]*?){3}", scrolled=False)
    assert len(re.findall("^h0[1-5]: first$", screen, re.MULTILINE)) == 3
    remotes.let_go()
    screen = window.expect("^code 0", scrolled=False)
    assert screen.count("first") == 1
    assert screen.startswith("---- h[01-05] (5) ---")


def test_a_low_window_says_it_in_the_line(on_sshd: Program, remotes: Remotes) -> None:
    with Window(on_sshd, columns=100, lines=6) as window:
        window.line(f"clear; multirsh {FEW} --batch 2 --gate '{gate_of(remotes)}' true")
        assert "0:0" in window.expect(r"^\[====> +\]  2/5  2 ok  0 in flight .*the gate", scrolled=False)
        remotes.let_go()
        window.expect("5 hosts: 5 ok", scrolled=False)


READERS = {
    "multirsh {few} hostname 2>/dev/null | sort | uniq -c | wc -l": "5",
    "multirsh {few} -N '{slow}; echo same' 2>/dev/null | sort -u": "same",
    "multirsh {few} '{slow}; echo done' 2>/dev/null | grep -c done": "5",
    "multirsh {few} '{slow}; echo done' 2>/dev/null | tee copy | wc -l; wc -l <copy": "5\n5",
    "multirsh {few} '{slow}; echo done' >file 2>/dev/null; wc -l <file": "5",
}


def test_pipes_and_files_get_the_output_only(window: Window) -> None:
    for number, (line, shown) in enumerate(READERS.items()):
        over = f"over {number}"  # that of the line before is still there for a moment
        window.line(f"clear; {line.format(few=FEW, slow=SLOW)}; echo {over}")
        assert window.expect(f"^{over}", scrolled=False).startswith(f"{shown}\n{over}\n$"), line


def test_who_reads_a_pipe_at_the_same_terminal_is_not_drawn_over(window: Window) -> None:
    """The summary comes, and nothing that would have to be cleared away."""
    window.line(f"clear; multirsh {FEW} '{SLOW}; echo done' | tee copy; echo over")
    screen = window.expect("^over", scrolled=False)
    assert len(re.findall("^h0[1-5]: done$", screen, re.MULTILINE)) == 5
    assert "5 hosts: 5 ok" in screen


@pytest.mark.parametrize("setting", ["TERM=dumb", "TERM=", "TERM=unknown", "CI=true"])
def test_a_terminal_that_cannot_draw_gets_lines(on_sshd: Program, setting: str) -> None:
    """Or one that is a log, as some CI has it."""
    command = f"env {setting} NO_COLOR=1 {' '.join(MULTIRSH)} {FEW} '{SLOW}; echo done'"
    done = on_sshd.shell(f"script -qec {shlex.quote(command)} /dev/null")
    assert done.out.count(": done") == 5
    assert "\x1b" not in done.out
    assert not re.search(DRAWN, done.out)


def test_nothing_of_it_can_be_scrolled_back_to(window: Window) -> None:
    """tmux(1) keeps a screen that is cleared, and the display may begin at the top of one."""
    window.line("clear")
    window.line(f"clear; multirsh {FEW} 'sleep 1.5'; echo over")
    window.expect("^over", scrolled=False)
    shown = window.shown
    assert not re.search(DRAWN, shown), shown


def test_no_terminal_no_escapes(on_sshd: Program) -> None:
    """As in CI and under cron(8): no terminal, hardly an environment."""
    kept = ("HOME", "PYTHONPATH", "LD_PRELOAD", "NSS_WRAPPER_PASSWD", "NSS_WRAPPER_GROUP")
    bare = {name: value for name, value in on_sshd.environ.items() if name in kept}
    done = Program(on_sshd.home, bare)(*FEW.split(), f"{SLOW}; echo done", env={"TERM": ""})
    assert done.code == 0, done.err
    assert sorted(done.out.splitlines()) == [f"h{number:02}: done" for number in range(1, 6)]
    assert "\x1b" not in done.out + done.err
    assert not re.search(DRAWN, done.err)


def test_under_script_it_is_at_a_terminal(on_sshd: Program) -> None:
    """script(1) is one; what it records is drawn, and cleared away."""
    command = f"{' '.join(MULTIRSH)} {FEW} '{SLOW}; echo done'"
    done = on_sshd.shell(f"script -qec {shlex.quote(command)} /dev/null")
    assert done.code == 0
    drawn, _, after = done.out.rpartition("\x1b[J")
    assert "waiting for h01" in drawn
    assert not re.search(DRAWN, after)
