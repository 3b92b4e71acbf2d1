r"""What is ignored when outputs are compared: ``--normalize host,ip,time,pid,/re/``.

Each rule replaces what it finds by a word such as ``<time>``. Only the comparison sees that; what is shown is
what the host wrote.

Lines come in blocks that end wherever the network cut them. So no rule may see more than one line, or equal
outputs would not be found equal.
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
        expressions: The expressions of the user, in order; each is applied to one line at a time.
        names: Our own rules, with the words that replace what they find; none of them matches a line feed.
        host: Whether a host's own name is replaced, too, both whole and up to its first dot.
    """

    expressions: tuple[re.Pattern[bytes], ...] = ()
    names: tuple[tuple[re.Pattern[bytes], bytes], ...] = ()
    host: bool = False

    @classmethod
    def parse(cls, text: str) -> Normalizer:
        r"""Read a list such as ``host,time,/load average: .*/``.

        Args:
            text: Names and regular expressions (Python's ``re``, on bytes), separated by commas; a slash in
                an expression is written as ``\\/``.

        Raises:
            UsageError: A name is not known, or an expression is not valid.
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
                    f"{word!r} is not a rule of --normalize",
                    hint=f"the rules are {', '.join((HOST, *_FIXED))}, and /regular expressions/",
                )
        # Expressions are meant for the text as it is. Times go before addresses, which look like times if
        # they have colons.
        named = [(_FIXED[name], f"<{name}>".encode()) for name in ("time", "ip", "pid") if name in names]
        return cls(tuple(expressions), tuple(named), host=HOST in names)

    def for_host(self, name: str) -> Callable[[bytes], bytes]:
        """Make the function that normalizes the output of one host: whole lines in, whole lines out."""
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
        """Apply the expressions to a line without its end, so that ``^`` and ``$`` match its own."""
        for expression in self.expressions:
            line = expression.sub(b"<*>", line)
        return line


def _own_names(name: str) -> re.Pattern[bytes]:
    """Match a host's name and its first label, as whole words."""
    names = [name]
    first = name.partition(".")[0]
    if first and not first.isdigit():  # the first number of an address is no name
        names.append(first)
    either = "|".join(re.escape(each) for each in names)
    return re.compile(rf"(?<![\w-])(?:{either})(?![\w-])".encode(), re.IGNORECASE)


def _split(text: str) -> list[str]:
    r"""Split at commas that are not within an expression."""
    words = [word.strip() for word in re.findall(r"\s*(/(?:\\.|[^/\\])*/|[^,]*)\s*(?:,|$)", text)]
    return [word for word in words if word]


def _compiled(word: str) -> re.Pattern[bytes]:
    if len(word) < 3 or not word.endswith("/"):  # noqa: PLR2004 - two slashes and something within
        raise UsageError(
            f"{word}: a regular expression is written between two slashes", hint="such as /load average: .*/"
        )
    try:
        with warnings.catch_warnings():  # about syntax that later versions may read differently
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(word[1:-1].replace(r"\/", "/").encode(errors="surrogateescape"))
    except (re.error, OverflowError, RecursionError) as error:  # a count, and brackets within brackets
        raise UsageError(f"{word}: {error}") from None
