"""What ssh_config says of a host.

The files are read and parsed once (``config_files``); here the parsed lines
are asked about one host after another. Hosts for which the same blocks apply
share one ``SshSettings`` object, so that a fleet of 100,000 costs a few
pattern matches a host, and options prepared from a ``SshSettings`` can be
kept by it.

Pure, but for ``Match exec``, whose commands are run by the callable that
``SshConfig`` was given, once for each distinct command.

Differences from ssh, all on purpose:

- ``StrictHostKeyChecking ask`` is strict: nobody can be asked about each host.
- ``CanonicalizeHostname`` does not look names up. Where it would, that is an error.
- ``Match localnetwork``, ``version``, ``command`` and ``sessiontype`` are errors.
- ``IgnoreUnknown`` holds for the lines after it, in whichever block it stands.
- ``ForwardAgent`` is reported and never acted on.

Source: ssh_config(5); the order of things from OpenSSH 9.2 ssh.c and readconf.c.
"""

from __future__ import annotations

import enum
import hashlib
import ipaddress
import pwd
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from multirsh.errors import UsageError
from multirsh.model import HostKeyPolicy
from multirsh.transports.ssh.directives import (
    EXEC_TOKENS,
    MISSED,
    AddressFamily,
    Command,
    Directive,
    Hop,
    Jump,
    Place,
    Template,
    check_keyword,
    ignored_keywords,
    read_jump,
    template,
    values_of,
)
from multirsh.transports.ssh.patterns import PatternList

__all__ = [
    "AddressFamily",
    "Criterion",
    "Hop",
    "Identity",
    "IdentitySource",
    "Local",
    "SshConfig",
    "SshSettings",
    "SshTarget",
    "parse_blocks",
    "read_jump",
]

DEFAULT_PORT: Final = 22
DEFAULT_IDENTITIES: Final = (
    "~/.ssh/id_rsa",
    "~/.ssh/id_ecdsa",
    "~/.ssh/id_ecdsa_sk",
    "~/.ssh/id_ed25519",
    "~/.ssh/id_ed25519_sk",
    "~/.ssh/id_xmss",
    "~/.ssh/id_dsa",
)
DEFAULT_USER_KNOWN_HOSTS: Final = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
DEFAULT_GLOBAL_KNOWN_HOSTS: Final = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
_SHA1_FOR_SSH: Final = "sha1"


class IdentitySource(enum.Enum):
    """Who named a private key: what a missing or locked one means depends on it."""

    OPTION = "option"
    """``-i`` or the hosts file: it must be there."""
    CONFIG = "config"
    """ssh_config: passed over if it is missing, as ssh does."""
    DEFAULT = "default"
    """Nobody: one of the usual files."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key to offer.

    Attributes:
        path: File, absolute or relative to the working directory; ``~`` and tokens are expanded.
        source: Who named it.
    """

    path: str
    source: IdentitySource


