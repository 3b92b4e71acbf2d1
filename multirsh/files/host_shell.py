"""A shell on a host, beside SFTP, for what SFTP cannot do: access control lists, checksums, unusual times.

It is started by the first question. Questions are sent without waiting for earlier answers, and are answered
in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
import secrets
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable
from typing import Final

from multirsh.files.access import Pipe, StartProgram, conversation
from multirsh.files.modes import ACL_LOST
from multirsh.sh_text import quoted

FUNCTIONS: Final = """
inode() { ls -di "$@" 2>/dev/null | { read -r number name; echo "$number"; }; }
hold() {
  [ -f "$1" ] && [ ! -L "$1" ] && [ -r "$1" ] || return 1
  exec 3<"$1"
  held=/proc/self/fd/3
  case $(inode -L "$held") in
    "") held=$1 ;;
    "$(inode -- "$1")") ;;
    *) return 1 ;;
  esac
}
has_acl() { case $(ls -lLd -- "$1" 2>/dev/null) in ??????????+*) return 0 ;; esac; return 1; }
keep_acl() (
  if has_acl "$1"; then is_kept() { has_acl "$1"; }
  elif has_acl "$2"; then is_kept() { ! has_acl "$1"; }
  else return 0
  fi
  hold "$2" || { echo lost; return; }
  cp --attributes-only --preserve=mode -- "$1" "$held" 2>/dev/null && is_kept "$held" && return 0
  getfacl -p -- "$1" 2>/dev/null | setfacl --set-file=- -- "$held" 2>/dev/null
  is_kept "$held" || echo lost
)
no_acls_in() { ls -lan -- "$1" 2>/dev/null | grep '^..........+' >/dev/null || [ ! -r "$1" ] || echo none; }
sum() {
  dd if="$1" bs=1048576 count="$2" 2>/dev/null | if command -v sha256sum >/dev/null; then sha256sum
  elif command -v shasum >/dev/null; then shasum -a 256
  elif command -v openssl >/dev/null; then openssl dgst -sha256 -r
  elif command -v sha256 >/dev/null; then sha256 -q
  fi
}
own_sum() { [ -f "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] && sum "$1" "$2"; }
set_time() { touch "$1" -d "@$2" -- "$3" 2>/dev/null || echo lost; }
times_of() { stat -L -c '%X %Y' -- "$1" 2>/dev/null || stat -L -f '%a %m' -- "$1" 2>/dev/null; }
try_to_write() { LC_ALL=C dd if=/dev/zero of="$1" bs=65536 count=1 2>&1; rm -f -- "$1"; }
tidy() (
  cd -- "$1" 2>/dev/null || return
  pattern=$2 IFS=
  for found in $pattern; do
    [ -f "$found" ] || return
    find . ! -name . -prune -name "$pattern" -mtime +0 -exec rm -f -- {} + 2>/dev/null
    return
  done
)
"""
"""POSIX text: functions for scripts on hosts.

``hold FILE``
    opens a file of ours, in a subshell, and sets ``held`` to a name by which the open file can be changed. If
    another user may write to its folder, the file's own name may become a link at any moment, to any file of
    root's; the open file stays the same. Without descriptors in ``/proc``, ``held`` is the file's own name.
``keep_acl OLD NEW``
    gives NEW the access control list of OLD, or removes the one that its folder gave it if OLD has none: by
    GNU cp(1), else by setfacl(1). It prints ``lost`` if neither can. A ``+`` in column eleven of ls(1) shows
    that there is a list. ``no_acls_in FOLDER`` prints ``none`` if no file in it has one.
``sum FILE COUNT``
    prints the SHA-256 of the first COUNT MiB of a file, or nothing; ``own_sum`` only of the user's own file.
``set_time -a|-m SECONDS FILE``
    sets a time that SFTP cannot carry, or prints ``lost``; ``times_of FILE`` prints both times.
``try_to_write FILE``
    prints why nothing can be written there, and leaves nothing behind.
``tidy FOLDER PATTERN``
    removes files with matching names that are older than a day."""

MEBIBYTE: Final = 1024 * 1024
"""Bytes; the unit of ``sum``."""

FIRST_ANSWER_S: Final = 30.0
"""Seconds until the first question is answered: a program in the shell's place may only read."""

LONGEST_ANSWER: Final = 64 * 1024
"""Bytes; a program that prints more is not our shell."""

FEW_FILES: Final = 8
"""If a folder gets more files than this, it is first asked whether any file in it has a list."""

UNSEEN: Final = "access control lists are lost, if there are any: only a shell beside SFTP could see them"


class HostShell:
    """Asks a shell on the host questions; it is the ``OutputReceiver`` of the answers."""

    def __init__(self) -> None:
        self._pipe: Pipe | None = None
        self._end = f"end-{secrets.token_hex(8)}".encode("ascii")
        self._buffer = bytearray()
        self._waiting: deque[asyncio.Future[list[str] | None]] = deque()
        self._has_ended = False
        self._begun: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        """Match the output to the questions."""
        self._buffer += data
        end = self._end + b"\n"
        while (place := self._buffer.find(end)) >= 0 and self._waiting:
            said = bytes(self._buffer[:place]).decode("utf-8", "replace")
            del self._buffer[: place + len(end)]
            answer = self._waiting.popleft()
            if not answer.done():
                answer.set_result(said.splitlines())
        if len(self._buffer) > LONGEST_ANSWER:
            self.ended()

    def ended(self) -> None:
        """Answer the remaining questions with ``None``."""
        self._has_ended = True
        self._buffer.clear()
        while self._waiting:
            answer = self._waiting.popleft()
            if not answer.done():
                answer.set_result(None)

    async def ask(self, question: str) -> list[str] | None:
        """Run POSIX text that may use ``FUNCTIONS``.

        Returns:
            The lines that it prints; ``None`` if there is no shell on the host.
        """
        if self._begun is None:
            self._begun = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(FIRST_ANSWER_S):
                    await self._put(FUNCTIONS)
            except TimeoutError:
                self.ended()
            finally:
                self._begun.set_result(None)
        await asyncio.shield(self._begun)
        return await self._put(question)

    async def _put(self, text: str) -> list[str] | None:
        if self._has_ended or self._pipe is None:
            return None
        answer: asyncio.Future[list[str] | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        raw = f"{text}\necho {self._end.decode()}\n".encode("utf-8", "surrogateescape")
        await self._pipe.send(raw)
        return await answer

    @contextlib.asynccontextmanager
    async def open(self, start: StartProgram | None) -> AsyncIterator[None]:
        """Make the shell available inside of the block.

        Args:
            start: Starts ``SHELL`` on the host; ``None`` if that is not possible.
        """
        if start is None:
            yield
            return
        async with conversation(start, self, lazily=True) as pipe:
            self._pipe = pipe
            yield


class AclKeeper:
    """Preserves access control lists of the files that a push overwrites."""

    def __init__(self, shell: HostShell) -> None:
        self._shell = shell
        self._crowds: Counter[bytes] = Counter()
        self._known: dict[bytes, asyncio.Future[bool]] = {}

    def expect(self, targets: Iterable[bytes]) -> None:
        """Count the files that will be pushed, by their paths on the host."""
        self._crowds.update(map(posixpath.dirname, targets))

    async def keep(self, target: bytes, temporary: bytes) -> str | None:
        """Give a file the access control list of the file that it will replace.

        Returns:
            What could not be preserved, in words.
        """
        folder = posixpath.dirname(target)
        if self._crowds[folder] > FEW_FILES and await self._has_none(folder):
            return None
        said = await self._shell.ask(f"keep_acl {quoted(target)} {quoted(temporary)}")
        if said is None:
            return UNSEEN
        return ACL_LOST if said else None

    async def _has_none(self, folder: bytes) -> bool:
        known = self._known.get(folder)
        if known is None:
            known = self._known[folder] = asyncio.get_running_loop().create_future()
            try:
                said = await self._shell.ask(f"no_acls_in {quoted(folder or b'.')}")
            except BaseException:
                known.cancel()
                raise
            known.set_result(said == ["none"])
        return await asyncio.shield(known)
