r"""How a script gets into a host and leaves nothing there.

Its content is the first part of the command's standard input. A loop of the
remote's sh reads it, one byte at a time as ``read`` must (POSIX: no more than
the line), so that what follows is the script's own input::

    we                                       the remote's sh
    #!/bin/sh\necho hi\n\0012... ──────────▶ lines for printf %b, each a piece of the content
    \.                           ──────────▶ the end: no such piece looks so
    the user's standard input    ──────────▶ left for the script

It goes into a file that only its owner can read and run, in the first folder that has room for it and whose
files can be run: ``$0`` can be run again, by ``exec sudo "$0"`` or by Python's multiprocessing, which
descriptors and files without a name do not survive. Where all folders are mounted noexec, the first that has
room is used, since the interpreter only reads the file. The shell that has received it waits for the script,
removes the file, and ends as the script has ended.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Final

from multirsh.commands.context import NOT_BEGUN
from multirsh.sh_text import escaped, quoted

_PIECE: Final = 2048
"""Bytes of the script in one line; as lines they may be five times as many."""

END: Final = b"\\.\n"
"""Behind the last line: no piece looks so."""

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
elif [ -n "$g" ];then dd bs={_PIECE} count=$k <"$g" >>"$f" 2>/dev/null||{{ rm -f "$f";f=;}};fi
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
2)echo "multirsh: no folder has room for a temporary file, not even /tmp">&2;exit {NOT_BEGUN};;
*)echo "multirsh: the script has not come in full">&2;exit {NOT_BEGUN};;
esac
trap 'rm -f "$__f"' 0
for __s in 1 2 15;do trap "exit $((128+__s))" $__s;done
chmod 700 "$__f"
"""
"""The folders are gone through twice: at first those count in which an empty file can be run."""

_RUN: Final = """\
exec 9>&2 2>/dev/null
(exec 2>&9 9>&-;exec "$@")
__s=$?
rm -f "$__f"
trap - 0 1 2 15
case $((__s-128)) in 1|2|3|4|6|8|9|11|13|14|15)ulimit -c 0;kill -$((__s-128)) $$;;esac
exit $__s"""
"""A signal that ended the script ends the shell, too; what an exit status says of it are the signals by which
programs are ended, by the same numbers everywhere; no POSIX shell tells ``exit 143`` from the signal. What
shells say of signals on stderr ("Killed") is discarded, since it would be read as the script's output."""


@functools.lru_cache(maxsize=1)
def content(script: bytes) -> bytes:
    """What is sent before the user's standard input; made once for all hosts that get the same.

    Args:
        script: The content, without NUL bytes.
    """
    return b"".join((*_lines(script), END))


def receiving(runner: Sequence[str], arguments: Sequence[str], *, before: str, name: str) -> str:
    """The text that takes the script and becomes it.

    Args:
        runner: The interpreter's words.
        arguments: The script's.
        before: Words that go before the interpreter, such as those of ``context.setting``.
        name: A file name that nobody else uses.
    """
    first, last = (" ".join(map(quoted, words)) for words in (runner, arguments))
    return f'__n={quoted(name)}\n{_RECEIVE}set -- {before}{first} "$__f" {last}\n{_RUN}'


def _lines(script: bytes) -> Iterator[bytes]:
    for start in range(0, len(script), _PIECE):
        yield escaped_line(script[start : start + _PIECE])


def escaped_line(piece: bytes) -> bytes:
    """``piece`` as one line, which ``printf %b`` makes bytes of again."""
    return escaped(piece) + b"\n"
