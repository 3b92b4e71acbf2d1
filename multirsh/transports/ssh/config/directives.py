"""A line of ssh_config, parsed to a keyword and a checked value. Pure.

``evaluation`` decides which lines apply to a host; here a line is only parsed.
An invalid line is an error that names its place, for every host, as it is in
ssh.

Source: ssh_config(5); the details (quoting, what ends a line, which argument
may be repeated) are from OpenSSH 9.2 readconf.c and misc.c.
"""

from __future__ import annotations

import difflib
import enum
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_plus

from multirsh.errors import UsageError
from multirsh.model import HostKeyPolicy
from multirsh.names import MAX_PORT, check_host, check_user, check_word
from multirsh.transports.ssh.patterns import PatternList

_BLANKS: Final = " \t\r\n"
_LARGEST: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a directive.

    Attributes:
        source: Path of the file, or ``-o``.
        line: Counts from 1; ``None`` for an option of the command line.
    """

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"

    def error(self, message: str, *, hint: str | None = None) -> UsageError:
        """Make an error that names this place."""
        return UsageError(f"{self}: {message}", hint=hint)


@dataclass(frozen=True, slots=True)
class Directive:
    """One line: a keyword and its arguments.

    Attributes:
        keyword: In lower case; an old name is replaced by the current one.
        words: The arguments, unquoted, without a trailing comment.
        rest: The arguments as text, for keywords whose argument is a command.
        place: The place of the line.
    """

    keyword: str
    words: tuple[str, ...]
    rest: str
    place: Place


class AddressFamily(enum.StrEnum):
    """The addresses of a name that are tried."""

    ANY = "any"
    INET = "inet"
    INET6 = "inet6"


@dataclass(frozen=True, slots=True)
class Hop:
    """One jump host.

    Attributes:
        user: Login name, or ``None`` for that of ssh_config or else the local user.
        host: Name or address, without brackets.
        port: 1-65535, or ``None`` for that of ssh_config or else 22.
    """

    user: str | None
    host: str
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            ("" if self.user is None else f"{self.user}@")
            + host
            + ("" if self.port is None else f":{self.port}")
        )


# ---------------------------------------------------------------- templates

PATH_TOKENS: Final = "%CLdhijklnpru"
"""The tokens of paths (ssh_config(5), TOKENS)."""
HOSTNAME_TOKENS: Final = "%h"
PROXY_TOKENS: Final = "%hknpr"
EXEC_TOKENS: Final = PATH_TOKENS
NAME_TOKENS: Final = frozenset("hjknr")
"""Tokens that stand for names of hosts and users, which may come from an untrusted source."""
STEADY_TOKENS: Final = frozenset("%Ldijlpru")
"""Tokens that have the same value for all hosts to which the same lines apply."""

_TOKEN: Final = re.compile(r"%(?P<token>.?)", re.DOTALL)
_TOKEN_OR_VARIABLE: Final = re.compile(r"%(?P<token>.?)|\$\{(?P<name>[^}]*)(?P<closed>\}?)", re.DOTALL)
"""Matches both at once, so that a variable's value is not expanded again."""


