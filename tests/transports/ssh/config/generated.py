"""Look-ups in made-up ssh_configs, by us and by ``ssh -G``, and what may differ between the two.

A seed makes a look-up: a file, at times another that it includes, a host, and at times options. The words are
those that people write, with the corners of ssh's own reading of them: quotes, ``=``, comments, case, tokens,
patterns, blocks that do not apply. Some lines are spoilt by a character that does not belong there.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from multirsh.errors import UsageError
from multirsh.transports.ssh.config import Place, SshTarget, read_config, read_jump
from multirsh.transports.ssh.config.blocks import numeric_address
from tests.transports.ssh.config.judge import differences, judged

NAMES: Final = ("web1", "web2", "Web1", "db1", "a.example.com", "10.0.0.1", "x", "::1")
PATTERNS: Final = (
    "web1",
    "web*",
    "!web2",
    "*",
    "?b1",
    "!*.com",
    "*.example.com",
    "db1",
    "x",
    "*1*",
    "Web1",
    "10.*",
)
SELDOM: Final = 0.06
"""How often a value is wrong: a file with one such line is refused, and says nothing about the others."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """One host in one configuration.

    Attributes:
        text: The file.
        included: Another, which the first may include; ``@`` stands for the folder of both.
        host: The host.
        options: What ``-o`` says.
        user: What ``-l`` says.
        port: What ``-p`` says.
        jump: What ``-J`` says.
    """

    text: str
    included: str
    host: str
    options: tuple[str, ...] = ()
    user: str | None = None
    port: int | None = None
    jump: str | None = None

    def shown(self) -> str:
        """All of it, for a person who has to find out why it differs."""
        return "\n".join(f"{name}: {getattr(self, name)!r}" for name in self.__slots__ if getattr(self, name))


# ---------------------------------------------------------------- making them

Maker = Callable[[random.Random], str]


def _one_of(keywords: Sequence[str], values: Sequence[str], wrong: Sequence[str] = ()) -> Maker:
    def make(rng: random.Random) -> str:
        value = rng.choice(wrong if wrong and rng.random() < SELDOM else values)
        return _line(rng, rng.choice(keywords), value)

    return make


def _line(rng: random.Random, keyword: str, value: str) -> str:
    if rng.random() < 0.2:
        keyword = rng.choice([keyword.lower(), keyword.upper(), f'"{keyword}"'])
    between = " " if rng.random() < 0.8 else rng.choice(["=", " = ", "\t", "  ", " =", "= "])
    before = rng.choice(["", "", " ", "\t", "    "])
    after = "" if rng.random() < 0.9 else rng.choice([" ", "\r", " # c", "\t# c d", "\f", "\r", " "])
    if rng.random() < SELDOM / 4:
        after = rng.choice(["#c", ' "', "'"])
    return f"{before}{keyword}{between}{value}{after}"


def _patterns(rng: random.Random, joint: str) -> str:
    return joint.join(rng.choices(PATTERNS, k=rng.randint(1, 3)))


def _host(rng: random.Random) -> str:
    return _line(rng, "Host", _patterns(rng, " "))


def _match(rng: random.Random) -> str:
    criteria: list[str] = []
    for _ in range(rng.choice([1, 1, 1, 2, 2, 3])):
        criterion = rng.choice(
            ["host", "Host", "originalhost", "user", "localuser", "all", "final", "canonical", "exec"]
        )
        name = criterion if rng.random() < 0.8 else f"!{criterion}"
        if criterion in {"all", "final", "canonical"}:
            criteria.append(name)
            continue
        values = {
            "user": ["one", "two", "root", "o*,!one", "!one,*", '"a b"'],
            "localuser": ["root", "nobody,root", "!root,*"],
            "exec": [
                "true",
                "false",
                '"test %h = web1"',
                '"test %n = web1 -a %p = 22"',
                "%x",
                '"test %k = alias"',
                '"test %r = one"',
                '"test %u = root"',
                '"test %% = %%"',
            ],
        }.get(criterion) or [_patterns(rng, ","), f'"{_patterns(rng, ",")}"', f'"{_patterns(rng, ", ")}"']
        between = " " if rng.random() < 0.7 else rng.choice(["=", " = ", "= ", " =", "\t", "  "])
        criteria.append(f"{name}{between}{rng.choice(values)}")
    return _line(rng, "Match", rng.choice([" ", " ", "\t", "  "]).join(criteria))


_VALUES: Final = r"""
3 User: one | two | "a b" | %r | root | a\\b | 'q' !! x y | ""
3 Port: 22 | 2222 | 1 | 65535 | ssh | 022 | +22 !! 70000 | 0 | 22x | -1
4 HostName: %h.example.com | %h | db1 | Xy.net | 10.1 | ::1 | a%%b
4 HostName: %h%h | 1.2.3.4 | FE80::A | 0x7f.1 | 1 | real.net
1 HostName: %n | fe80::1%lo | a%
3 IdentityFile IdentityFile2: ~/.ssh/k | /k | none | '/a b' | "/a b"
3 IdentityFile IdentityFile2: /k/%h | /%% | ~/%n/%p/%r | /a\ b !! /%x | ""
2 CertificateFile: ~/.ssh/k | /k | none | '/a b' | /k/%h | /%% | ~/%n/%p/%r !! /a /b
4 UserKnownHostsFile: ~/.ssh/k | /a /b | none | '/a b' | /k/%h | /%%
4 UserKnownHostsFile: ~/%n/%p/%r | /%u-%L-%l | /%C | /%k | ${HOME}/x
1 UserKnownHostsFile: /%x | /a% | ${NO_SUCH_VARIABLE} | /%z/%h !! none /a | /a none | ""
2 GlobalKnownHostsFile: /a | /a /b | none | /%h | ~/g | ${HOME}/g !! none none
2 IdentityAgent: none | SSH_AUTH_SOCK | $HOME | ${HOME}/s | /a/%u | ~/s | $1 | NONE !! /%x | ${ | $a-b
2 RevokedHostKeys: /r | none !! /a b
3 ProxyJump: none | gate | u@gate:3 | a,b | ssh://u@gate:9/ | [::1]:22
3 ProxyJump: None | gate:ssh | u@v@w | gate # c | none,a
1 ProxyJump: ssh://a%41@b | u;x@gate | [gate] | a: !! a,,b | @a | a:b | ,
3 ProxyCommand: none | nc a b | none x | NONE | nc %h %p | = nc | "nc" x | nc # x !! nc %x
2 SendEnv: A | B* | -A | -* | A B | LC_* LANG | A A | -B* C !! A=b | ""
2 SetEnv: A=1 | B=2 C=3 | A="x y" | A=1 A=2 | A='x # y' | A= | A=b=c !! A
2 ConnectTimeout ServerAliveInterval: 1 | 1m | none | 1m1 | 1h30m
2 ConnectTimeout ServerAliveInterval: 0 | 1M | 1w | +5 !! m | -1 | 1x | 99999999999 | 1 2
2 ServerAliveCountMax: 1 | 0 | 7 | +3 | "1" !! x | -1 | 2147483648
2 RekeyLimit: 1G | default 5 | 16 none | 1K 1h | default none
2 RekeyLimit: 1g | 0 | 1.5G | default !! 15 | 2M 1x | 1G 1 2 | none
2 HostKeyAlias: Alias | b | alias | "A b" | A,b !! ""
3 Compression IdentitiesOnly HashKnownHosts TCPKeepAlive KeepAlive BatchMode: yes | no | YES
3 Compression IdentitiesOnly HashKnownHosts TCPKeepAlive KeepAlive BatchMode: "no" !! maybe | yes no
2 IdentitiesOnly HashKnownHosts TCPKeepAlive: True | FALSE
3 PasswordAuthentication KbdInteractiveAuthentication ChallengeResponseAuthentication: yes | no
3 PasswordAuthentication KbdInteractiveAuthentication ChallengeResponseAuthentication: True !! maybe
2 SkeyAuthentication PubkeyAuthentication DSAAuthentication: yes | no | FALSE !! 1
1 PubkeyAuthentication: unbound | host-bound
2 StrictHostKeyChecking: yes | no | ask | accept-new | OFF | true !! x
2 ForwardAgent: yes | no | /s | $HOME | true !! $a-b
2 AddressFamily: any | inet | INET6 !! x
1 BindAddress: 127.0.0.1 | ::1 !! x y
2 PreferredAuthentications: publickey | password,publickey | x
1 CanonicalizeHostname: no | yes | always !! maybe
1 CanonicalizeMaxDots: 0 | 1 !! x
2 IgnoreUnknown: Foo | f* | *
1 LogLevel: DEBUG | quiet !! loud
1 LocalForward: 1 localhost:2
1 ControlMaster VisualHostKey CheckHostIP: yes | no
1 Protocol Cipher UseRoaming RSAAuthentication: 1 | x y
"""
"""A line each: how often, the keywords, what they may hold, and after !! what ssh refuses for every host."""


def _makers() -> Iterator[tuple[int, Maker]]:
    for line in _VALUES.strip().splitlines():
        names, _, values = line.partition(": ")
        weight, *keywords = names.split()
        good, _, wrong = values.partition(" !! ")
        yield int(weight), _one_of(keywords, good.split(" | "), wrong.split(" | ") if wrong else ())
    yield 9, _host
    yield 9, _match
    yield 2, _one_of(["Include"], ["@/inner", "@/inner @/inner", "@/inne?", "/no_such", '"@/inner"', "@/*/x"])
    yield 3, lambda rng: rng.choice(["", "# comment", "  # c", "\t", '""', "=", "#"])
    yield (
        1,
        lambda rng: "" if rng.random() > SELDOM else rng.choice(["User", "Host", "Match", "Port =", "Foo x"]),
    )


_WEIGHTS, _MAKERS = zip(*_makers(), strict=True)
_JUNK: Final = "\"'=\\ #%,!*\t$~:"


def _text(rng: random.Random, most: int) -> str:
    lines = [maker(rng) for maker in rng.choices(_MAKERS, _WEIGHTS, k=rng.randint(0, most))]
    if lines and rng.random() < 0.1:
        place = rng.randrange(len(lines))
        at = rng.randint(0, len(lines[place]))
        lines[place] = lines[place][:at] + rng.choice(_JUNK) + lines[place][at + rng.choice([0, 0, 1]) :]
    return "\n".join(lines) + rng.choice(["\n", ""])


def make(seed: int) -> Lookup:
    """The look-up of a seed."""
    rng = random.Random(seed)
    options = []
    if rng.random() < 0.2:
        options = [
            option
            for option in _text(rng, 2).split("\n")
            if option.strip()
            and (rng.random() < SELDOM or not re.match(r"\W*(host|match|include)\b", option, re.IGNORECASE))
        ]
    return Lookup(
        text=_text(rng, 9),
        included=_text(rng, 4),
        host=rng.choice(NAMES),
        options=tuple(options),
        user=rng.choice(["one", "me"]) if rng.random() < 0.1 else None,
        port=rng.choice([22, 2222]) if rng.random() < 0.1 else None,
        jump=rng.choice(["gate", "u@gate:5", "none", "a,b"]) if rng.random() < 0.1 else None,
    )


# ---------------------------------------------------------------- both answers


def ours(lookup: Lookup, path: Path) -> SshTarget:
    """What we make of it.

    Raises:
        UsageError: We refuse it.
    """
    jump = None if lookup.jump is None else read_jump(lookup.jump, Place("-J"))
    config = read_config(file=str(path), options=lookup.options)
    return config.target(lookup.host, user=lookup.user, port=lookup.port, jump=jump)


@dataclass(frozen=True, slots=True)
class Difference:
    """Two answers that are not the same.

    Attributes:
        lookup: What was asked.
        error: Why we refuse it; ``None`` where we do not.
        is_refused_by_ssh: Whether ssh refuses it.
        values: Our value and ssh's, by keyword, where neither refuses.
        target: What we make of it, where we do not refuse it.
    """

    lookup: Lookup
    error: str | None
    is_refused_by_ssh: bool
    values: Mapping[str, tuple[object, object]]
    target: SshTarget | None = None

    def __str__(self) -> str:
        if self.is_refused_by_ssh:
            return f"only ssh refuses\n{self.lookup.shown()}"
        told = f"only we refuse: {self.error}" if self.error else f"values: {self.values}"
        return f"{told}\n{self.lookup.shown()}"


def difference(lookup: Lookup, folder: Path) -> Difference | None:
    """How our answer differs from that of ``ssh -G``; ``None`` where it does not.

    Args:
        lookup: What is looked up.
        folder: Where its files may be written.
    """
    path = folder / "config"
    for name, text in (("config", lookup.text), ("inner", lookup.included)):
        (folder / name).write_text(text.replace("@/", f"{folder}/"), newline="")
        (folder / name).chmod(0o600)
    arguments: list[str] = []
    for letter, value in (("-l", lookup.user), ("-p", lookup.port), ("-J", lookup.jump)):
        if value is not None:
            arguments += [letter, str(value)]
    theirs = judged(path, lookup.host, lookup.options, arguments)
    try:
        target = ours(lookup, path)
    except UsageError as error:
        return None if theirs is None else Difference(lookup, str(error), is_refused_by_ssh=False, values={})
    if theirs is None:
        return Difference(lookup, None, is_refused_by_ssh=True, values={}, target=target)
    values = differences(lookup.host, target, theirs)
    return Difference(lookup, None, is_refused_by_ssh=False, values=values) if values else None


# ---------------------------------------------------------------- what may differ


def _holds(difference: Difference, pattern: str) -> bool:
    """Whether a line of the look-up, its options included, has the pattern in it."""
    lookup = difference.lookup
    whole = "\n".join((lookup.text, lookup.included, *lookup.options))
    return re.search(pattern, whole, re.IGNORECASE | re.MULTILINE) is not None


def _error(difference: Difference, pattern: str) -> bool:
    return difference.error is not None and re.search(pattern, difference.error) is not None


_WITH_TOKENS: Final = frozenset({"certificatefile", "identityagent", "identityfile", "userknownhostsfile"})


def _is_one_address(mine: object, judges: object) -> bool:
    """Whether these are two ways to write one address, or what ssh takes for one by its colons."""
    written = [str(value).strip("[]'").lower() for value in (mine, judges)]
    found = {numeric_address(text) for text in written}
    return (found != {None} and len(found) == 1) or (written[0] == written[1] and ":" in written[0])


NAMED: Final[Mapping[str, Callable[[Difference], bool]]] = {
    "What names may hold": lambda found: _error(found, "cannot be '"),
    "A quote in a keyword": lambda found: _error(found, "a quote is not closed|is Keyword=value"),
    "Text after an amount": lambda found: _error(found, "rekeylimit is an amount"),
    "What `ssh -G` leaves to the connection": lambda found: (
        _error(found, "no meaning here|is not complete|has no value|there is no user")
        and _holds(found, "identityfile|certificatefile|proxycommand|revokedhostkeys|globalknownhostsfile")
    ),
    "`IgnoreUnknown` in a block that does not apply": lambda found: (
        found.is_refused_by_ssh and _holds(found, "ignoreunknown")
    ),
    "Arguments of keywords that are passed over": lambda found: (
        found.is_refused_by_ssh
        and _holds(found, r'^\s*"?(loglevel|localforward|controlmaster|visualhostkey|checkhostip)\b')
    ),
    "`Match exec` that is not reached": lambda found: (
        found.is_refused_by_ssh and _holds(found, "match.*exec")
    ),
    "Variables of agents": lambda found: (
        found.is_refused_by_ssh and _holds(found, r"(identity|forward)agent.*\$\{")
    ),
    "How an address is written": lambda found: (
        _is_one_address(*found.values.get("hostname", ("", "")))
        and found.values.keys() <= {"hostname", *_WITH_TOKENS}
    ),
    "A jump host that is the host": lambda found: (
        found.is_refused_by_ssh
        and found.target is not None
        and any(hop.host.lower() == found.target.hostname for hop in found.target.settings.proxy_jump)
    ),
    "`-J none`": lambda found: found.lookup.jump == "none" and found.values.keys() == {"proxycommand"},
    "A blank before the port of a jump host": lambda found: _error(found, "is not a jump host"),
    "A list that holds only a comment": lambda found: (
        _error(found, "needs an argument") and _holds(found, r"(file|env)\W*#")
    ),
    "A comment after `ProxyJump none`": lambda found: (
        found.values.keys() == {"proxycommand"} and _holds(found, "proxyjump.*none.*#")
    ),
    "`%C` behind a jump host": lambda found: bool(
        found.values.keys() <= _WITH_TOKENS and _holds(found, "%C")
    ),
}
"""Each difference that is meant, as docs/ssh-config.md calls it, and how it is known."""


def name_of(found: Difference) -> str | None:
    """Which of the differences that are meant this is; ``None`` where it is none of them.

    One look-up may have two of them: then an address that is only written in another way comes off first.
    """
    name = next((name for name, is_it in NAMED.items() if is_it(found)), None)
    if name is None and len(found.values) > 1 and _is_one_address(*found.values.get("hostname", ("", ""))):
        others = {keyword: both for keyword, both in found.values.items() if keyword != "hostname"}
        return name_of(replace(found, values=others))
    return name
