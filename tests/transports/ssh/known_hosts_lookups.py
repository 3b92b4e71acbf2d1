"""Look-ups in generated known_hosts files, by multirsh and by ssh-keygen(1) -F."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import asyncssh

from multirsh.transports.ssh.known_hosts import KnownHosts, KnownKey
from multirsh.transports.ssh.known_hosts.trust import SALT_BYTES, file_name, hashed_name
from tests.servers.requirement import program

HOSTS: Final = (
    ("web1", None),
    ("web1", 2222),
    ("web2", None),
    ("a.example.com", None),
    ("10.0.0.1", 22),
    ("::1", None),
    ("::1", 2222),
)

_NAMES: Final = (
    "web1",
    "WEB1",
    "web1,web2",
    "web2,,web1",
    ",",
    "web1,",
    "*",
    "web?",
    "w*1,!web2",
    "!web1,*",
    "!!web1,web1",
    "web!",
    "*.example.com",
    "A.Example.Com",
    "10.0.0.*",
    "::1",
    "[::1]:2222",
    "[web1]:2222",
    "[web1]:22",
    "[WEB?]:*",
    "[web1]:2222,web1",
    "[web1]*,10.0.0.1",
    "\u212aeb1,web1",  # the Kelvin sign, whose lower case is an ASCII letter
    "w\u00c9b1",
    "web1\v",
    "web1\u00a0",
    f"web1,{'x' * 1022}",
    f"web1,{'x' * 1023}",
    f"web1,!{'x' * 1022}",
    f"*,!{'x' * 1023}",
    "#web1",
    "@web1",
    "|1|",
    "|2|AAAA|AAAA",
)
_MARKERS: Final = (
    *("" for _ in range(10)),
    *("@cert-authority", "@revoked") * 3,
    "@CERT-AUTHORITY",
    "@cert-authority,",
    "@other",
    "@",
    "@revoked @cert-authority",
    f"@{'x' * 40}",
)
_BLANKS: Final = (
    *(" " for _ in range(12)),
    "\t",
    "\t",
    "  ",
    " \t",
    "\t ",
    "\v",
    "\r",
    "\u00a0",
    "\u0085",
    "",
)
_LEADS: Final = (*("" for _ in range(12)), " ", "\t", " \t ", "\v", "\ufeff", "# ", "#")
_TAILS: Final = (*("" for _ in range(6)), " a comment", "\ta\tcomment", "\r", " ", "\t", " # x", "\v", " \r")


def _keys() -> tuple[tuple[str, str], ...]:
    kinds = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp521", "ssh-rsa")
    private = [asyncssh.generate_private_key(kind) for kind in kinds]
    authority = private[0]
    certificates = [
        authority.generate_host_certificate(key, "x", principals=["web1"]) for key in private[1:3]
    ]
    texts = [key.export_public_key() for key in private]
    texts += [certificate.export_certificate() for certificate in certificates]
    return tuple((kind, encoded) for kind, encoded, *_ in (text.decode().split() for text in texts))


KEYS: Final = _keys()
_KINDS: Final = (
    *(kind for kind, _ in KEYS),
    *("ED25519", "ed25519", "RSA", "rsa", "ecdsa", "rsa-sha2-256", "RSA-SHA2-256", "rsa-sha2-512"),
    *("ssh-foo", "1024", "x", "#", "ssh-ed25519-cert-v01@openssh.com", "ED25519-CERT"),
)


@dataclass(frozen=True, slots=True)
class Lookup:
    """A host, looked up in a file.

    Attributes:
        content: Of the file.
        name: The host's name, in lower case.
        port: Its port, or ``None``.
    """

    content: bytes
    name: str
    port: int | None


def generated(seed: int) -> Lookup:
    """Make a look-up, always the same of one seed but for its keys and salts."""
    chance = random.Random(seed)
    name, port = chance.choice(HOSTS)
    lines = [_line(chance, name, port) for _ in range(chance.randint(1, 6))]
    content = "".join(f"{line}{chance.choice(('', '', '', chr(13)))}\n" for line in lines)
    return Lookup(content.encode(), name, port)


def _line(chance: random.Random, name: str, port: int | None) -> str:
    kind, encoded = chance.choice(KEYS)
    if chance.random() < 0.25:
        kind = chance.choice(_KINDS)
    if chance.random() < 0.2:
        encoded = _spoilt(chance, encoded)
    marker = chance.choice(_MARKERS)
    return "".join(
        (
            chance.choice(_LEADS),
            marker,
            chance.choice(_BLANKS) if marker else "",
            _names(chance, name, port),
            chance.choice(_BLANKS),
            kind,
            chance.choice(_BLANKS),
            encoded,
            chance.choice(_TAILS),
        )
    )


def _names(chance: random.Random, name: str, port: int | None) -> str:
    written = file_name(name, port)
    match chance.randrange(8):
        case 0 | 1:
            return written
        case 2:
            return written.upper()
        case 3 | 4:
            hashed = hashed_name(written, chance.randbytes(SALT_BYTES))
            return hashed if chance.random() < 0.4 else _spoilt(chance, hashed)
        case _:
            return chance.choice(_NAMES)


def _spoilt(chance: random.Random, text: str) -> str:
    """Alter something that is in base64, or a hashed name, in a way that a lenient reader may not notice."""
    at = chance.randrange(len(text) + 1)
    match chance.randrange(9):
        case 0:
            return f"{text},junk"
        case 1:
            return f"{text[:at]}{chance.choice('!*,=|-_')}{text[at:]}"
        case 2:
            return text.rstrip("=")
        case 3:
            return f"{text}="
        case 4:
            return text[:at]
        case 5:
            return f"{text}|"
        case 6:
            return f"{text[:at]}{chance.choice((chr(11), chr(12), chr(13)))}{text[at:]}"
        case 7 if "=" in text:
            # The bits beyond the last byte: zero by the standard, and passed over by many.
            last = text.rindex("=") - len(text)
            body, padding = text[:last].rstrip("="), text[len(text[:last].rstrip("=")) :]
            return f"{body[:-1]}{chr(ord(body[-1]) + 1)}{padding}"
        case _:
            return text.swapcase()


Found: TypeAlias = frozenset[tuple[int, str]]
"""The lines found for a host, each with its marker in the words of ssh-keygen."""

_EACH: Final = 'while read -r name; do echo "= $name"; "$1" -l -F "$name" -f "$2/$((count += 1))"; done; true'
"""A shell's script for all look-ups: it starts programs faster than Python does."""


