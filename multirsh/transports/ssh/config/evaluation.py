"""The evaluation of ssh_config for a host.

The files are read and parsed once (``files``, ``blocks``); here the parsed
lines are evaluated for one host after another. Hosts to which the same blocks
apply share one ``SshSettings`` object, so that a fleet of 100,000 costs a few
pattern matches a host, and options prepared from a ``SshSettings`` can be
cached by it.

Pure, except for ``Match exec``, whose commands are run by the callable that
``SshConfig`` is given, once for each distinct command.

docs/ssh-config.md lists each difference from ssh, with its reason.

Source: ssh_config(5); the order of evaluation is from OpenSSH 9.2 ssh.c and readconf.c.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from multirsh.errors import UsageError
from multirsh.model import HostKeyPolicy
from multirsh.names import check_host
from multirsh.transports.ssh.config.blocks import (
    STEERING,
    Block,
    Blocks,
    Condition,
    Criterion,
    Stretch,
    Test,
    asks_for_second_pass,
    expand_tilde,
    numeric_address,
)
from multirsh.transports.ssh.config.directives import (
    AddressFamily,
    Directive,
    Hop,
    Jump,
    LoginName,
    Place,
    ProxyCommand,
    Template,
    literal,
    values_of,
)
from multirsh.transports.ssh.config.settings import (
    DEFAULT_GLOBAL_KNOWN_HOSTS,
    DEFAULT_IDENTITIES,
    DEFAULT_PORT,
    DEFAULT_USER_KNOWN_HOSTS,
    Identity,
    IdentitySource,
    Local,
    SshSettings,
    SshTarget,
)
from multirsh.transports.ssh.patterns import PatternList

_SHA1_FOR_SSH: Final = "sha1"
_SAID_HERE: Final = Place("the command line or the hosts file")
_NO_JUMP: Final = Jump((), _SAID_HERE)


def _set_first(merged: dict[str, Any], values: Iterable[tuple[str, Any]]) -> None:
    """Add values to those that are set already: the first value counts, except for lists that accumulate."""
    for name, value in values:
        if name in {"identityfile", "certificatefile"}:
            known: tuple[Template, ...] = merged.get(name, ())
            if value.text not in {template.text for template in known}:
                merged[name] = (*known, value)
        elif name == "sendenv":
            merged[name] = _send_env(merged.get(name, ()), value)
        elif name == "proxyjump" and value.hops and "proxycommand" in merged:
            pass  # the first of jump and command counts; a jump of "none" only overrides later jumps
        elif name == "proxycommand" and merged.get("proxyjump", _NO_JUMP).hops:
            pass
        else:
            merged.setdefault(name, value)


def _send_env(known: tuple[str, ...], words: Iterable[str]) -> tuple[str, ...]:
    """Add names to send; ``-pattern`` removes those that it matches."""
    names = list(known)
    for word in words:
        if word.startswith("-"):
            unwanted = PatternList([word[1:]])
            names = [name for name in names if not unwanted.matches(name)]
        elif word not in names:
            names.append(word)
    return tuple(names)


class _Walk:
    """The evaluation of the blocks for one host: the stretches that apply, and values for ``Match``."""

    __slots__ = ("_config", "_name", "final", "host", "said", "stretches")

    def __init__(self, config: SshConfig, name: str, said: Mapping[str, Any]) -> None:
        self._config = config
        self._name = name
        self.host = name
        self.final = False
        self.said = dict(said)
        self.stretches: list[Stretch] = []

    def through(self, blocks: Blocks) -> None:
        for block in blocks.that_may_be_of(self.host):
            if isinstance(block, Stretch):
                self.stretches.append(block)
                if block.steers:
                    _set_first(self.said, (pair for pair in block.values if pair[0] in STEERING))
            elif self._holds(block.condition):
                self.through(block.inside)

    def _holds(self, condition: Condition) -> bool:
        if condition is None:
            return True
        if isinstance(condition, PatternList):
            return condition.matches(self.host)
        # In order, and no further than needed: a command is run only if all criteria before it hold.
        return all(self._passes(test) is not test.negated for test in condition)

    def _passes(self, test: Test) -> bool:
        criterion = test.criterion
        if criterion is Criterion.ALL:
            return True
        if criterion in {Criterion.FINAL, Criterion.CANONICAL}:
            return self.final
        if test.command is not None:
            host = self.connects_to()
            tokens = self._config.tokens(self._name, host, self.said)
            tokens["k"] = self.said.get("hostkeyalias", host)  # the value that ssh has while it still reads
            return self._config.run(test.command.for_shell(tokens))
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
            return self._config.user(self.said)
        if criterion is Criterion.TAGGED:
            return str(self.said.get("tag", ""))
        return local.user

    def connects_to(self) -> str:
        """Return the host's name after ``HostName``, as far as it is set by now."""
        template: Template | None = self.said.get("hostname")
        if self.final or template is None:
            return self.host
        return template.expand({"h": self.host, "%": "%"}, {})


