r"""How a script gets into a host and leaves nothing there.

Its content is the first part of the command's standard input. A loop of the
remote's sh reads it, one byte at a time as ``read`` must (POSIX: no more than
the line), so that what follows is the script's own input::

    we                                       the remote's sh
    #!/bin/sh\necho hi\n\0012... ──────────▶ lines for printf %b, each a piece of the content
    \.                           ──────────▶ the end: no such piece looks so
    the user's standard input    ──────────▶ left for the script

It goes into a file that only its owner can read, and that has lost its name before the
first byte of it came: descriptor 8 writes it, 9 reads it, and the interpreter
is given ``/dev/fd/9``. So nothing is left behind, however it ends. A host
without /dev/fd keeps the name until the script has ended; then sh waits for
it, and removes the file.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Final

from multirsh.commands.context import NOT_BEGUN
from multirsh.sh_text import escaped, quoted

_PIECE: Final = 2048
"""Bytes of the script in one line; as lines they may be five times as many."""

_END: Final = b"\\.\n"

_RECEIVE: Final = f"""\
__f=
for __d in "${{TMPDIR:-/tmp}}" /tmp /var/tmp /dev/shm "$HOME" .;do
if (umask 077;set -C;: >"$__d/$__n") 2>/dev/null;then __f=$__d/$__n;break;fi
done
if [ -z "$__f" ];then echo "multirsh: no folder for a temporary file, not even /tmp">&2;exit {NOT_BEGUN};fi
exec 8>"$__f" 9<"$__f"
__p=/dev/fd/9
if [ -r $__p ];then rm -f "$__f"
else
__p=$__f
trap 'rm -f "$__f"' 0
for __s in 1 2 15;do trap "exit $((128+__s))" $__s;done
fi
if (
LC_ALL=C
while IFS= read -r l;do
case $l in '\\.')exit 0;;esac
printf %b "$l"||exit 1
done
exit 1
)>&8;then exec 8>&-;else echo "multirsh: the script has not come in full">&2;exit {NOT_BEGUN};fi
"""

# Of ksh, only descriptors that a command is given by name reach it.
_RUN: Final = """\
case $__p in /dev/fd/9)exec "$@" 9<&9;;esac
exec 9<&-
"$@"
exit $?"""


@functools.lru_cache(maxsize=1)
def content(script: bytes) -> bytes:
    """What is sent before the user's standard input; made once for all hosts that get the same.

    Args:
        script: The content, without NUL bytes.
    """
    return b"".join((*_lines(script), _END))


def receiving(runner: Sequence[str], arguments: Sequence[str], *, before: str, name: str) -> str:
    """The text that takes the script and becomes it.

    Args:
        runner: The interpreter's words.
        arguments: The script's.
        before: Words that go before the interpreter, such as those of ``context.setting``.
        name: A file name that nobody else uses.
    """
    first, last = (" ".join(map(quoted, words)) for words in (runner, arguments))
    return f'__n={quoted(name)}\n{_RECEIVE}set -- {before}{first} "$__p" {last}\n{_RUN}'


def _lines(script: bytes) -> Iterator[bytes]:
    for start in range(0, len(script), _PIECE):
        yield escaped(script[start : start + _PIECE]) + b"\n"