@dataclass(frozen=True, slots=True)
class SshSettings:
    """What ssh_config says of a host, but for its name; defaults are filled in.

    Equal settings are one object within an ``SshConfig``: compare with ``is``, key a dict by it.

    Attributes:
        user: Login name on the remote.
        port: TCP port, 1-65535.
        identity_files: Private keys, in the order to offer them.
        certificate_files: Certificates named by ``CertificateFile``.
        identities_only: Offer only ``identity_files`` and ``certificate_files``, whatever the agent holds.
        identity_agent: Path of the agent's socket; ``None`` for no agent.
        host_key_alias: Name to look the host key up by instead of the host's, without port; in lower case.
        user_known_hosts_files: Paths; new keys go to the first.
        global_known_hosts_files: Paths.
        strict_host_key_checking: What is done with unknown host keys.
        hash_known_hosts: Whether names are hashed when they are added to known_hosts.
        revoked_host_keys: Path of a file of keys never to trust, or ``None``.
        proxy_jump: Hosts to go through, the first to connect to standing first; empty for none.
        proxy_command: Shell command whose standard input and output are the connection, or ``None``.
        bind_address: Local address to connect from, or ``None``.
        address_family: Which addresses of the host's name may be used.
        connect_timeout: In seconds; ``None`` if not said, 0 for the system's.
        server_alive_interval: In seconds between keepalive messages; 0 for none, ``None`` if not said.
        server_alive_count_max: Messages without an answer before the connection counts as lost.
        compression: Whether compression is wanted.
        ciphers: Names with commas, with ssh's ``+`` ``-`` ``^`` in front; ``None`` for the defaults.
        macs: Likewise.
        kex_algorithms: Likewise.
        host_key_algorithms: Likewise.
        pubkey_accepted_algorithms: Likewise.
        ca_signature_algorithms: Likewise.
        preferred_authentications: Methods in order; ``None`` for the defaults.
        pubkey_authentication: Whether keys may be offered.
        password_authentication: Whether a password may be.
        kbdinteractive_authentication: Whether prompts of the server may be answered.
        batch_mode: Nothing may be asked at the terminal.
        send_env: Names, with ``*`` and ``?``, of environment variables to send.
        set_env: Variables to set on the remote.
        rekey_bytes: New keys after so many bytes; 0 for the cipher's default.
        rekey_seconds: New keys after so many seconds; 0 for never.
        tcp_keepalive: Whether TCP probes an idle connection.
        forward_agent_asked: ssh_config asks for agent forwarding. Never acted on.
    """

    user: str
    port: int
    identity_files: tuple[Identity, ...]
    certificate_files: tuple[str, ...]
    identities_only: bool
    identity_agent: str | None
    host_key_alias: str | None
    user_known_hosts_files: tuple[str, ...]
    global_known_hosts_files: tuple[str, ...]
    strict_host_key_checking: HostKeyPolicy
    hash_known_hosts: bool
    revoked_host_keys: str | None
    proxy_jump: tuple[Hop, ...]
    proxy_command: str | None
    bind_address: str | None
    address_family: AddressFamily
    connect_timeout: int | None
    server_alive_interval: int | None
    server_alive_count_max: int
    compression: bool
    ciphers: str | None
    macs: str | None
    kex_algorithms: str | None
    host_key_algorithms: str | None
    pubkey_accepted_algorithms: str | None
    ca_signature_algorithms: str | None
    preferred_authentications: tuple[str, ...] | None
    pubkey_authentication: bool
    password_authentication: bool
    kbdinteractive_authentication: bool
    batch_mode: bool
    send_env: tuple[str, ...]
    set_env: tuple[tuple[str, str], ...]
    rekey_bytes: int
    rekey_seconds: int
    tcp_keepalive: bool
    forward_agent_asked: bool


@dataclass(frozen=True, slots=True)
class SshTarget:
    """Where a host is and how to enter it.

    Attributes:
        hostname: Name or address to connect to.
        settings: Shared with the hosts for which it is the same.
    """

    hostname: str
    settings: SshSettings


@dataclass(frozen=True, slots=True)
class Local:
    """Who and where we are: what tokens and defaults are made of.

    Attributes:
        user: Login name here.
        uid: Its number.
        home: Its home directory, from the password database, as ssh takes it.
        hostname: This machine's name.
        environ: The environment.
    """

    user: str
    uid: int
    home: str
    hostname: str
    environ: Mapping[str, str]


# ---------------------------------------------------------------- blocks


class Criterion(enum.Enum):
    """What a ``Match`` line can ask of a host."""

    ALL = "all"
    CANONICAL = "canonical"
    EXEC = "exec"
    FINAL = "final"
    HOST = "host"
    LOCALUSER = "localuser"
    ORIGINALHOST = "originalhost"
    TAGGED = "tagged"
    USER = "user"


_BARE: Final = frozenset({Criterion.ALL, Criterion.CANONICAL, Criterion.FINAL})
_NOT_SUPPORTED: Final = frozenset({"command", "localnetwork", "sessiontype", "version"})