@dataclass(frozen=True, slots=True)
class Template:
    """A value with ``%`` tokens, and ``${VARIABLES}`` if ssh allows them.

    As in ssh, an undefined token is an error when the value is used, not when it is parsed: a block that
    does not apply to a host does not affect it.

    Attributes:
        text: The value as written.
        place: Where it was written, for error messages.
        tokens: The letters that may follow a ``%``.
        variables: Whether ``${NAME}`` is expanded.
    """

    text: str
    place: Place
    tokens: str
    variables: bool = True

    @property
    def varies(self) -> bool:
        """Whether the value can differ between hosts to which the same lines apply."""
        return any(found not in STEADY_TOKENS for found in _TOKEN.findall(self.text))

    def for_shell(self, tokens: Mapping[str, str]) -> str:
        """Expand tokens in a command that a shell will interpret.

        Raises:
            UsageError: As for ``expand``; or the shell would interpret a name as more than a word.
        """
        expanded = self.expand(tokens, {})
        for letter in sorted(NAME_TOKENS.intersection(_TOKEN.findall(self.text))):
            if tokens[letter]:  # %j is empty without a jump host
                check_word(tokens[letter], f"{self.place}: %{letter} in a command")
        return expanded

    def expand(self, tokens: Mapping[str, str], environ: Mapping[str, str]) -> str:
        """Expand tokens and variables.

        Raises:
            UsageError: A token is undefined here; a variable is incomplete or not set.
        """
        if "%" not in self.text and "$" not in self.text:
            return self.text

        def value(found: re.Match[str]) -> str:
            token = found["token"]
            if token is None:
                return self._variable(found, environ)
            if not token or token not in self.tokens:
                known = " ".join("%" + letter for letter in self.tokens)
                raise self.place.error(f"%{token} has no meaning here; the tokens are {known}")
            return tokens[token]

        return (_TOKEN_OR_VARIABLE if self.variables else _TOKEN).sub(value, self.text)

    def _variable(self, found: re.Match[str], environ: Mapping[str, str]) -> str:
        if not found["name"] or not found["closed"]:
            raise self.place.error("a ${VARIABLE} is not complete")
        value = environ.get(found["name"])
        if value is None:
            raise self.place.error(f"the environment variable {found['name']} has no value")
        return value


def literal(text: str, place: Place) -> Template:
    """Make a template in which ``%`` and ``$`` are literal."""
    return Template(text.replace("%", "%%"), place, "%", variables=False)


# ---------------------------------------------------------------- lines

_DELIMITER: Final = re.compile(r'"|=[ \t\r\n]*|[ \t\r\n]+(?:=[ \t\r\n]*)?')


def split_words(text: str) -> list[str]:
    """Split arguments as ssh does: with quotes of either kind and a few escapes; ``#`` ends the line.

    A backslash is literal except before a quote, a backslash or, outside quotes, a space.

    Raises:
        ValueError: A quote is not closed.

    Source: argv_split() of OpenSSH misc.c.
    """
    words: list[str] = []
    at, end = 0, len(text)
    while at < end:
        if text[at] in " \t":
            at += 1
            continue
        if text[at] == "#":
            break
        word: list[str] = []
        quote = ""
        while at < end and (quote or text[at] not in " \t"):
            char = text[at]
            following = text[at + 1 : at + 2]
            if char == "\\" and following and (following in "'\"\\" or (following == " " and not quote)):
                at += 1
                word.append(following)
            elif not quote and char in "'\"":
                quote = char
            elif char == quote:
                quote = ""
            else:
                word.append(char)
            at += 1
        if quote:
            raise ValueError(quote)
        words.append("".join(word))
    return words


def _delimited(text: str) -> tuple[str | None, str]:
    """Split off a word as ssh does for keywords and for ``Match``: at blanks, or at one ``=``.

    A double quote begins a stretch that ends, together with the word, at the next one. Single quotes and
    backslashes are literal.

    Returns:
        The word, or ``None`` if a quote is not closed; and the rest of the text.

    Source: strdelim() of OpenSSH 9.2 misc.c.
    """
    found = _DELIMITER.search(text)
    if found is None:
        return text, ""
    word, rest = text[: found.start()], text[found.end() :]
    if found[0] != '"':
        return word, rest
    inside, closed, rest = rest.partition('"')
    return (word + inside if closed else None), rest.lstrip(_BLANKS)


def split_criteria(text: str) -> Iterator[str]:
    """Split the arguments of ``Match`` as ssh does; an unclosed quote ends them.

    ssh 9.9 and later split them like all other arguments, and allow no blanks beside ``=``.
    """
    while text:
        word, text = _delimited(text)
        if word is None:
            return
        yield word