def found_by_us(lookup: Lookup, folder: Path) -> Found:
    """Look a host up with multirsh."""
    path = folder / "known_hosts"
    path.write_bytes(lookup.content)
    trust = KnownHosts.read([str(path)]).lookup(lookup.name, lookup.port)
    kinds: dict[str, tuple[KnownKey, ...]] = {
        "": trust.known or trust.known_elsewhere,
        "CA": trust.authorities,
        "REVOKED": trust.revoked,
    }
    return frozenset((known.line, marker) for marker, entries in kinds.items() for known in entries)


def found_by_ssh_keygen(lookups: Sequence[Lookup], folder: Path) -> list[Found]:
    """Look hosts up with ssh-keygen, each in its file: the lines that have a key for it.

    A host with a port is looked up by its bare name, too. The authorities and revoked keys of that hold in
    any case for us, and its keys where the host has none of its own.
    """
    asked = [(lookup.content, name) for lookup in lookups for name in (_own(lookup), lookup.name)]
    answers = _by_ssh_keygen(dict.fromkeys(asked), folder)
    return [
        _joined(answers[lookup.content, _own(lookup)], answers[lookup.content, lookup.name])
        for lookup in lookups
    ]


def differences(seeds: Iterable[int], folder: Path) -> list[str]:
    """Compare both for look-ups made of ``seeds``: what differs, in words."""
    lookups = [generated(seed) for seed in seeds]
    told: list[str] = []
    for lookup, theirs in zip(lookups, found_by_ssh_keygen(lookups, folder), strict=True):
        ours = found_by_us(lookup, folder)
        lines = lookup.content.split(b"\n")
        told += [
            f"{lookup.name} {lookup.port}: {'we' if (number, marker) in ours else 'ssh-keygen'} alone: "
            f"{marker} {lines[number - 1]!r}"
            for number, marker in sorted(ours ^ theirs)
        ]
    return told


def _own(lookup: Lookup) -> str:
    return file_name(lookup.name, lookup.port)


def _joined(own: Found, bare: Found) -> Found:
    has_known = any(not marker for _, marker in own)
    return own | {(line, marker) for line, marker in bare if marker or not has_known}


def _by_ssh_keygen(asked: Iterable[tuple[bytes, str]], folder: Path) -> dict[tuple[bytes, str], Found]:
    keygen = program("ssh-keygen", package="openssh-client")
    questions = list(asked)
    for number, (content, _) in enumerate(questions, 1):
        (folder / str(number)).write_bytes(content)
    names = "".join(f"{name}\n" for _, name in questions)
    # With -l, it reads the keys of the lines that it finds, as ssh does.
    output = subprocess.run(
        ["/bin/sh", "-c", _EACH, "sh", keygen, folder],
        check=True,
        input=names.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ).stdout
    _, *answers = re.split(rb"^= .*$", output, flags=re.MULTILINE)
    return {
        question: frozenset(
            (int(line), marker.decode())
            for line, marker in re.findall(rb"^# Host .* found: line (\d+) ?(\w*)$", answer, re.MULTILINE)
        )
        for question, answer in zip(questions, answers, strict=True)
    }
