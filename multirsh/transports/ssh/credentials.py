"""The keys to offer, from files and agents, with certificates; loaded once for all hosts.

The source that names a key decides how its absence is handled. A key given
with ``-i`` or in the hosts file must be usable, or nothing starts. A key that
ssh_config names is skipped when it is missing, as in ssh, and must be opened
when it is encrypted. The default files in ``~/.ssh`` are used if they can be.

Differences from ssh: passphrases are prompted for at the start, not when a
host accepts the key; a certificate that is not a user's, or not valid now, is
skipped with a warning; FIDO keys are used through an agent only.

Sources: authfile.c and ssh.c (load_public_identity_files) of OpenSSH 9.2; for the order of keys,
pubkey_prepare() of its sshconnect2.c.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import copy
import enum
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import asyncssh
from asyncssh.public_key import CERT_TYPE_USER, SSHOpenSSHCertificate

from multirsh.errors import CredentialError
from multirsh.transports.passwords import Ask
from multirsh.transports.ssh.config import Identity, IdentitySource, SshSettings
from multirsh.transports.threads import in_daemon_thread

_OPENSSH_MAGIC: Final = b"openssh-key-v1\0"
_PRIVATE: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----(.*?)-----END", re.DOTALL)


class KeyState(enum.Enum):
    """The contents of a file that should hold a private key."""

    READY = "ready"
    """A private key."""
    LOCKED = "locked"
    """A private key under a passphrase."""
    PUBLIC = "public"
    """Only a public key: an agent may hold the private one."""
    MISSING = "missing"
    """No file."""
    EXPOSED = "exposed"
    """A private key that other users can read: it is not used."""
    HARDWARE = "hardware"
    """A handle to a FIDO authenticator: only an agent can use it."""
    UNREADABLE = "unreadable"
    """A file that cannot be opened or parsed."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file that should hold a private key.

    Attributes:
        path: Its path.
        state: Its contents.
        public: The public key, if it is known.
        private: The private key, if it is ready.
        reason: What is wrong with the file, if anything, for the user.
        certificate: The certificate beside it (``-cert.pub``), or ``None``.
    """

    path: str
    state: KeyState
    public: asyncssh.SSHKey | None = None
    private: asyncssh.SSHKey | None = None
    reason: str = ""
    certificate: asyncssh.SSHCertificate | None = None


def read_key_file(path: str) -> KeyFile:
    """Read a private key's file, and the public key and certificate beside it. Blocks."""
    public = _read_public(f"{path}.pub")
    certificate = read_certificate_file(f"{path}-cert.pub")
    beside = certificate if isinstance(certificate, asyncssh.SSHCertificate) else None

    def found(
        state: KeyState,
        reason: str = "",
        *,
        private: asyncssh.SSHKey | None = None,
        half: asyncssh.SSHKey | None = public,
    ) -> KeyFile:
        return KeyFile(path, state, half, private, reason, beside)

    try:
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read()
    except FileNotFoundError:
        return found(KeyState.MISSING if public is None else KeyState.PUBLIC, "there is no such file")
    except OSError as error:
        return found(KeyState.UNREADABLE, error.strerror or "it cannot be read")
    if _PRIVATE.search(content) is None:
        half = _import_public(content) or public
        return found(KeyState.PUBLIC, half=half) if half else found(KeyState.UNREADABLE, "it holds no key")
    public = public or _import_public(content)
    if status.st_uid == os.getuid() and status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        return found(KeyState.EXPOSED, f"it can be read by others (mode {mode:04o})", half=public)
    if public is not None and public.algorithm.startswith(b"sk-"):
        return found(KeyState.HARDWARE, "FIDO keys are used through an agent only", half=public)
    if is_encrypted(content):
        return found(KeyState.LOCKED, "it is encrypted", half=public)
    try:
        private = asyncssh.import_private_key(content)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
        return found(KeyState.UNREADABLE, str(error), half=public)
    return found(KeyState.READY, private=private, half=private.convert_to_public())


def unlock(path: str, passphrase: str) -> asyncssh.SSHKey | None:
    """Decrypt a private key; return ``None`` if the passphrase is wrong. Blocks: it is slow by design.

    Raises:
        OSError: The file can no longer be read.
    """
    try:
        return asyncssh.import_private_key(Path(path).read_bytes(), passphrase)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError):
        return None


