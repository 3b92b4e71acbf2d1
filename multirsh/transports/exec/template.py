r"""The template of ``--exec``, the call of a program that reaches a host. Pure.

::

    kubectl exec -i %h -- sh -c %c
    ssh -n %u@%h %c
    nsenter --net=/run/netns/%n -- sh -c %c

The template is split into words once, by a shell's rules for quotes (shlex),
and no shell ever reads it. The command replaces ``%c`` within its word as it
is, so that blanks, quotes and ``$`` in it have no effect on the words.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from multirsh.errors import UsageError

WORDS: Final[Mapping[str, str]] = {
    "h": "the host's address",
    "n": "its name",
    "u": "the user",
    "p": "the port",
    "c": "the command",
    "%": "a percent sign",
}
"""The letters that may follow ``%``, with their meanings."""

WAY_OUT: Final = "such as --exec 'kubectl exec -i %h -- sh -c %c'"

_KNOWN: Final = ", ".join(f"%{letter} {meaning}" for letter, meaning in WORDS.items())
_ESCAPE: Final = re.compile(r"%(.?)", re.DOTALL)
_QUOTED_COMMAND: Final = re.compile(r"'%c'|\"%c\"")


@dataclass(frozen=True, slots=True)
class ExecTemplate:
    """A call of a program, with placeholders.

    Attributes:
        words: The program and its arguments.
    """

    words: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the value of ``--exec``.

        Raises:
            UsageError: It does not name a program, or does not pass it the command.
        """
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            raise UsageError(f"--exec {text!r}: {str(error).lower()}", hint="close the quote") from None
        if not words or not words[0]:
            raise UsageError("--exec names no program", hint=f"give one, {WAY_OUT}")
        used = {letter for word in words for letter in _ESCAPE.findall(word)}
        for letter in sorted(used - WORDS.keys()):
            raise UsageError(f"--exec: %{letter} stands for nothing", hint=f"there are {_KNOWN}")
        if "c" not in used:
            raise UsageError(
                "--exec has no %c, so the command would go nowhere",
                hint=f"put %c where the program takes it, {WAY_OUT}",
            )
        if "c" in _ESCAPE.findall(words[0]):
            raise UsageError(
                "--exec begins with the program, and that cannot be the command",
                hint="to run commands here there is -R local",
            )
        for word in words:
            if _QUOTED_COMMAND.search(word):
                raise UsageError(
                    f"--exec: in {word!r} a quote in the command would end those around %c",
                    hint="hand it to that shell as an argument: sh -c 'exec sh -c \"$1\"' sh %c",
                )
        return cls(words)

    def uses(self, letter: str) -> bool:
        """Return whether the template contains ``%letter``."""
        return any(letter in _ESCAPE.findall(word) for word in self.words)

    @property
    def program(self) -> str | None:
        """The program to start, if it is the same for all hosts."""
        fixed = all(letter == "%" for letter in _ESCAPE.findall(self.words[0]))
        return self.words[0].replace("%%", "%") if fixed else None

    def filled(self, values: Mapping[str, str]) -> tuple[bytes, ...]:
        """Return the program and its arguments for one host.

        Args:
            values: The value of each letter that is used; bytes that are not UTF-8 are surrogates (PEP 383).
        """
        return tuple(
            _ESCAPE.sub(lambda found: "%" if found[1] == "%" else values[found[1]], word).encode(
                "utf-8", "surrogateescape"
            )
            for word in self.words
        )