class SshConfig:
    """The parsed ssh_config, which can be evaluated for each host.

    Instances must not be shared between threads: they cache their results.
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
        """Store the parsed configuration.

        Args:
            options: The lines given with ``-o``; they take precedence over the files.
            blocks: The files' lines.
            local: The local user and machine.
            run: Runs a ``Match exec`` command and returns whether it exited with 0. It is called once
                for each distinct command, from ``target``, and may block.
            warnings: Warnings about the files for the user, one line each.
        """
        self.local = local
        self.warnings = tuple(warnings)
        self._blocks = Blocks(blocks)
        self._options = tuple(value for option in options for value in values_of(option))
        self._second_pass = asks_for_second_pass(self._blocks)
        self._run = run
        self._ran: dict[str, bool] = {}
        self._merged: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._settled: dict[tuple[Any, ...], SshSettings] = {}
        self._interned: dict[SshSettings, SshSettings] = {}

    def run(self, command: str) -> bool:
        """Return whether a ``Match exec`` command exits with 0; each command is run once."""
        if command not in self._ran:
            self._ran[command] = self._run(command)
        return self._ran[command]

    def user(self, said: Mapping[str, Any]) -> str:
        """Return the login name, as far as it is set."""
        login: LoginName | None = said.get("user")
        return self.local.user if login is None else login.name

    def tokens(self, name: str, host: str, said: Mapping[str, Any]) -> dict[str, str]:
        """Make the values of the ``%`` tokens for a host (ssh_config(5), TOKENS).

        Args:
            name: The host as the user named it.
            host: The name to connect to.
            said: The values set so far: user, port, alias, proxy.
        """
        local = self.local
        hops = said.get("proxyjump", _NO_JUMP).hops
        jump = hops[-1].host if hops else ""
        alias: str | None = said.get("hostkeyalias")
        port = str(said.get("port", DEFAULT_PORT))
        user = self.user(said)
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
            "k": name if alias is None else alias.lower(),
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
        address: str | None = None,
    ) -> SshTarget:
        """Return where a host is and how to log in to it.

        Args:
            name: The host as the user named it; the patterns of ``Host`` are matched against it.
            user: The value of ``-l`` or the hosts file; it takes precedence over ssh_config.
            port: Likewise, ``-p``.
            identities: Likewise, ``-i``; ssh_config's keys follow them.
            jump: Likewise, ``-J``; empty for a direct connection, ``None`` if not given.
            address: Likewise, in place of ``HostName``: the host's address in an earlier run.

        Raises:
            UsageError: A value has an undefined token or a variable that is not set, a ``~user`` does not
                exist, a user, host or jump host is invalid or would be more than a word to the shell that
                interprets it, or name canonicalisation would have to look the name up.
        """
        said: dict[str, Any] = {}
        if user is not None:
            said["user"] = LoginName(user, _SAID_HERE)
        if port is not None:
            said["port"] = port
        if jump is not None:
            said["proxyjump"] = Jump(jump, _SAID_HERE)
            if not jump:
                said["proxycommand"] = ProxyCommand(None)  # "directly" overrides it, too
        if address is not None:
            said["hostname"] = Template(
                address.replace("%", "%%"), Place("the record"), tokens="%", variables=False
            )
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
        """Apply ``HostName``; convert names to lower case, and write addresses in full."""
        template: Template | None = merged.get("hostname")
        if template is None:
            host = check_host(name, "the name of a host")
        else:
            host = check_host(template.expand({"h": name, "%": "%"}, {}), f"{template.place}: HostName")
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
        """Fill in ssh's defaults and expand tokens.

        No other place knows the defaults.

        Returns:
            The settings, and whether they apply to every host to which the same lines apply.
        """
        get = merged.get
        tokens = self.tokens(name, host, merged)
        steady = True

        def expand(template: Template) -> str:
            nonlocal steady
            steady = steady and not template.varies
            at_home = replace(template, text=expand_tilde(template.text, template.place, self.local.home))
            return at_home.expand(tokens, self.local.environ)

        def paths(key: str, default: tuple[str, ...]) -> tuple[str, ...]:
            named = get(key)
            if named is None:
                named = tuple(literal(path, Place("default")) for path in default)
            return tuple(expand(path) for path in named)

        hops = get("proxyjump", _NO_JUMP).checked()
        command = None if hops else get("proxycommand", ProxyCommand(None)).template
        if command is not None and command.varies:
            steady = False
        forwarded = get("forwardedagent")
        if forwarded is not None:
            expand(forwarded)  # ssh refuses undefined tokens in it; the socket itself is not used
        alias = get("hostkeyalias")
        revoked = get("revokedhostkeys")
        settings = SshSettings(
            user=get("user", LoginName(self.local.user, Place("the user database"))).checked(),
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
            proxy_command=None if command is None else command.for_shell(tokens),
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
                expanded = expand(literal(path, Place("default")))
                found[expanded] = Identity(expanded, IdentitySource.DEFAULT)
        for path in named:
            expanded = expand(literal(path, Place("-i")))
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