def read_line(line: str, place: Place) -> Directive | None:
    """Parse one line; return ``None`` for a blank line or a comment.

    Raises:
        UsageError: It has no argument, or a quote is not closed.
    """
    word, rest = _delimited(line.rstrip(_BLANKS + "\f"))
    if not word and word is not None:  # blanks before the keyword, or an "=" or "" that ssh skips
        word, rest = _delimited(rest)
    if word is None:
        raise place.error("a quote is not closed")  # ssh skips such a line
    if not word or word.startswith("#"):
        return None
    keyword = word.lower()
    rest = rest.lstrip(_BLANKS)
    if not rest:
        raise place.error(f"{keyword} needs an argument")
    try:
        words = split_words(rest)
    except ValueError:
        raise place.error("a quote is not closed") from None
    return Directive(ALIASES.get(keyword, keyword), tuple(words), rest, place)


def read_lines(text: str, source: str) -> Iterator[Directive]:
    """Parse a file's text, line by line.

    Raises:
        UsageError: As for ``read_line``.
    """
    for number, line in enumerate(text.split("\n"), 1):
        directive = read_line(line, Place(source, number))
        if directive is not None:
            yield directive


# ---------------------------------------------------------------- values

Reader = Callable[[Directive], Any]
"""Returns the value of a directive; ``None`` leaves it unset, and a later line may set it."""


def _one(directive: Directive) -> str:
    if not directive.words or not directive.words[0]:
        raise directive.place.error(f"{directive.keyword} needs an argument")
    if len(directive.words) > 1:
        raise directive.place.error(f"{directive.keyword} takes one argument, not {len(directive.words)}")
    return directive.words[0]


def _some(directive: Directive) -> tuple[str, ...]:
    if "" in directive.words:
        raise directive.place.error(f"{directive.keyword} has an empty argument")
    return directive.words


def _choice(choices: Mapping[str, Any]) -> Reader:
    def read(directive: Directive) -> Any:
        word = _one(directive).lower()
        if word not in choices:
            raise directive.place.error(f"{directive.keyword} is one of {', '.join(choices)}, not {word!r}")
        return choices[word]

    return read


_YES_NO: Final[Mapping[str, bool]] = {"yes": True, "no": False, "true": True, "false": False}


_WHOLE: Final = re.compile(r"\s*\+?0*[0-9]{1,10}", re.ASCII)
"""Numbers that strtonum() of OpenSSH accepts, below 10,000,000,000."""


def _count(directive: Directive) -> int:
    word = _one(directive)
    if not _WHOLE.fullmatch(word) or int(word) > _LARGEST:
        raise directive.place.error(f"{directive.keyword} is a whole number, not {word!r}")
    return int(word)


_TIME: Final = re.compile(r"\s*\+?([0-9]{1,10})([smhdw]?)", re.IGNORECASE | re.ASCII)
_SECONDS: Final[Mapping[str, int]] = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def _seconds(word: str, directive: Directive) -> int | None:
    """Parse a time such as ``1m30s`` to seconds; ``none`` is ``None`` (sshd_config(5), TIME FORMATS)."""
    if word == "none":
        return None
    total = 0
    position = 0
    while (found := _TIME.match(word, position)) is not None:
        total += int(found[1]) * _SECONDS[found[2].lower()]
        position = found.end()
    if not word or position != len(word) or total > _LARGEST:
        raise directive.place.error(f"{directive.keyword} is a time such as 90 or 1m30s, not {word!r}")
    return total


def _time(directive: Directive) -> int | None:
    return _seconds(_one(directive), directive)


def read_port(word: str) -> int | None:
    """Parse a port, a number from 1 to 65535 or a service's name; return ``None`` if it is neither."""
    if _WHOLE.fullmatch(word):
        return int(word) if 0 < int(word) <= MAX_PORT else None
    try:
        return socket.getservbyname(word, "tcp")
    except (OSError, UnicodeError, ValueError):
        return None