@dataclass(frozen=True, slots=True)
class Test:
    """One criterion of a ``Match`` line.

    Attributes:
        criterion: What is asked.
        negated: Whether ``!`` stood before it.
        patterns: For those that compare text.
        command: For ``exec``.
    """

    criterion: Criterion
    negated: bool
    patterns: PatternList | None = None
    command: Template | None = None


Condition: TypeAlias = PatternList | tuple[Test, ...] | None
"""``Host`` patterns, the tests of a ``Match``, or nothing: a file's first lines hold where the file does."""


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Lines that always apply together."""

    values: tuple[tuple[str, Any], ...]
    steers: bool


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Lines under one condition; ``inside`` are stretches of lines, and blocks of included files."""

    condition: Condition
    inside: tuple[Stretch | Block, ...]


_STEERING: Final = frozenset({"hostname", "user", "port", "hostkeyalias", "proxycommand", "proxyjump", "tag"})
"""Values that a later ``Match`` can ask for."""

Includer: TypeAlias = Callable[[Directive], Iterable[Block]]
"""From an ``Include`` line to the blocks of the files it means, in order."""


def _read_criterion(name: str, place: Place) -> Criterion:
    if name in _NOT_SUPPORTED:
        raise place.error(f"Match {name} is not supported")
    try:
        return Criterion(name)
    except ValueError:
        raise place.error(f"Match has no criterion {name!r}") from None


def _read_test(word: str, following: Iterator[str], place: Place) -> Test:
    """Read one criterion; its argument stands after ``=``, or is the next word."""
    negated = word.startswith("!")
    name, equals, argument = word.removeprefix("!").partition("=")
    criterion = _read_criterion(name.lower(), place)
    if criterion in _BARE:
        if equals:
            raise place.error(f"Match {criterion.value} takes no argument")
        return Test(criterion, negated)
    if not equals:
        argument = next(following, "")
    if (not argument and criterion is not Criterion.TAGGED) or argument.startswith("#"):
        raise place.error(f"Match {criterion.value} needs an argument")
    if criterion is Criterion.EXEC:
        return Test(
            criterion, negated, command=template(argument, place, tokens=EXEC_TOKENS, variables=False)
        )
    fold = criterion in {Criterion.HOST, Criterion.ORIGINALHOST}
    return Test(criterion, negated, patterns=PatternList.split(argument, fold_case=fold))


def _read_match(directive: Directive) -> tuple[Test, ...]:
    """Read the criteria of a ``Match`` line."""
    words = iter(directive.words)
    tests = tuple(_read_test(word, words, directive.place) for word in words)
    if not tests:
        raise directive.place.error("Match needs a criterion")
    if any(test.criterion is Criterion.ALL for test in (*tests[:-1], *tests[2:])):
        raise directive.place.error("Match all stands alone")  # though ssh lets one criterion stand before it
    return tests


def _read_host(directive: Directive) -> PatternList:
    """Read the patterns of a ``Host`` line."""
    if not directive.words or "" in directive.words:
        raise directive.place.error("host has an empty argument")
    return PatternList(directive.words)


class _BlockBuilder:
    """A block in the making."""

    __slots__ = ("_condition", "_inside", "_values")

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._inside: list[Stretch | Block] = []
        self._values: list[tuple[str, Any]] = []

    def add(self, values: Iterable[tuple[str, Any]]) -> None:
        self._values.extend(values)

    def include(self, blocks: Iterable[Block]) -> None:
        self._end_stretch()
        self._inside.extend(blocks)

    def build(self) -> Block:
        self._end_stretch()
        return Block(self._condition, tuple(self._inside))

    def _end_stretch(self) -> None:
        if self._values:
            steers = any(name in _STEERING for name, _ in self._values)
            self._inside.append(Stretch(tuple(self._values), steers))
            self._values.clear()