def is_encrypted(content: bytes) -> bool:
    """Whether a private key is encrypted: in OpenSSH's format, PKCS#8, or old PEM.

    Source: PROTOCOL.key of OpenSSH; RFC 7468 section 11; RFC 1421 section 4.6.1.1.
    """
    found = _PRIVATE.search(content)
    if found is None:
        return False
    if found[1] == b"OPENSSH ":
        try:
            raw = base64.b64decode(found[2])
        except binascii.Error:
            return False
        if not raw.startswith(_OPENSSH_MAGIC):
            return False
        at = len(_OPENSSH_MAGIC)
        length = int.from_bytes(raw[at : at + 4], "big")
        return raw[at + 4 : at + 4 + length] != b"none"
    return found[1] == b"ENCRYPTED " or b"Proc-Type: 4,ENCRYPTED" in found[2]


def read_certificate_file(path: str) -> asyncssh.SSHCertificate | str | None:
    """Read a user certificate. Blocks.

    Returns:
        The certificate; ``None`` if there is no such file; or one line that says why it cannot be used.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.strerror or "it cannot be read"
    try:
        certificate = asyncssh.import_certificate(content)
        if isinstance(certificate, SSHOpenSSHCertificate):
            certificate.validate(CERT_TYPE_USER, None)
    except (asyncssh.KeyImportError, ValueError) as error:
        return str(error)
    return certificate


def _read_public(path: str) -> asyncssh.SSHKey | None:
    try:
        return _import_public(Path(path).read_bytes())
    except OSError:
        return None


def _import_public(content: bytes) -> asyncssh.SSHKey | None:
    try:
        return asyncssh.import_public_key(content)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError):
        return None


AGENT_TIMEOUT_S: Final = 5.0
"""How long an agent may take to list its keys, in seconds."""
TRIES: Final = 3
"""Maximum number of prompts for one passphrase (NumberOfPasswordPrompts of ssh)."""


@dataclass(frozen=True, slots=True)
class KeyChoice:
    """The keys that may be offered to a host.

    Attributes:
        identities: Private keys, in order.
        certificates: Paths of certificates; if there are any, those beside the keys are ignored.
        agent: Path of the agent's socket, or ``None``.
        only_these: Offer only those of the agent's keys that ``identities`` names.
    """

    identities: tuple[Identity, ...]
    certificates: tuple[str, ...] = ()
    agent: str | None = None
    only_these: bool = False

    @classmethod
    def of(cls, settings: SshSettings) -> KeyChoice:
        """Make the choice from the settings of ssh_config."""
        return cls(
            identities=settings.identity_files,
            certificates=settings.certificate_files,
            agent=settings.identity_agent,
            only_these=settings.identities_only,
        )


class KeyRing:
    """All keys of a run: each file is read, each passphrase prompted for and each agent queried once.

    Attributes:
        warnings: Warnings for the user, one line each.
    """

    def __init__(self, *, ask: Ask | None = None, agent_timeout_s: float = AGENT_TIMEOUT_S) -> None:
        """Make an empty ring.

        Args:
            ask: Prompts the user for a passphrase; called in a thread. ``None`` if prompts are impossible.
            agent_timeout_s: How long an agent may take to list its keys, in seconds.
        """
        self.warnings: list[str] = []
        self._ask = ask
        self._agent_timeout_s = agent_timeout_s
        self._loading = asyncio.Lock()
        self._agents: dict[str, asyncssh.SSHAgentClient] = {}
        self._agent_keys: dict[str | None, Sequence[asyncssh.SSHKeyPair]] = {None: ()}
        self._files: dict[str, KeyFile] = {}
        self._certificates: dict[str, asyncssh.SSHCertificate | None] = {}
        self._offers: dict[KeyChoice, tuple[asyncssh.SSHKeyPair, ...]] = {}

    async def load(self, choices: Iterable[KeyChoice], *, open_usual: bool = True) -> None:
        """Read the keys that ``choices`` name and that are not loaded yet; prompt for passphrases.

        Args:
            choices: The choices of all hosts and jump hosts, so that all prompts come before anything runs.
            open_usual: Whether to prompt for the passphrases of the default files if there is nothing else to
                offer; false if there is a password.

        Raises:
            CredentialError: A named key cannot be used: it is missing, exposed, invalid, or encrypted and not
                decrypted.
        """
        async with self._loading:
            new = [choice for choice in dict.fromkeys(choices) if choice not in self._offers]
            for path in dict.fromkeys(choice.agent for choice in new):
                if path is not None and path not in self._agent_keys:
                    self._agent_keys[path] = await self._keys_of_agent(path)
            await in_daemon_thread(
                lambda: self._load_files(new, open_usual=open_usual), name="multirsh-keys", or_here=True
            )
            for choice in new:
                self._offers[choice] = self._offer(choice)

    def pairs(self, choice: KeyChoice) -> list[asyncssh.SSHKeyPair]:
        """Return the keys to offer, in order, for one connection.

        They are copies: a connection chooses a signature algorithm for each, which must not affect others.
        Pass them to asyncssh as ``client_keys``, with ``agent_path=None``; as an empty list would mean the
        default files there, pass ``None`` instead.

        Raises:
            KeyError: The choice was not loaded.
        """
        return [copy.copy(pair) for pair in self._offers[choice]]

    async def close(self) -> None:
        """Close the connections to agents."""
        while self._agents:
            _, agent = self._agents.popitem()
            agent.close()
            await agent.wait_closed()

    # ------------------------------------------------------------ agents

    async def _keys_of_agent(self, path: str) -> Sequence[asyncssh.SSHKeyPair]:
        """List an agent's keys; a dead or unresponsive agent has none."""
        try:
            async with asyncio.timeout(self._agent_timeout_s):
                agent = self._agents[path] = await asyncssh.connect_agent(path)
                return await agent.get_keys()
        except TimeoutError:
            reason = f"no answer within {self._agent_timeout_s:g} s"
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or "it hung up"
        self.warnings.append(f"the agent at {path} is not used: {reason}")
        if path in self._agents:
            self._agents.pop(path).close()
        return ()

    # ------------------------------------------------------------ files

    def _load_files(self, choices: Sequence[KeyChoice], *, open_usual: bool) -> None:
        """Read all files and prompt for passphrases. Runs in a thread."""
        named = _by_strongest_source(choices)
        for path, source in named.items():
            if path not in self._files:
                self._files[path] = self._usable(read_key_file(path), source)
        for path in {path: None for choice in choices for path in choice.certificates}:
            if path not in self._certificates:
                self._certificates[path] = self._certificate(path)
        held = {pair.public_data for keys in self._agent_keys.values() for pair in keys}
        for path, source in named.items():
            if source is not IdentitySource.DEFAULT:
                self._open(path, held, self._refuse)
        for choice in choices:
            if open_usual and not self._offer(choice):
                for identity in choice.identities:
                    self._open(identity.path, held, self._pass_over)

    def _usable(self, file: KeyFile, source: IdentitySource) -> KeyFile:
        """Decide how to handle a file without a usable key."""
        hint = f"chmod 600 {file.path}" if file.state is KeyState.EXPOSED else None
        message = f"the key {file.path} cannot be used: {file.reason}"
        match file.state, source:
            case (KeyState.READY | KeyState.LOCKED | KeyState.PUBLIC, _):
                pass
            case (KeyState.HARDWARE, _):
                pass  # the agent may hold it; _open checks
            case (KeyState.MISSING, IdentitySource.CONFIG | IdentitySource.DEFAULT):
                pass
            case (KeyState.EXPOSED, IdentitySource.CONFIG) | (_, IdentitySource.OPTION):
                raise CredentialError(message, hint=hint)
            case _:
                self.warnings.append(message if hint is None else f"{message}; {hint}")
        return file

    def _certificate(self, path: str) -> asyncssh.SSHCertificate | None:
        found = read_certificate_file(path)
        if isinstance(found, asyncssh.SSHCertificate):
            return found
        self.warnings.append(f"the certificate {path} is not used: {found or 'there is no such file'}")
        return None

    def _open(
        self, path: str, held: set[bytes], otherwise: Callable[[KeyFile, str, str | None], None]
    ) -> None:
        """Decrypt a key that no agent holds; one that cannot be decrypted is passed to ``otherwise``."""
        file = self._files[path]
        if file.public is not None and file.public.public_data in held:
            return
        if file.state is KeyState.HARDWARE:
            otherwise(file, file.reason, f"ssh-add {path}")
        elif file.state is KeyState.LOCKED:
            if self._ask is None:
                hint = f"add it to an agent (ssh-add {path}), or run at a terminal"
                otherwise(
                    file, "it is encrypted, and there is no terminal to ask for its passphrase on", hint
                )
            elif (private := self._ask_for(path, self._ask)) is None:
                otherwise(file, "it was not opened by the passphrases given", None)
            else:
                public = private.convert_to_public()
                self._files[path] = replace(file, state=KeyState.READY, private=private, public=public)

    @staticmethod
    def _ask_for(path: str, ask: Ask) -> asyncssh.SSHKey | None:
        """Prompt for a passphrase up to ``TRIES`` times; an empty one gives up, as in ssh."""
        for _ in range(TRIES):
            passphrase = ask(f"Enter passphrase for key '{path}': ")
            if not passphrase:
                return None
            try:
                key = unlock(path, passphrase)
            except OSError as error:
                raise CredentialError(f"the key {path} cannot be used: {error.strerror}") from error
            if key is not None:
                return key
        return None

    @staticmethod
    def _refuse(file: KeyFile, reason: str, hint: str | None) -> None:
        raise CredentialError(f"the key {file.path} cannot be used: {reason}", hint=hint)

    def _pass_over(self, file: KeyFile, reason: str, hint: str | None) -> None:
        self._files[file.path] = replace(file, state=KeyState.UNREADABLE)  # do not prompt for it again
        message = f"the key {file.path} is not used: {reason}"
        self.warnings.append(message if hint is None else f"{message}; {hint}")

    # ------------------------------------------------------------ the offer

    def _offer(self, choice: KeyChoice) -> tuple[asyncssh.SSHKeyPair, ...]:
        named = [self._certificates[path] for path in choice.certificates]
        return _in_order(
            self._agent_keys[choice.agent],
            [self._files[identity.path] for identity in choice.identities],
            [certificate for certificate in named if certificate is not None],
            certified=not choice.certificates,
            only_these=choice.only_these,
        )