def _port(directive: Directive) -> int:
    port = read_port(word := _one(directive))
    if port is None:
        raise directive.place.error(f"{word!r} is not a port (1-65535)")
    return port


def _template(tokens: str, *, variables: bool) -> Reader:
    def read(directive: Directive) -> Template:
        return Template(_one(directive), directive.place, tokens, variables)

    return read


def _known_hosts_files(directive: Directive) -> tuple[Template, ...]:
    words = _some(directive)
    if len(words) > 1 and any(word.lower() == "none" for word in words):
        raise directive.place.error(f"{directive.keyword} none stands alone")
    if words and words[0].lower() == "none":
        return ()
    if directive.keyword != "userknownhostsfile":  # the system's files are paths without tokens
        return tuple(literal(word, directive.place) for word in words)
    return tuple(Template(word, directive.place, PATH_TOKENS) for word in words)


_SIZE: Final = re.compile(r"\s*\+?([0-9]{1,18})(?:\.([0-9]{0,9}))?([bkmgtpe]?)", re.IGNORECASE | re.ASCII)
_BYTES: Final = " BKMGTPE"
"""Unit suffixes, each 1024 times the one before it (scan_scaled(3))."""
_SMALLEST_REKEY: Final = 16


def _rekey_bytes(directive: Directive) -> int:
    words = directive.words
    if not 1 <= len(words) <= 2:  # noqa: PLR2004 - an amount and an optional time
        raise directive.place.error("rekeylimit is an amount and, if wanted, a time")
    if words[0] == "default":
        return 0
    found = _SIZE.fullmatch(words[0])
    if found is None:
        raise directive.place.error(f"rekeylimit is an amount such as 1G, not {words[0]!r}")
    unit = 1 << 10 * max(0, _BYTES.index(found[3].upper() or " ") - 1)
    fraction = int((found[2] or "").ljust(9, "0")) if found[3] else 0
    amount = int(found[1]) * unit + fraction * unit // 10**9
    if amount >= 2**63:
        raise directive.place.error("rekeylimit is too large")
    if amount and amount < _SMALLEST_REKEY:
        raise directive.place.error("rekeylimit is too small")
    return amount


def _rekey_seconds(directive: Directive) -> int | None:
    return None if len(directive.words) < 2 else _seconds(directive.words[1], directive)  # noqa: PLR2004 - see above


def _send_env(directive: Directive) -> tuple[str, ...]:
    words = _some(directive)
    if any("=" in word for word in words):
        raise directive.place.error("sendenv takes names, without =")
    return words


def _set_env(directive: Directive) -> tuple[tuple[str, str], ...]:
    pairs: dict[str, str] = {}
    for word in directive.words:
        name, equals, value = word.partition("=")
        if not equals:
            raise directive.place.error("setenv takes NAME=VALUE")
        pairs.setdefault(name, value)
    return tuple(pairs.items())


_ENV_NAME: Final = re.compile(r"\$[A-Za-z0-9_]+")


def _agent(directive: Directive) -> Template:
    word = _one(directive)
    if word.startswith("$") and not word.startswith("${") and not _ENV_NAME.fullmatch(word):
        raise directive.place.error(f"{word!r} is not the name of an environment variable")
    return Template(word, directive.place, PATH_TOKENS)


def _forward_agent(directive: Directive) -> bool:
    """Parse ``ForwardAgent``: yes, no, or a socket, which means yes."""
    return _YES_NO.get(_one(directive).lower(), True)


def _forwarded_agent(directive: Directive) -> Template | None:
    """Return the socket that ``ForwardAgent`` names, if it names one."""
    return None if _one(directive).lower() in _YES_NO else _agent(directive)


def _names(directive: Directive) -> tuple[str, ...]:
    return tuple(_one(directive).split(","))


# ---------------------------------------------------------------- jump hosts


_DOMAIN: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]|\.(?!\.))*")
"""The valid host names in a URI (valid_domain() of OpenSSH misc.c)."""
_URL_ENCODED: Final = re.compile(r"(?:[^%]|%(?!00)[0-9A-Fa-f]{2})*")
"""The valid user names in a URI (urldecode() of OpenSSH misc.c)."""