def parse_blocks(
    lines: Iterable[Directive],
    *,
    include: Includer,
    warn: Callable[[str], None],
    ignored: list[str],
) -> Iterator[Block]:
    """Put a file's lines under their conditions.

    Args:
        lines: The file's lines.
        include: Called for each ``Include``.
        warn: Called with one line of text for each keyword that matters to ssh and is not supported.
        ignored: What ``IgnoreUnknown`` said so far; added to.

    Yields:
        Blocks in the file's order.

    Raises:
        UsageError: A line cannot be understood, with its place.
    """
    block = _BlockBuilder(None)
    for directive in lines:
        keyword = directive.keyword
        if keyword in {"host", "match"}:
            yield block.build()
            block = _BlockBuilder(_read_host(directive) if keyword == "host" else _read_match(directive))
        elif keyword == "include":
            if not directive.words or "" in directive.words:
                raise directive.place.error("include has an empty argument")
            block.include(include(directive))
        elif keyword == "ignoreunknown":
            ignored.extend(ignored_keywords(directive))
        elif check_keyword(directive, PatternList(ignored)):
            block.add(values_of(directive))
        elif keyword in MISSED:
            warn(f"{directive.place}: {keyword} is not supported and is passed over")
    yield block.build()


def _asks_for_second_pass(blocks: Iterable[Stretch | Block]) -> bool:
    for block in blocks:
        if isinstance(block, Block):
            tests = block.condition if isinstance(block.condition, tuple) else ()
            if any(test.criterion is Criterion.FINAL for test in tests) or _asks_for_second_pass(
                block.inside
            ):
                return True
    return False


# ---------------------------------------------------------------- evaluation


_NO_JUMP: Final = Jump(())


def _set_first(merged: dict[str, Any], values: Iterable[tuple[str, Any]]) -> None:
    """Add values to those that were said before: the first counts, but for the lists that grow."""
    for name, value in values:
        if name in {"identityfile", "certificatefile"}:
            known: tuple[Template, ...] = merged.get(name, ())
            if value.text not in {template.text for template in known}:
                merged[name] = (*known, value)
        elif name == "sendenv":
            merged[name] = _send_env(merged.get(name, ()), value)
        elif name == "proxyjump" and value.hops and "proxycommand" in merged:
            pass  # of a jump and a command the first counts; a jump of "none" only stands against later jumps
        elif name == "proxycommand" and merged.get("proxyjump", _NO_JUMP).hops:
            pass
        else:
            merged.setdefault(name, value)


def _send_env(known: tuple[str, ...], words: Iterable[str]) -> tuple[str, ...]:
    """Add names to send; ``-pattern`` takes back those that it matches."""
    names = list(known)
    for word in words:
        if word.startswith("-"):
            unwanted = PatternList([word[1:]])
            names = [name for name in names if not unwanted.matches(name)]
        elif word not in names:
            names.append(word)
    return tuple(names)


def numeric_address(host: str) -> str | None:
    """Write an address as the system does, such as ``127.0.0.1`` for ``127.1``; ``None`` if it is a name."""
    if ":" in host:
        bare, percent, scope = host.partition("%")
        try:
            return f"{ipaddress.IPv6Address(bare)}{percent}{scope}"
        except ValueError:
            return None
    if not host[:1].isdigit():
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def tilde_home(user: str, place: Place) -> str:
    """Find a user's home directory, for ``~user``.

    Raises:
        UsageError: There is no such user.
    """
    try:
        return pwd.getpwnam(user).pw_dir
    except (KeyError, UnicodeError, ValueError):
        raise place.error(f"there is no user {user!r}") from None


def _tilde(path: str, place: Place, home: str) -> str:
    """Expand ``~`` and ``~user`` at the start of a path."""
    if not path.startswith("~"):
        return path
    user, _, rest = path[1:].partition("/")
    directory = tilde_home(user, place) if user else home
    # The directory is no template: a % in it is a %.
    return f"{directory.rstrip('/').replace('%', '%%')}/{rest.lstrip('/')}"


