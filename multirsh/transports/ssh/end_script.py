r"""How a second channel ends what a command left running: what is asked for, sent, and answered.

The command that was run has no wrapper, so that it is the login shell's and
nobody else's. What it has started is found afterwards, by a script that the
remote's /bin/sh runs in another channel of the same connection. It is a text
beside this module, ``end_script.sh``; what passes in that channel is::

    we                                       the remote
    exec /bin/sh -c '...' ─────────────────▶ the login shell becomes /bin/sh
    ◀─────────────────────────────── KEY:ready\n
    the script ────────────────────────────▶ on standard input, of which a command of another's gets none
    ◀─────────────────────────────── KEY:asks 1%;      where sudo asks, and may
    the password ──────────────────────────▶ once, for each number
    ◀─────────────────────────────── KEY:left 0 away 0 blind 0\n

KEY is made anew each time. The line that is asked for says ``KEY:ready``
nowhere, so nobody who merely repeats it, such as a restricted shell in its
refusal, is taken for a shell; and what start-up files print is no answer.

That line is the same to sh, csh, fish and their kin: it has no quote within
the quotes, no backslash, no exclamation mark, no line feed. ``tests`` try it
in those shells.

Pure: no loop and no socket. The script's text is read once.
"""

from __future__ import annotations

import functools
import math
import re
import secrets
from dataclasses import dataclass
from importlib import resources
from typing import Final

from multirsh.model import Fate

_KEY_OPTIONS: Final = re.compile(r": key options:(.*)\Z")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the script found in the end.

    Attributes:
        left: Processes of the command that are there even after KILL.
        away: Processes that carry the connection's mark, but have left the command's sessions.
        is_blind: Whether the remote cannot tell who carries the mark.
    """

    left: int
    away: int
    is_blind: bool


def make_key() -> str:
    """A word that nobody prints by chance: 64 random bits, in hexadecimal."""
    return secrets.token_hex(8)


def bootstrap(key: str, *, kill_after: float, may_ask: bool = False) -> str:
    """The command to ask for: whatever the login shell is, it becomes one that reads the script.

    Args:
        key: As ``make_key`` made it.
        kill_after: Seconds from TERM to KILL.
        may_ask: Whether sudo may ask for a password.
    """
    grace = math.ceil(max(kill_after, 0.0) * 100)
    return f"exec /bin/sh -c 'k={key};echo $k:ready;exec /bin/sh -s $k {grace}{' asks' if may_ask else ''}'"


@functools.cache
def script() -> bytes:
    """The script, to be sent once the remote is ready."""
    return resources.files(__package__).joinpath("end_script.sh").read_bytes()


def is_ready(heard: bytes, key: str) -> bool:
    """Whether the remote has said that it reads the script.

    Args:
        heard: Its standard output so far.
        key: As given to ``bootstrap``.
    """
    return f"{key}:ready".encode() in heard


def read_answer(heard: bytes, key: str) -> Answer | None:
    """Find the answer in what came, if it is there.

    Args:
        heard: The remote's standard output so far.
        key: As given to ``bootstrap``.
    """
    found = re.search(rb"%b:left ([0-9]{1,9}) away ([0-9]{1,9}) blind ([01])\r?\n" % key.encode(), heard)
    if found is None:
        return None
    return Answer(left=int(found[1]), away=int(found[2]), is_blind=found[3] == b"1")


def prompts(heard: bytes, key: str) -> list[int]:
    """The prompts of sudo in what came: each call of sudo has a number, which a second prompt repeats.

    Args:
        heard: The remote's standard output so far.
        key: As given to ``bootstrap``.
    """
    return [int(number) for number in re.findall(rb"%b:asks ([0-9]{1,9})%%;" % key.encode(), heard)]


def judge(answer: Answer, *, channel_closed: bool) -> Fate:
    """What has become of the command.

    Args:
        answer: What the script found.
        channel_closed: Whether the remote has closed the command's channel: then nobody holds its output.
    """
    if answer.left or answer.away:
        return Fate.ALIVE
    return Fate.DEAD if channel_closed and not answer.is_blind else Fate.UNKNOWN


def forces_command(remark: str) -> bool | None:
    """Whether a server's remark says that it runs a command of its own, whatever it is asked for.

    OpenSSH (7.7 and later) tells at the login which options of authorized_keys hold for the key
    (``auth_log_authopts`` in auth.c), in SSH_MSG_DEBUG (RFC 4253, section 11.3).

    Args:
        remark: The text of one such message.

    Returns:
        ``None`` where it says nothing of it.
    """
    found = _KEY_OPTIONS.search(remark)
    return None if found is None else "command" in found[1].split()