def read_hop(text: str) -> Hop | None:
    """Parse ``[user@]host[:port]`` or ``ssh://[user@]host[:port]``; return ``None`` if it is neither.

    Whether user and host are valid names is checked when the hop is used (``Jump.checked``).
    """
    scheme = "ssh://"
    is_uri = text.startswith(scheme)
    if is_uri:
        login, at, address = text[len(scheme) :].removesuffix("/").partition("@")
        if not at:
            login, address = "", login
        encoded = login.partition(";")[0]
        if not _URL_ENCODED.fullmatch(encoded):
            return None
        user = unquote_plus(encoded)
    else:
        user, at, address = text.rpartition("@")
    if at and not user:
        return None
    if address.startswith("["):
        host, bracket, after = address[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            return None
        port_text = after[1:]
    else:
        host, _, port_text = address.partition(":")
        if ":" in port_text:
            return None
    if not host or (is_uri and not _DOMAIN.fullmatch(host)):
        return None
    port = None if not port_text or port_text[0] in _BLANKS else read_port(port_text)
    if port_text and port is None:
        return None
    return Hop(user or None, host, port)


def read_jump(text: str, place: Place) -> tuple[Hop, ...]:
    """Parse a list of jump hosts in the order of connection; ``none`` means no jump.

    Args:
        text: The list, as in ``ProxyJump`` and ``-J``: ``[user@]host[:port][,...]``.
        place: Where it was written.

    Raises:
        UsageError: One of them is not a valid host.
    """
    if text.lower() == "none":
        return ()
    hops: list[Hop] = []
    for part in text.split(","):
        hop = read_hop(part)
        if hop is None:
            raise place.error(f"{part!r} is not a jump host", hint="a jump host is [user@]host[:port]")
        hops.append(hop)
    return tuple(hops)


@dataclass(frozen=True, slots=True)
class LoginName:
    """``User``, as written.

    Attributes:
        name: The user's name.
        place: Where it was written.
    """

    name: str
    place: Place

    def checked(self) -> str:
        """Return the user's name.

        Raises:
            UsageError: It is not a valid name (``multirsh.names``).
        """
        return check_user(self.name, f"{self.place}: the user")


@dataclass(frozen=True, slots=True)
class Jump:
    """``ProxyJump``: the hosts to go through; empty for a direct connection.

    Attributes:
        hops: The jump hosts, in the order of connection.
        place: Where it was written.
    """

    hops: tuple[Hop, ...]
    place: Place

    def checked(self) -> tuple[Hop, ...]:
        """Return the jump hosts.

        Raises:
            UsageError: A host or user name is invalid (``multirsh.names``).
        """
        for hop in self.hops:
            check_host(hop.host, f"{self.place}: a jump host")
            if hop.user is not None:
                check_user(hop.user, f"{self.place}: the user of a jump host")
        return self.hops


@dataclass(frozen=True, slots=True)
class ProxyCommand:
    """``ProxyCommand``: the command to connect through; ``None`` for a direct connection."""

    template: Template | None


def _jump(directive: Directive) -> Jump:
    text = directive.rest.partition("#")[0].strip(_BLANKS).lstrip(_BLANKS + "=")
    hops = read_jump(text, directive.place)
    return Jump(hops, directive.place)


def _login(directive: Directive) -> LoginName:
    return LoginName(_one(directive), directive.place)


def _command(directive: Directive) -> ProxyCommand:
    text = directive.rest.lstrip(_BLANKS + "=")
    if not text:
        raise directive.place.error(f"{directive.keyword} needs an argument")
    if text.lower() == "none":
        return ProxyCommand(None)
    return ProxyCommand(Template(text, directive.place, PROXY_TOKENS, variables=False))


# ---------------------------------------------------------------- keywords

_STRICTNESS: Final[Mapping[str, HostKeyPolicy]] = {
    "yes": HostKeyPolicy.STRICT,
    "ask": HostKeyPolicy.STRICT,  # a prompt for each of a thousand hosts is not feasible
    "accept-new": HostKeyPolicy.ACCEPT_NEW,
    "no": HostKeyPolicy.OFF,
    "off": HostKeyPolicy.OFF,
    "true": HostKeyPolicy.STRICT,
    "false": HostKeyPolicy.OFF,
}

READERS: Final[Mapping[str, tuple[tuple[str, Reader], ...]]] = {
    "addressfamily": (("addressfamily", _choice({family.value: family for family in AddressFamily})),),
    "batchmode": (("batchmode", _choice(_YES_NO)),),
    "bindaddress": (("bindaddress", _one),),
    "canonicaldomains": (("canonicaldomains", _some),),
    "canonicalizehostname": (("canonicalizehostname", _choice({**_YES_NO, "always": True})),),
    "canonicalizemaxdots": (("canonicalizemaxdots", _count),),
    "certificatefile": (("certificatefile", _template(PATH_TOKENS, variables=True)),),
    "ciphers": (("ciphers", _one),),
    "compression": (("compression", _choice({"yes": True, "no": False})),),
    "connecttimeout": (("connecttimeout", _time),),
    # Two values, as in ssh: the socket is evaluated even if an earlier line says no.
    "forwardagent": (("forwardagent", _forward_agent), ("forwardedagent", _forwarded_agent)),
    "globalknownhostsfile": (("globalknownhostsfile", _known_hosts_files),),
    "hashknownhosts": (("hashknownhosts", _choice(_YES_NO)),),
    "hostkeyalgorithms": (("hostkeyalgorithms", _one),),
    "hostkeyalias": (("hostkeyalias", _one),),
    "hostname": (("hostname", _template(HOSTNAME_TOKENS, variables=False)),),
    "identitiesonly": (("identitiesonly", _choice(_YES_NO)),),
    "identityagent": (("identityagent", _agent),),
    "identityfile": (("identityfile", _template(PATH_TOKENS, variables=True)),),
    "kbdinteractiveauthentication": (("kbdinteractiveauthentication", _choice(_YES_NO)),),
    "kexalgorithms": (("kexalgorithms", _one),),
    "macs": (("macs", _one),),
    "passwordauthentication": (("passwordauthentication", _choice(_YES_NO)),),
    "port": (("port", _port),),
    "preferredauthentications": (("preferredauthentications", _names),),
    "proxycommand": (("proxycommand", _command),),
    "proxyjump": (("proxyjump", _jump),),
    "pubkeyacceptedalgorithms": (("pubkeyacceptedalgorithms", _one),),
    "pubkeyauthentication": (
        ("pubkeyauthentication", _choice({**_YES_NO, "unbound": True, "host-bound": True})),
    ),
    # The amount and the time are two values: a later line may still set the time.
    "rekeylimit": (("rekeybytes", _rekey_bytes), ("rekeyseconds", _rekey_seconds)),
    "revokedhostkeys": (("revokedhostkeys", _template(PATH_TOKENS, variables=True)),),
    "sendenv": (("sendenv", _send_env),),
    "serveralivecountmax": (("serveralivecountmax", _count),),
    "serveraliveinterval": (("serveraliveinterval", _time),),
    "setenv": (("setenv", _set_env),),
    "stricthostkeychecking": (("stricthostkeychecking", _choice(_STRICTNESS)),),
    "tag": (("tag", _one),),
    "tcpkeepalive": (("tcpkeepalive", _choice(_YES_NO)),),
    "user": (("user", _login),),
    "userknownhostsfile": (("userknownhostsfile", _known_hosts_files),),
}
"""Supported keywords: the values that each sets, by name, and how they are parsed."""

ALIASES: Final[Mapping[str, str]] = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
    "hostbasedkeytypes": "hostbasedacceptedalgorithms",
    "identityfile2": "identityfile",
    "keepalive": "tcpkeepalive",
    "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
    "skeyauthentication": "kbdinteractiveauthentication",
    "tisauthentication": "kbdinteractiveauthentication",
}
"""Old names of keywords."""

