r"""What is not looked at when outputs are compared: ``--normalize host,ip,time,pid,/re/``.

Each rule puts a word such as ``<time>`` in the place of what it finds. Only the
comparison sees that; what is shown is what a host wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from multirsh.errors import UsageError

_CLOCK = rb"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s?[AaPp][Mm]\b)?"
_ZONE = rb"(?:\s?(?:Z|UTC|GMT|[A-Z]{3,4}|[+-]\d{2}:?\d{2})\b)?"
_DAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"

_TIME: Final = re.compile(
    rb"(?<![\w:.])(?:"
    rb"\d{4}-\d{2}-\d{2}(?:[T ]" + _CLOCK + _ZONE + rb")?"  # ISO 8601, RFC 3339
    rb"|(?:" + _DAY + rb",?\s+)?(?:\d{1,2}\s+" + _MONTH + rb"|" + _MONTH + rb"\s+\d{1,2})"
    rb"(?:\s+\d{4})?(?:,?\s+" + _CLOCK + _ZONE + rb")?(?:\s+\d{4}\b)?"  # date(1), syslog, RFC 5322
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
_PID: Final = re.compile(rb"(?<=\[)\d+(?=\])|(?i:(?<=\bpid[ =:#])\s*\d+|(?<=\bprocess )\d+)")

_FIXED: Final = {"ip": _IP, "time": _TIME, "pid": _PID}
HOST: Final = "host"


@dataclass(frozen=True, slots=True)
class Normalizer:
    """The rules of one run.

    Attributes:
        rules: What to look for, and the word in its place, in the order they are applied.
        host: Whether a host's own name is replaced, too: whole, and up to its first dot.
    """

    rules: tuple[tuple[re.Pattern[bytes], bytes], ...] = ()
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
        patterns: list[tuple[re.Pattern[bytes], bytes]] = []
        names: set[str] = set()
        for word in _split(text):
            if word.startswith("/"):
                patterns.append((_compiled(word), b"<*>"))
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
        return cls(tuple(patterns + named), host=HOST in names)

    def for_host(self, name: str) -> Callable[[bytes], bytes]:
        """What makes the lines of one host comparable: whole lines in, whole lines out."""
        rules = self.rules
        if self.host:
            own = _own_names(name)
            rules = ((own, b"<host>"), *rules)

        def normalized(lines: bytes) -> bytes:
            for pattern, word in rules:
                lines = pattern.sub(word, lines)
            return lines

        return normalized


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
        return re.compile(word[1:-1].replace(r"\/", "/").encode())
    except re.error as error:
        raise UsageError(f"{word}: {error}") from None
