"""The commands that the conformance suite runs on hosts, and what they print."""

from __future__ import annotations

from typing import Final

MEBI: Final = 1024 * 1024

EXITS: Final = {f"exit {status}": status for status in (0, 1, 3, 127, 255)}
KILLED: Final = "kill -KILL $$"
KILL_NUMBER: Final = 9
EVERY_BYTE: Final = "printf '" + "".join(f"\\{byte:03o}" for byte in range(256)) + "'"
BOTH_STREAMS: Final = "printf out; printf err >&2"
MEGABYTE: Final = """awk 'BEGIN { for (i = 0; i < 131072; i++) printf "%07d\\n", i }'"""
MEGABYTE_OUTPUT: Final = b"".join(b"%07d\n" % number for number in range(131072))
MEGABYTE_ON_EACH: Final = f"{MEGABYTE} >&2 & {MEGABYTE}; wait"
ECHO: Final = "cat"
READS_FIVE: Final = "head -c 5; exit 4"
READS_NOTHING: Final = "exit 4"
FLOOD_BYTES: Final = 32 * MEBI
FLOOD: Final = f"head -c {FLOOD_BYTES} /dev/zero"
WAITING_BYTES: Final = 32 * 1024
ENDS_WHILE_HELD_BACK: Final = f"echo begun; sleep 0.2; head -c {WAITING_BYTES} /dev/zero"
BEGINS: Final = "echo begun; sleep 20"
FAMILY: Final = "sh -c 'sleep 97 & echo begun $! $$; wait'"
RESISTS: Final = "sh -c 'trap \"\" TERM; echo begun; sleep 97; sleep 97'"
LAST_WORDS: Final = "trap 'echo bye; exit' TERM; echo begun; while :; do sleep 0.1; done"

ODD: Final = {
    "printf %s 'a b' \"c'd\" e\\ f '\"$HOME`' \"$((6 * 7))\"": b"a bc'de f\"$HOME`42",
    "echo one\necho two": b"one\ntwo\n",
    "printf %s 'ü€😀'": "ü€😀".encode(),
    "  printf '%%s %s' x # it's nothing": b"%s x",
    "# nothing": b"",
    "printf %s '{}' \\{\\} '%c %h %%'": b"{}{}%c %h %%",
}
"""Commands that a careless transport would interpret itself, and what they print."""

NO_TEXT: Final = "printf %s '\udcff\udcfe'"
NO_TEXT_OUTPUT: Final = b"\xff\xfe"
LONG: Final = "printf %s "