STRUCTURE: Final = frozenset({"host", "match", "include", "ignoreunknown"})

PASSED_OVER: Final = frozenset(
    """
    addkeystoagent afstokenpassing canonicalizefallbacklocal canonicalizepermittedcnames channeltimeout
    checkhostip cipher clearallforwardings compressionlevel connectionattempts controlmaster controlpath
    controlpersist dynamicforward enableescapecommandline enablesshkeysign escapechar exitonforwardfailure
    fallbacktorsh fingerprinthash forkafterauthentication forwardx11 forwardx11timeout forwardx11trusted
    gatewayports globalknownhostsfile2 gssapiauthentication gssapiclientidentity gssapidelegatecredentials
    gssapikexalgorithms gssapikeyexchange gssapirenewalforcesrekey gssapiserveridentity gssapitrustdns
    hostbasedacceptedalgorithms hostbasedauthentication ipqos kbdinteractivedevices kerberosauthentication
    kerberostgtpassing localcommand localforward loglevel logverbose nohostauthenticationforlocalhost
    numberofpasswordprompts obscurekeystroketiming permitlocalcommand permitremoteopen protocol
    proxyusefdpass refuseconnection remotecommand remoteforward requesttty requiredrsasize
    rhostsauthentication rhostsrsaauthentication rsaauthentication securitykeyprovider sessiontype
    smartcarddevice stdinnull streamlocalbindmask streamlocalbindunlink syslogfacility tunnel tunneldevice
    updatehostkeys usekeychain useprivilegedport userknownhostsfile2 useroaming usersh verifyhostkeydns
    versionaddendum visualhostkey warnweakcrypto xauthlocation
    """.split()  # noqa: SIM905 - a hundred quoted words would be harder to read
)
"""Keywords of ssh that do not affect running a command on many hosts; their arguments are not checked."""

