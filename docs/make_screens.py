"""Write the screens of the docs, as a terminal shows them: ``python docs/make_screens.py [NAME]...``.

Needs tmux.
Each command is typed into a tmux of its own, the screen is captured with its
colours (tmux(1), capture-pane -e), and rich makes an SVG of it, dark and light.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, MONOKAI, TerminalTheme
from rich.text import Text

SCREENS: Final = Path(__file__).parent / "screens"
THEMES: Final[dict[str, TerminalTheme]] = {"dark": MONOKAI, "light": DEFAULT_TERMINAL_THEME}
PATIENCE_S: Final = 60


@dataclass(frozen=True, slots=True)
class Screen:
    """One to be captured.

    Attributes:
        name: The file's, without its end.
        command: What is typed.
        columns: How wide the window is.
        lines: How high.
        sign: Captured once this is there; by default, the last line of a run.
        typed: What is typed before: each once the last line ends with its sign, which comes first.
        lab: How many hosts of a lab stay up meanwhile; its folder is the current one.
    """

    name: str
    command: str
    columns: int = 80
    lines: int = 24
    sign: str = "TIME_WAIT"
    typed: tuple[tuple[str, str], ...] = ()
    lab: int = 0


_SLOW: Final = (
    "case $MULTIRSH_LAB_HOST in web0[37]) exit 3;; db2) kill -9 $$;; *[5-9]) sleep 6;; *) sleep 30;; esac"
)
_UPGRADE: Final = (
    "case $MULTIRSH_LAB_HOST in web03) exit 100;; esac; echo Unpacking nginx; "
    "case $MULTIRSH_LAB_HOST in *[1-4]) ;; *) sleep 6; echo Setting up nginx; sleep 20;; esac"
)
_RELEASE: Final = "case $MULTIRSH_LAB_HOST in db2) echo 12.5;; *) echo 12.7;; esac"
_CONFIG: Final = (
    r"printf 'port 80\nuser www\nworkers %s\n' $(case $MULTIRSH_LAB_HOST in web05) echo 2;; *) echo 8;; esac)"
)

ALL: Final = (
    Screen("live", f"multirsh lab --hosts 40 -j 24 {shlex.quote(_SLOW)}", sign="longest:"),
    Screen("live-wide", f"multirsh lab --hosts 40 -j 24 {shlex.quote(_SLOW)}", 200, 50, sign="longest:"),
    Screen(
        "batches",
        f"multirsh lab --hosts 40 --batch 4,25% --gate 'sleep 20' -b {shlex.quote(_UPGRADE)}",
        sign="the gate",
    ),
    Screen("gathering", f"multirsh lab --hosts 40 -j 24 -b {shlex.quote(_UPGRADE)}", sign=": Setting up"),
    Screen("gather", f"multirsh lab -b {shlex.quote(_RELEASE)}", lines=12),
    Screen("diff", f"multirsh lab -g web --diff {shlex.quote(_CONFIG)}", lines=18),
    Screen(
        "shell",
        "multirsh shell -f hosts.yaml",
        lines=34,
        lab=12,
        typed=(
            ("(12)>", "@@web"),
            ("(8)>", "test $MULTIRSH_HOST != web03 && uptime -p"),
            ("(8)>", ".failed"),
            ("(1)>", "!echo on this machine"),
            ("(1)>", "@"),
            ("(12)>", "="),
            ("=gather>", "echo ${MULTIRSH_HOST%%[0-9]*}"),
            ("=gather>", ".status"),
        ),
        sign="at once",
    ),
)


def capture(screen: Screen, folder: Path) -> str:
    """Type the command into a terminal of its own; what is on it then."""
    tmux = ["tmux", "-S", str(folder / "socket"), "-f", "/dev/null"]
    rc = folder / "rc"
    size = ["-x", str(screen.columns), "-y", str(screen.lines)]
    with _lab(screen.lab) as lab:
        place = "" if lab is None else f"cd {shlex.quote(str(lab))}\n"
        told = "" if lab is None else " -F ssh_config"
        rc.write_text(f"PS1='$ '\n{place}multirsh() {{ {sys.executable} -m multirsh \"$@\"{told}; }}\n")
        _tell(tmux, "new-session", "-d", *size, "bash", "--rcfile", str(rc), "--noprofile")
        try:
            for sign, typed in (("$", screen.command), *screen.typed):
                _awaited(tmux, f"{re.escape(sign)}\\s*\\Z")
                _tell(tmux, "send-keys", "-l", "--", typed)
                _tell(tmux, "send-keys", "Enter")
            return _awaited(tmux, re.escape(screen.sign))
        finally:
            _tell(tmux, "kill-server")


@contextmanager
def _lab(hosts: int) -> Iterator[Path | None]:
    """The folder of a lab that stays up, if there is to be one."""
    if not hosts:
        yield None
        return
    argv = [sys.executable, "-m", "multirsh", "lab", "--hosts", str(hosts)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as lab:
        try:
            told = iter(lab.stdout or ())
            yield next(Path(found[1]).parent for line in told if (found := re.search(r"-f (\S+)", line)))
        finally:
            lab.send_signal(signal.SIGINT)


def _awaited(tmux: Sequence[str], pattern: str) -> str:
    """What is on the screen once ``pattern`` is there."""
    deadline = time.monotonic() + PATIENCE_S
    while not re.search(pattern, Text.from_ansi(shown := _tell(tmux, "capture-pane", "-e", "-p")).plain):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {pattern!r} in\n{shown}")
        time.sleep(0.1)
    return shown


def _tell(tmux: Sequence[str], *words: str) -> str:
    done = subprocess.run([*tmux, *words], check=True, capture_output=True, text=True)
    return done.stdout


def draw(screen: Screen, shown: str, theme: TerminalTheme) -> str:
    """The screen as SVG."""
    with Path("/dev/null").open("w", encoding="utf-8") as nowhere:
        console = Console(
            width=screen.columns, record=True, file=nowhere, force_terminal=True, color_system="standard"
        )
        console.print(Text.from_ansi(shown.rstrip("\n")), soft_wrap=True)
        # As rich draws it, but with the reader's own font: a page of docs fetches nothing.
        own_font = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
        return console.export_svg(title="multirsh", theme=theme, code_format=own_font)


def main() -> None:
    """Capture and draw all of them, or those that are named."""
    SCREENS.mkdir(exist_ok=True)
    for screen in ALL:
        if screen.name not in (sys.argv[1:] or [screen.name]):
            continue
        with tempfile.TemporaryDirectory() as folder:
            shown = capture(screen, Path(folder))
        for name, theme in THEMES.items():
            (SCREENS / f"{screen.name}-{name}.svg").write_text(draw(screen, shown, theme), encoding="utf-8")


if __name__ == "__main__":
    main()
