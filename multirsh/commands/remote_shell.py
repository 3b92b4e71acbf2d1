r"""Text for the shells on a host: its form, its directory and environment, and how a script arrives.

**A line that every login shell reads alike.** It starts /bin/sh, which decodes
and runs the text that we want::

    exec /bin/sh -c 'eval "set --;$(printf %b "$@")"' sh 'cd /srv\0012...' '...'

The words at the end are that text. Whatever sh, csh, fish and their relatives
read differently in it is an octal escape. There are several words because
BSD's csh takes no word longer than 1,024 bytes (csh(1)); printf joins them. The
shell that decodes the text also runs it, and may become another program by
``exec``: there is one process, and its end is the command's end.

**A script that leaves nothing behind.** Its content is the first part of the
command's standard input. A loop of the remote's sh reads it one byte at a time,
as ``read`` has to (POSIX: no further than the line), so that what follows is
the script's own input::

    we                                       the remote's sh
    #!/bin/sh\necho hi\n\0012... ──────────▶ lines for printf %b, each a piece of the content
    \.                           ──────────▶ the end: no piece looks like this
    the user's standard input    ──────────▶ left for the script

The script is written to a file that only its owner can read and run, in the first directory that has space
for it and allows execution. It is a real file because scripts run ``$0`` again, by ``exec sudo "$0"`` or
Python's multiprocessing, which neither descriptors nor unnamed files survive. If all directories are mounted
noexec, the first that has space is used, since the interpreter only reads the file. The shell that received
the script waits for it, removes the file, and ends as the script ended.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from multirsh.commands.command import RUN_VARIABLES
from multirsh.errors import UsageError
from multirsh.model import Assignment
from multirsh.sh_text import LONGEST_ARGUMENT, escaped, escaped_for_quotes, quoted, to_bytes

NOT_BEGUN: Final = 125
"""The exit status when something of ours failed on the host before the command began, as that of env(1)."""

LONGEST_WORD: Final = 900
"""The longest word in a portable line, in bytes: csh's limit, less a margin."""

_LINE_START: Final = """exec /bin/sh -c 'eval "set --;$(printf %b "$@")"' sh"""

_TEXT_END: Final = "\n#"
"""Appended to the text: command substitution drops trailing line feeds, and the comment protects them."""

_CUT_ESCAPE: Final = re.compile(rb"\\(0[0-7]{0,2})?\Z")

LOGIN_SHELL: Final = (
    "case ${SHELL:=/bin/sh} in */nologin|*/false)SHELL=/bin/sh;;esac;"
    # sshd does not set SHLVL. A shell counts itself, and not every shell undoes that before it execs another.
    "unset SHLVL;"
    'set -- -c "$1";'
    "case ${SHELL##*/} in"
    " sh|ash|bash|dash|ksh|ksh93|lksh|mksh|oksh|pdksh|posh|rbash|rksh|yash|zsh)"
    'set -- "$@" "${SHELL##*/}";;esac;'
    'exec %s"$SHELL" "$@"'
)
"""POSIX text that becomes the login shell, with ``$1`` as its command. ``%s`` is the place for words before
it.

sshd starts a login shell by its path and passes the last part of the path as its name. Shells of the sh
family take that name from the word after the command; to others that word would be an argument. Users without
a login shell, which sudo may still switch to, get /bin/sh."""

_PIECE_BYTES: Final = 2048
"""Bytes of a script in one line; escapes make a line up to five times as long."""

SCRIPT_END: Final = b"\\.\n"
"""The line after the script's last one: no piece of a script looks like this."""

_RECEIVE: Final = rf"""
__f=$(
LC_ALL=C
f= k=0
trap 'rm -f "$f"' 0
for s in 1 2 15;do trap "exit $((128+s))" $s;done
set -- "${{TMPDIR:-/tmp}}" /tmp /var/tmp /dev/shm "$HOME" .
set -- "$@" "$@"
while IFS= read -r l;do
case $l in \\.)trap - 0;echo "$f";exit 0;;esac
until [ -n "$f" ]&&printf %b "$l" 2>/dev/null >>"$f";do
g=$f f=
while [ -z "$f" ];do
if [ $# = 0 ];then rm -f "$g";exit 2;fi
f=$1/$__n
shift
if (umask 077;set -C;: >"$f") 2>/dev/null;then
if [ $# -gt 5 ]&&{{ chmod 700 "$f";! "$f" </dev/null;}} 2>/dev/null;then rm -f "$f";f=
elif [ -n "$g" ];then dd bs={_PIECE_BYTES} count=$k <"$g" >>"$f" 2>/dev/null||{{ rm -f "$f";f=;}};fi
else f=;fi
done
[ -z "$g" ]||rm -f "$g"
done
k=$((k+1))
done
exit 1
)
case $? in
0);;
2)echo "multirsh: no folder has space for a temporary file, not even /tmp">&2;exit {NOT_BEGUN};;
*)echo "multirsh: the script was not received in full">&2;exit {NOT_BEGUN};;
esac
trap 'rm -f "$__f"' 0
for __s in 1 2 15;do trap "exit $((128+__s))" $__s;done
chmod 700 "$__f"
"""
"""The folders are tried twice: the first time only those count in which an empty file can be executed."""