MISSED: Final = frozenset({"bindinterface", "casignaturealgorithms", "knownhostscommand", "pkcs11provider"})
"""Keywords that would matter but are not supported: ignored with a warning."""

KNOWN: Final = frozenset(READERS) | frozenset(ALIASES) | STRUCTURE | PASSED_OVER | MISSED


def values_of(directive: Directive) -> tuple[tuple[str, Any], ...]:
    """Parse the values that a supported directive sets, by name.

    Raises:
        UsageError: An argument is missing, invalid or superfluous.
    """
    if (
        not directive.words and directive.keyword != "proxycommand"
    ):  # which is passed to a shell, including "#"
        raise directive.place.error(f"{directive.keyword} needs an argument")
    return tuple(
        (name, value) for name, read in READERS[directive.keyword] if (value := read(directive)) is not None
    )


def ignored_keywords(directive: Directive) -> list[str]:
    """Parse the patterns of an ``IgnoreUnknown`` line."""
    return [word.lower() for words in directive.words for word in words.split(",")]


def check_keyword(directive: Directive, ignored: PatternList | None) -> bool:
    """Whether the directive is to be parsed, and not ignored.

    Args:
        directive: The directive.
        ignored: The patterns of ``IgnoreUnknown`` so far.

    Raises:
        UsageError: ssh has no such keyword, and ``ignored`` does not match it.
    """
    if directive.keyword in KNOWN:
        return directive.keyword not in PASSED_OVER and directive.keyword not in MISSED
    if ignored is not None and ignored.matches(directive.keyword):
        return False
    near = difflib.get_close_matches(directive.keyword, KNOWN, n=1)
    raise directive.place.error(
        f"bad configuration option: {directive.keyword}",
        hint=f"did you mean {near[0]}?"
        if near
        else "IgnoreUnknown passes over keywords that ssh does not have",
    )
