r"""What is not looked at when outputs are compared: ``--normalize host,ip,time,pid,/re/``.

Each rule puts a word such as ``<time>`` in the place of what it finds. Only the
comparison sees that; what is shown is what a host wrote.

Lines come in blocks whose ends are chance: they are where the network cut. So
no rule may see more than one line, or equals would not be found equal.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from multirsh.errors import UsageError

# A blank is [ \t] and not \s: a line feed is one of those.
_CLOCK = rb"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:[ \t]?[AaPp][Mm]\b)?"
_ZONE = rb"(?:[ \t]?(?:Z|UTC|GMT|[A-Z]{3,4}|[+-]\d{2}:?\d{2})\b)?"
_DAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"

_TIME: Final = re.compile(
    rb"(?<![\w:.])(?:"
    rb"\d{4}-\d{2}-\d{2}(?:[T ]" + _CLOCK + _ZONE + rb")?"  # ISO 8601, RFC 3339
    rb"|(?:" + _DAY + rb",?[ \t]+)?(?:\d{1,2}[ \t]+" + _MONTH + rb"|" + _MONTH + rb"[ \t]+\d{1,2})"
    rb"(?:[ \t]+\d{4})?(?:,?[ \t]+" + _CLOCK + _ZONE + rb")?(?:[ \t]+\d{4}\b)?"  # date(1), syslog, RFC 5322
    rb"|" + _CLOCK + rb")(?![\w:])"
)
_IPV4 = rb"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w]|\.\d)"
_IPV6 = (
    rb"(?<![\w:.])(?:"
    rb"(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}"
    rb"|(?=[0-9A-Fa-f:]*::)(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::"
    rb"(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?"
    rb")(?:%\w+)?(?![\w:])"
)
_IP: Final = re.compile(_IPV4 + rb"|" + _IPV6)
_PID: Final = re.compile(rb"(?<=\[)\d+(?=\])|(?i:(?<=\bpid[ =:#])[ \t]*\d+|(?<=\bprocess )\d+)")

_FIXED: Final = {"ip": _IP, "time": _TIME, "pid": _PID}
HOST: Final = "host"


@dataclass(frozen=True, slots=True)
class Normalizer:
    """The rules of one run.

    Attributes:
        expressions: What the user wrote, in order: looked for in each line by itself.
        names: Our own rules, and the word in the place of what they find; none of them finds a line feed.
        host: Whether a host's own name is replaced, too: whole, and up to its first dot.
    """

    expressions: tuple[re.Pattern[bytes], ...] = ()
    names: tuple[tuple[re.Pattern[bytes], bytes], ...] = ()
    host: bool = False

    @classmethod
    def parse(cls, text: str) -> Normalizer:
        r"""Read a list such as ``host,time,/load average: .*/``.

        Args:
            text: Names and regular expressions (Python's ``re``, over bytes), with commas between; in an
                expression a slash is written as ``\\/``.

        Raises:
            UsageError: A name that is none, an expression that is none.
        """
        expressions: list[re.Pattern[bytes]] = []
        names: set[str] = set()
        for word in _split(text):
            if word.startswith("/"):
                expressions.append(_compiled(word))
            elif word in _FIXED or word == HOST:
                names.add(word)
            else:
                raise UsageError(
                    f"nothing is called {word!r} that could be ignored",
                    hint=f"there are {', '.join((HOST, *_FIXED))}, and /regular expressions/",
                )
        # Whoever writes an expression means the text as it is; times go before addresses, which
        # look like times where they have colons.
        named = [(_FIXED[name], f"<{name}>".encode()) for name in ("time", "ip", "pid") if name in names]
        return cls(tuple(expressions), tuple(named), host=HOST in names)

    def for_host(self, name: str) -> Callable[[bytes], bytes]:
        """What makes the lines of one host comparable: whole lines in, whole lines out."""
        own = _own_names(name) if self.host else None

        def normalized(lines: bytes) -> bytes:
            if own is not None:
                lines = own.sub(b"<host>", lines)
            if self.expressions and lines:
                lines = b"".join(self._of_one(line) + b"\n" for line in lines[:-1].split(b"\n"))
            for pattern, word in self.names:
                lines = pattern.sub(word, lines)
            return lines

        return normalized

    def _of_one(self, line: bytes) -> bytes:
        """A line without its end: ``^`` and ``$`` mean its own."""
        for expression in self.expressions:
            line = expression.sub(b"<*>", line)
        return line


def _own_names(name: str) -> re.Pattern[bytes]:
    """A host's name, and its first label, as words of their own."""
    names = [name]
    first = name.partition(".")[0]
    if first and not first.isdigit():  # the first byte of an address is no name
        names.append(first)
    either = "|".join(re.escape(each) for each in names)
    return re.compile(rf"(?<![\w-])(?:{either})(?![\w-])".encode(), re.IGNORECASE)


def _split(text: str) -> list[str]:
    r"""At commas that are not within an expression."""
    words = [word.strip() for word in re.findall(r"\s*(/(?:\\.|[^/\\])*/|[^,]*)\s*(?:,|$)", text)]
    return [word for word in words if word]


def _compiled(word: str) -> re.Pattern[bytes]:
    if len(word) < 3 or not word.endswith("/"):  # noqa: PLR2004 - two slashes and something within
        raise UsageError(
            f"{word}: an expression stands between two slashes", hint="such as /load average: .*/"
        )
    try:
        with warnings.catch_warnings():  # of what later versions may take for something else
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(word[1:-1].replace(r"\/", "/").encode(errors="surrogateescape"))
    except (re.error, OverflowError, RecursionError) as error:  # a count, and brackets within brackets
        raise UsageError(f"{word}: {error}") from None