class _Walk:
    """One host's way through the blocks: which stretches apply, and what they said that ``Match`` can ask."""

    __slots__ = ("_config", "_name", "final", "host", "said", "stretches")

    def __init__(self, config: SshConfig, name: str, said: Mapping[str, Any]) -> None:
        self._config = config
        self._name = name
        self.host = name
        self.final = False
        self.said = dict(said)
        self.stretches: list[Stretch] = []

    def through(self, blocks: Iterable[Stretch | Block]) -> None:
        for block in blocks:
            if isinstance(block, Stretch):
                self.stretches.append(block)
                if block.steers:
                    _set_first(self.said, (pair for pair in block.values if pair[0] in _STEERING))
            elif self._holds(block.condition):
                self.through(block.inside)

    def _holds(self, condition: Condition) -> bool:
        if condition is None:
            return True
        if isinstance(condition, PatternList):
            return condition.matches(self.host)
        # In order and no further than needed: a command is run only where all before it holds.
        return all(self._passes(test) is not test.negated for test in condition)

    def _passes(self, test: Test) -> bool:
        criterion = test.criterion
        if criterion is Criterion.ALL:
            return True
        if criterion in {Criterion.FINAL, Criterion.CANONICAL}:
            return self.final
        if test.command is not None:
            tokens = self._config.tokens(self._name, self.connects_to(), self.said)
            return self._config.run(test.command.expand(tokens, {}))
        if test.patterns is None:
            raise AssertionError(criterion)
        return test.patterns.matches(self._subject(criterion))

    def _subject(self, criterion: Criterion) -> str:
        local = self._config.local
        if criterion is Criterion.HOST:
            return self.connects_to().lower()
        if criterion is Criterion.ORIGINALHOST:
            return self._name.lower()
        if criterion is Criterion.USER:
            return str(self.said.get("user", local.user))
        if criterion is Criterion.TAGGED:
            return str(self.said.get("tag", ""))
        return local.user

    def connects_to(self) -> str:
        """The name that the host has after ``HostName``, as far as it is said by now."""
        template: Template | None = self.said.get("hostname")
        if self.final or template is None:
            return self.host
        return template.expand({"h": self.host, "%": "%"}, {})