def _by_strongest_source(choices: Iterable[KeyChoice]) -> dict[str, IdentitySource]:
    """Collect the files, each with the strongest source that names it."""
    order = list(IdentitySource)
    named: dict[str, IdentitySource] = {}
    for choice in choices:
        for identity in choice.identities:
            known = named.get(identity.path, identity.source)
            named[identity.path] = min(known, identity.source, key=order.index)
    return named


class _Pairer:
    """Pairs public keys and certificates with private keys: the agent's first, then those of files."""

    def __init__(self, agent: Sequence[asyncssh.SSHKeyPair], files: Sequence[KeyFile]) -> None:
        self.agent = {pair.public_data: pair for pair in agent}
        self._private = {file.private.public_data: file.private for file in files if file.private is not None}

    def plain(self, blob: bytes) -> asyncssh.SSHKeyPair | None:
        """Find the private key of a public one, or an agent's key that can sign for it."""
        if blob in self.agent:
            return copy.copy(self.agent[blob])
        private = self._private.get(blob)
        return None if private is None else asyncssh.load_keypairs([private])[0]

    def certified(self, certificate: asyncssh.SSHCertificate) -> asyncssh.SSHKeyPair | None:
        """Pair a certificate with its private key; an agent may hold the two together."""
        if certificate.public_data in self.agent:
            return copy.copy(self.agent[certificate.public_data])
        pair = self.plain(certificate.key.public_data)
        if pair is not None:
            pair.set_certificate(certificate)
        return pair

    def of_files(
        self, files: Sequence[KeyFile], *, certified: bool
    ) -> dict[bytes, asyncssh.SSHKeyPair | None]:
        """Find the keys that the files name; the value is ``None`` if the private key is not available."""
        named: dict[bytes, asyncssh.SSHKeyPair | None] = {}
        for file in files:
            if file.public is not None:
                named.setdefault(file.public.public_data, self.plain(file.public.public_data))
            if certified and file.certificate is not None:
                named.setdefault(file.certificate.public_data, self.certified(file.certificate))
        return named


def _in_order(
    agent: Sequence[asyncssh.SSHKeyPair],
    files: Sequence[KeyFile],
    certificates: Sequence[asyncssh.SSHCertificate],
    *,
    certified: bool,
    only_these: bool,
) -> tuple[asyncssh.SSHKeyPair, ...]:
    """Sort keys in ssh's order.

    Named certificates come first; then the agent's keys that are named; then its others, unless only
    named ones are wanted; then the remaining keys of the files.

    Args:
        agent: The agent's keys.
        files: The files that name keys.
        certificates: The certificates that were named.
        certified: Whether the certificate beside a key is offered, after the key.
        only_these: Whether the agent's other keys are left out.
    """
    pairer = _Pairer(agent, files)
    named = pairer.of_files(files, certified=certified)
    held = pairer.agent.items()
    order = [(certificate.public_data, pairer.certified(certificate)) for certificate in certificates]
    order += [(blob, pair) for blob, pair in held if blob in named]
    order += [(blob, pair) for blob, pair in held if not only_these]
    order += named.items()
    wanted: dict[bytes, asyncssh.SSHKeyPair] = {}
    for blob, pair in order:
        if pair is not None:
            wanted.setdefault(blob, pair)
    return tuple(wanted.values())