_RUN: Final = """\
exec 9>&2 2>/dev/null
(exec 2>&9 9>&-;exec "$@")
__s=$?
rm -f "$__f"
trap - 0 1 2 15
case $((__s-128)) in 1|2|3|4|6|8|9|11|13|14|15)ulimit -c 0;kill -$((__s-128)) $$;;esac
exit $__s"""
"""If a signal ended the script, it ends the shell, too. Exit statuses stand for the signals that usually end
programs, which have the same numbers everywhere; no POSIX shell distinguishes ``exit 143`` from the signal.
What shells write to stderr about signals ("Killed") is discarded, since it would look like the script's
output."""


class Job(NamedTuple):
    """What to run on a host, and what logs call it.

    Attributes:
        title: The user's command, or a script's name and arguments.
        script: POSIX text that runs it; ``None`` if the login shell is given ``title`` and nothing else.
    """

    title: str
    script: str | None = None

    @property
    def text(self) -> str:
        """POSIX text that runs the job."""
        return exec_login_shell(self.title) if self.script is None else self.script


def portable_line(script: str) -> str:
    """Return a command line that makes any login shell run ``script`` by /bin/sh.

    Args:
        script: POSIX text. It has no positional parameters, and its ``$0`` is ``sh``.

    Returns:
        One line of printable ASCII.

    Raises:
        UsageError: The text contains a NUL byte, or the line is too long for one argument of a program.
    """
    if "\0" in script:
        raise UsageError("a command cannot contain a NUL byte")
    words = _split(escaped_for_quotes(to_bytes(script + _TEXT_END)))
    line = " ".join([_LINE_START, *(f"'{word.decode('ascii')}'" for word in words)])
    check_length(line)
    return line


def check_length(line: str, *, margin: int = 0) -> None:
    """Check that a server can pass ``line`` to a login shell as one argument.

    Args:
        line: The command line.
        margin: Bytes that will still be added to it.

    Raises:
        UsageError: The line is too long.
    """
    length = len(to_bytes(line)) + margin
    if length > LONGEST_ARGUMENT:
        raise UsageError(
            f"the command is too long: {length:,} bytes as sent, and a shell takes"
            f" {LONGEST_ARGUMENT:,} at most",
            hint="put it into a file and use 'multirsh script FILE', or pass data as standard input (-I)",
        )


def run_variables(assignment: Assignment) -> dict[str, str]:
    """The environment variables that tell a command where it runs."""
    values = (assignment.host.name, str(assignment.place), assignment.run)
    return dict(zip(RUN_VARIABLES, values, strict=True))


def change_directory(directory: str | None) -> str:
    """Return POSIX text that changes to ``directory``; if that fails, the shell's own message says why."""
    if directory is None:
        return ""
    # "-" alone would be the previous directory, and CDPATH is meant for interactive use.
    path = "./-" if directory == "-" else directory
    return f"CDPATH= cd -- {quoted(path)} >/dev/null||exit {NOT_BEGUN}\n"


def set_environment(environment: Mapping[str, str]) -> str:
    """Return words that run the words after them with ``environment``.

    They use env(1), since shells have variables of their own that cannot be set, such as ``UID``.
    """
    if not environment:
        return ""
    return "env " + "".join(f"{quoted(f'{name}={value}')} " for name, value in environment.items())


def exec_login_shell(text: str, *, before: str = "") -> str:
    """Return POSIX text that becomes the login shell, as sshd would start it, with ``text`` as its command.

    Args:
        text: The user's command.
        before: Words that go before the shell's, such as those of ``set_environment``.
    """
    return f"set -- {quoted(text)}\n" + LOGIN_SHELL.replace("%s", before)


@functools.lru_cache(maxsize=1)
def encode_script(content: bytes) -> bytes:
    """Return what is sent before the user's standard input; computed once for all hosts.

    Args:
        content: The script, without NUL bytes.
    """
    pieces = (content[start : start + _PIECE_BYTES] for start in range(0, len(content), _PIECE_BYTES))
    return b"".join((*map(escaped_line, pieces), SCRIPT_END))


def receive_script(interpreter: Sequence[str], arguments: Sequence[str], *, before: str, name: str) -> str:
    """Return POSIX text that receives the script from standard input and runs it.

    Args:
        interpreter: The interpreter's words.
        arguments: The script's arguments.
        before: Words that go before the interpreter, such as those of ``set_environment``.
        name: A unique name for the temporary file.
    """
    first, last = (" ".join(map(quoted, words)) for words in (interpreter, arguments))
    return f'__n={quoted(name)}\n{_RECEIVE}set -- {before}{first} "$__f" {last}\n{_RUN}'


def escaped_line(piece: bytes) -> bytes:
    """Encode ``piece`` as one line, which ``printf %b`` decodes."""
    return escaped(piece) + b"\n"


def _split(text: bytes) -> Iterator[bytes]:
    """Split ``text`` into words, without cutting an escape in two."""
    start = 0
    while start < len(text):
        end = start + LONGEST_WORD
        if end < len(text):
            cut = _CUT_ESCAPE.search(text, start, end)
            end = end if cut is None else cut.start()
        yield text[start:end]
        start = end
