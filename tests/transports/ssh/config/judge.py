"""What ``ssh -G`` says of a host, and where our settings say something else."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from multirsh.model import HostKeyPolicy
from multirsh.transports.ssh.config import SshTarget, local_user

_POLICIES: Final = {
    "true": HostKeyPolicy.STRICT,
    "ask": HostKeyPolicy.STRICT,
    "accept-new": HostKeyPolicy.ACCEPT_NEW,
    "false": HostKeyPolicy.OFF,
}


def judged(
    path: Path, host: str, options: Sequence[str] = (), arguments: Sequence[str] = ()
) -> dict[str, list[str]] | None:
    """What ``ssh -G`` says: keyword to lines; ``None`` where ssh refuses.

    Args:
        path: The configuration.
        host: The host.
        options: What comes after ``-o``.
        arguments: Others of ssh's command line.
    """
    argv = ["ssh", "-G", "-F", str(path), *arguments]
    for option in options:
        argv += ["-o", option]
    ended = subprocess.run([*argv, "--", host], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if ended.returncode != 0:
        return None
    said: dict[str, list[str]] = {}
    for line in ended.stdout.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n"):
        keyword, _, value = line.partition(" ")
        said.setdefault(keyword, []).append(value)
    return said


def differences(host: str, ours: SshTarget, theirs: dict[str, list[str]]) -> dict[str, tuple[object, object]]:
    """Our value and that of ``ssh -G``, by keyword, where they are not the same.

    Args:
        host: The host, as it was asked for.
        ours: What we say.
        theirs: What ``judged`` says. What ssh expands later than it prints is expanded here.
    """
    got = ours.settings
    tokens = {"h": theirs["hostname"][0], "p": theirs["port"][0], "r": theirs["user"][0], "n": host, "%": "%"}
    named = [path for path in theirs.get("identityfile", []) if path.lower() != "none"]
    methods = None if got.preferred_authentications is None else [",".join(got.preferred_authentications)]
    jump = ",".join(str(hop) for hop in got.proxy_jump)
    pairs: dict[str, tuple[object, object]] = {
        "hostname": ([ours.hostname], theirs["hostname"]),
        "user": ([got.user], theirs["user"]),
        "port": ([str(got.port)], theirs["port"]),
        "addressfamily": ([got.address_family.value], theirs["addressfamily"]),
        "batchmode": (_yes_no(got.batch_mode), theirs["batchmode"]),
        "bindaddress": (_or_none(got.bind_address), theirs.get("bindaddress")),
        "certificatefile": (
            list(got.certificate_files),
            _expanded(theirs.get("certificatefile", []), tokens),
        ),
        "compression": (_yes_no(got.compression), theirs["compression"]),
        "connecttimeout": (
            ["none" if got.connect_timeout is None else str(got.connect_timeout)],
            theirs["connecttimeout"],
        ),
        "globalknownhostsfile": (
            " ".join(got.global_known_hosts_files),
            " ".join(_at_home(_listed(theirs["globalknownhostsfile"]))),
        ),
        "hashknownhosts": (_yes_no(got.hash_known_hosts), theirs["hashknownhosts"]),
        "hostkeyalias": (_or_none(got.host_key_alias), theirs.get("hostkeyalias")),
        "identitiesonly": (_yes_no(got.identities_only), theirs["identitiesonly"]),
        "identityagent": (got.identity_agent, _agent(theirs.get("identityagent", ["SSH_AUTH_SOCK"])[0])),
        "identityfile": ([identity.path for identity in got.identity_files], _expanded(named, tokens)),
        "kbdinteractiveauthentication": (
            _yes_no(got.kbdinteractive_authentication),
            theirs["kbdinteractiveauthentication"],
        ),
        "passwordauthentication": (_yes_no(got.password_authentication), theirs["passwordauthentication"]),
        "preferredauthentications": (methods, theirs.get("preferredauthentications")),
        "proxyjump": (jump, _jump(theirs.get("proxyjump", [""])[0])),
        "pubkeyauthentication": (got.pubkey_authentication, theirs["pubkeyauthentication"] != ["false"]),
        "rekeylimit": ([f"{got.rekey_bytes} {got.rekey_seconds}"], theirs["rekeylimit"]),
        "sendenv": (list(got.send_env), list(dict.fromkeys(theirs.get("sendenv", [])))),
        "serveralivecountmax": ([str(got.server_alive_count_max)], theirs["serveralivecountmax"]),
        "setenv": ([f"{name}={value}" for name, value in got.set_env], theirs.get("setenv", [])),
        "stricthostkeychecking": (
            got.strict_host_key_checking,
            _POLICIES[theirs["stricthostkeychecking"][0]],
        ),
        "tcpkeepalive": (_yes_no(got.tcp_keepalive), theirs["tcpkeepalive"]),
        "userknownhostsfile": (
            " ".join(got.user_known_hosts_files),
            " ".join(_listed(theirs["userknownhostsfile"])),
        ),
    }
    if theirs["forwardagent"][0] in {
        "yes",
        "no",
    }:  # of a socket -G prints the path, even where a line before says no
        pairs["forwardagent"] = (_yes_no(got.forward_agent_asked), theirs["forwardagent"])
    if not (got.batch_mode and got.server_alive_interval is None):  # which is 300 in Debian's ssh
        pairs["serveraliveinterval"] = ([str(got.server_alive_interval or 0)], theirs["serveraliveinterval"])
    command = theirs.get("proxycommand", [None])[0]
    if "%" not in (command or ""):  # which ssh expands later than -G
        pairs["proxycommand"] = (got.proxy_command, command)
    return {keyword: (mine, judge) for keyword, (mine, judge) in pairs.items() if mine != judge}


def _yes_no(value: object) -> list[str]:
    return ["yes" if value else "no"]


def _or_none(value: str | None) -> list[str] | None:
    return None if value is None else [value]


def _at_home(paths: Sequence[str]) -> list[str]:
    """Expand ``~`` as ssh does, later than -G."""
    return [
        path.replace("~/", local_user().home + "/", 1) if path.startswith("~/") else path for path in paths
    ]


def _expanded(paths: Sequence[str], tokens: Mapping[str, str]) -> list[str]:
    """Expand the tokens that name the host, and ``~``, as ssh does, later than -G; equal paths are one."""
    whole = {
        "u": local_user().user,
        "l": local_user().hostname,
        "L": local_user().hostname.partition(".")[0],
        **tokens,
    }
    return list(
        dict.fromkeys(re.sub("%(.)", lambda found: whole[found[1]], path) for path in _at_home(paths))
    )


def _listed(lines: Sequence[str]) -> list[str]:
    return [] if lines == ["none"] else lines[0].split(" ")


def _agent(written: str) -> str | None:
    """The socket that ssh takes for what -G prints."""
    if written == "none":
        return None
    if written == "SSH_AUTH_SOCK" or written.startswith("$"):
        return os.environ.get(written.removeprefix("$")) or None
    return written


def _jump(text: str) -> str:
    """The hops as we write them; ``none`` stays where a comment stood behind it.

    ssh prints all but the last hop as they stand in the file, with a colon that no port follows.
    """
    return "" if text.lower() == "none" else re.sub(":(?=,|$)", "", text)