class SshConfig:
    """ssh_config as parsed, and what it says of each host.

    Not for several threads at once: it remembers what it has worked out.
    """

    def __init__(
        self,
        *,
        options: Sequence[Directive] = (),
        blocks: Sequence[Block] = (),
        local: Local,
        run: Callable[[str], bool],
        warnings: Sequence[str] = (),
    ) -> None:
        """Hold what was parsed.

        Args:
            options: The lines given with ``-o``; they come before the files.
            blocks: The files' lines.
            local: Who and where we are.
            run: Runs a ``Match exec`` command and says whether it exited with 0. It is called once
                for each distinct command, from ``target``, and may block.
            warnings: What a user should be told about the files, one line each.
        """
        self.local = local
        self.warnings = tuple(warnings)
        self._blocks = tuple(blocks)
        self._options = tuple(value for option in options for value in values_of(option))
        self._second_pass = _asks_for_second_pass(self._blocks)
        self._run = run
        self._ran: dict[str, bool] = {}
        self._merged: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._settled: dict[tuple[Any, ...], SshSettings] = {}
        self._interned: dict[SshSettings, SshSettings] = {}

    def run(self, command: str) -> bool:
        """Whether a ``Match exec`` command exits with 0; it is run once."""
        if command not in self._ran:
            self._ran[command] = self._run(command)
        return self._ran[command]

    def tokens(self, name: str, host: str, said: Mapping[str, Any]) -> dict[str, str]:
        """Make the values of ``%`` tokens for a host (ssh_config(5), TOKENS).

        Args:
            name: The host as the user named it.
            host: The name to connect to.
            said: Values so far: user, port, alias, proxy.
        """
        local = self.local
        hops = said.get("proxyjump", _NO_JUMP).hops
        jump = hops[-1].host if hops else ""
        port = str(said.get("port", DEFAULT_PORT))
        user = said.get("user", local.user)
        digest = hashlib.new(_SHA1_FOR_SSH, usedforsecurity=False)
        for part in (local.hostname, host, port, user, jump):
            digest.update(part.encode(errors="surrogateescape"))
        return {
            "%": "%",
            "C": digest.hexdigest(),
            "L": local.hostname.partition(".")[0],
            "d": local.home,
            "h": host,
            "i": str(local.uid),
            "j": jump,
            "k": said.get("hostkeyalias", name),
            "l": local.hostname,
            "n": name,
            "p": port,
            "r": user,
            "u": local.user,
        }

    def target(
        self,
        name: str,
        *,
        user: str | None = None,
        port: int | None = None,
        identities: tuple[str, ...] = (),
        jump: tuple[Hop, ...] | None = None,
    ) -> SshTarget:
        """Say where a host is and how to enter it.

        Args:
            name: The host as the user named it; patterns of ``Host`` are held against it.
            user: What ``-l`` or the hosts file says; it comes before everything in ssh_config.
            port: Likewise, ``-p``.
            identities: Likewise, ``-i``; ssh_config's keys follow them.
            jump: Likewise, ``-J``; empty for "directly", ``None`` for "not said".

        Raises:
            UsageError: A variable in a value is not set, a ``~user`` does not exist, or name
                canonicalisation would have to look the name up.
        """
        said: dict[str, Any] = {}
        if user is not None:
            said["user"] = user
        if port is not None:
            said["port"] = port
        if jump is not None:
            said["proxyjump"] = Jump(jump)
            if not jump:
                said["proxycommand"] = Command(None)  # "directly" means it
        before = tuple(said.items())
        _set_first(said, self._options)
        walk = _Walk(self, name, said)
        walk.through(self._blocks)
        key = (before, identities, *walk.stretches)
        merged = self._merge(key, before, walk.stretches)
        host = self._hostname(name, merged)
        if self._second_pass or self._canonicalizes(host, merged):
            walk.host, walk.final = host, True
            walk.through(self._blocks)
            key = (before, identities, *walk.stretches)
            merged = self._merge(key, before, walk.stretches)
        settings = self._settled.get(key)
        if settings is None:
            settings, steady = self._settle(name, host, merged, identities)
            settings = self._interned.setdefault(settings, settings)
            if steady:
                self._settled[key] = settings
        return SshTarget(host, settings)

    def _merge(
        self, key: tuple[Any, ...], before: tuple[tuple[str, Any], ...], stretches: Iterable[Stretch]
    ) -> dict[str, Any]:
        merged = self._merged.get(key)
        if merged is None:
            merged = dict(before)
            _set_first(merged, self._options)
            for stretch in stretches:
                _set_first(merged, stretch.values)
            self._merged[key] = merged
        return merged

    @staticmethod
    def _hostname(name: str, merged: Mapping[str, Any]) -> str:
        """Apply ``HostName``; names become lower case, addresses are written in full."""
        template: Template | None = merged.get("hostname")
        host = name if template is None else template.expand({"h": name, "%": "%"}, {})
        return numeric_address(host) or host.lower()

    @staticmethod
    def _canonicalizes(host: str, merged: Mapping[str, Any]) -> bool:
        if not merged.get("canonicalizehostname", False):
            return False
        domains: tuple[str, ...] = merged.get("canonicaldomains", ())
        few_dots = host.count(".") <= merged.get("canonicalizemaxdots", 1)
        if domains and domains[0].lower() != "none" and few_dots and numeric_address(host) is None:
            raise UsageError(
                f"ssh_config asks to look {host} up in CanonicalDomains, which is not supported",
                hint="give the whole name, HostName %h.example.com, or -o CanonicalizeHostname=no",
            )
        return True

    def _settle(
        self, name: str, host: str, merged: Mapping[str, Any], identities: tuple[str, ...]
    ) -> tuple[SshSettings, bool]:
        """Fill in the defaults of ssh and expand tokens.

        This is the one place where defaults are known.

        Returns:
            The settings, and whether they hold for every host to which the same lines apply.
        """
        get = merged.get
        tokens = self.tokens(name, host, merged)
        steady = True

        def expand(template: Template) -> str:
            nonlocal steady
            steady = steady and not template.varies
            at_home = replace(template, text=_tilde(template.text, template.place, self.local.home))
            return at_home.expand(tokens, self.local.environ)

        def paths(key: str, default: tuple[str, ...]) -> tuple[str, ...]:
            named = get(key)
            if named is None:
                named = tuple(Template(path, Place("default")) for path in default)
            return tuple(expand(path) for path in named)

        hops = get("proxyjump", _NO_JUMP).hops
        command = None if hops else get("proxycommand", Command(None)).template
        if command is not None and command.varies:
            steady = False
        alias = get("hostkeyalias")
        revoked = get("revokedhostkeys")
        settings = SshSettings(
            user=get("user", self.local.user),
            port=get("port", DEFAULT_PORT),
            identity_files=self._identities(identities, get("identityfile"), expand),
            certificate_files=paths("certificatefile", ()),
            identities_only=get("identitiesonly", False),
            identity_agent=self._agent(get("identityagent"), expand),
            host_key_alias=None if alias is None else alias.lower(),
            user_known_hosts_files=paths("userknownhostsfile", DEFAULT_USER_KNOWN_HOSTS),
            global_known_hosts_files=paths("globalknownhostsfile", DEFAULT_GLOBAL_KNOWN_HOSTS),
            strict_host_key_checking=get("stricthostkeychecking", HostKeyPolicy.STRICT),
            hash_known_hosts=get("hashknownhosts", False),
            revoked_host_keys=None if revoked is None or revoked.text.lower() == "none" else expand(revoked),
            proxy_jump=hops,
            proxy_command=None if command is None else command.expand(tokens, {}),
            bind_address=get("bindaddress"),
            address_family=get("addressfamily", AddressFamily.ANY),
            connect_timeout=get("connecttimeout"),
            server_alive_interval=get("serveraliveinterval"),
            server_alive_count_max=get("serveralivecountmax", 3),
            compression=get("compression", False),
            ciphers=get("ciphers"),
            macs=get("macs"),
            kex_algorithms=get("kexalgorithms"),
            host_key_algorithms=get("hostkeyalgorithms"),
            pubkey_accepted_algorithms=get("pubkeyacceptedalgorithms"),
            ca_signature_algorithms=get("casignaturealgorithms"),
            preferred_authentications=get("preferredauthentications"),
            pubkey_authentication=get("pubkeyauthentication", True),
            password_authentication=get("passwordauthentication", True),
            kbdinteractive_authentication=get("kbdinteractiveauthentication", True),
            batch_mode=get("batchmode", False),
            send_env=get("sendenv", ()),
            set_env=get("setenv", ()),
            rekey_bytes=get("rekeybytes", 0),
            rekey_seconds=get("rekeyseconds", 0),
            tcp_keepalive=get("tcpkeepalive", True),
            forward_agent_asked=get("forwardagent", False),
        )
        return settings, steady

    def _identities(
        self,
        named: tuple[str, ...],
        templates: tuple[Template, ...] | None,
        expand: Callable[[Template], str],
    ) -> tuple[Identity, ...]:
        found: dict[str, Identity] = {}
        if templates is None and not named:
            for path in DEFAULT_IDENTITIES:
                expanded = expand(Template(path, Place("default")))
                found[expanded] = Identity(expanded, IdentitySource.DEFAULT)
        for path in named:
            place = Template(path.replace("%", "%%"), Place("-i"), variables=False)
            expanded = expand(place)
            found.setdefault(expanded, Identity(expanded, IdentitySource.OPTION))
        for written in templates or ():
            if written.text.lower() != "none":
                expanded = expand(written)
                found.setdefault(expanded, Identity(expanded, IdentitySource.CONFIG))
        return tuple(found.values())

    def _agent(self, template: Template | None, expand: Callable[[Template], str]) -> str | None:
        """Find the agent's socket: ``IdentityAgent``, else ``SSH_AUTH_SOCK``."""
        environ = self.local.environ
        if template is None or template.text == "SSH_AUTH_SOCK":
            return environ.get("SSH_AUTH_SOCK") or None
        path = expand(template)
        if path == "none":
            return None
        if path.startswith("$"):
            return environ.get(path[1:]) or None
        return path or None
