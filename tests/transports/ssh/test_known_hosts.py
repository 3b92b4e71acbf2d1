"""Host keys: what the files say, what is thought of a key, and the one writer."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import stat
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.errors import CredentialError
from multirsh.model import HostKeyPolicy
from multirsh.transports.ssh.known_hosts import KnownHosts, KnownKey, Trust, VerdictKind, judge
from multirsh.transports.ssh.known_hosts import files as room
from multirsh.transports.ssh.known_hosts.trust import (
    SALT_BYTES,
    Index,
    file_name,
    hashed_name,
    read_certificate,
    read_key,
)
from tests.transports.ssh.known_hosts_lookups import differences

needs_keygen = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="needs ssh-keygen, to compare with"
)


def new_key(kind: str = "ssh-ed25519") -> asyncssh.SSHKey:
    return asyncssh.generate_private_key(kind).convert_to_public()


ED1, ED2, EC1, CA = new_key(), new_key(), new_key("ecdsa-sha2-nistp256"), new_key()


def worded(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode().strip()


def read(tmp_path: Path, *lines: str) -> KnownHosts:
    path = tmp_path / "known_hosts"
    path.write_text("".join(f"{line}\n" for line in lines))
    return KnownHosts.read([str(path)])


# ---------------------------------------------------------------- looking up


def test_names_lists_ports_and_case(tmp_path: Path) -> None:
    known = read(
        tmp_path,
        "# a comment",
        "",
        f"web1,WEB2,10.0.0.1 {worded(ED1)} and a comment",
        f"[web1]:2222 {worded(ED2)}",
        f"*.example.com,!db.example.com {worded(EC1)}",
    )
    assert known.lookup("web1").host_keys == [ED1]
    assert known.lookup("Web2", 22).host_keys == [ED1]
    assert known.lookup("10.0.0.1").host_keys == [ED1]
    assert known.lookup("web1", 2222).host_keys == [ED2]
    assert known.lookup("a.Example.com").host_keys == [EC1]
    assert known.lookup("db.example.com").host_keys == []
    assert known.lookup("nobody").host_keys == []
    assert str(known.lookup("web1", 2222).known[0]) == f"{tmp_path}/known_hosts:4"


def test_a_port_without_an_entry_falls_back_to_the_name(tmp_path: Path) -> None:
    trust = read(tmp_path, f"web1 {worded(ED1)}").lookup("web1", 2222)
    assert (trust.known, trust.host_keys) == ((), [ED1])
    assert judge(trust, ED1, HostKeyPolicy.STRICT).kind is VerdictKind.TRUSTED
    # Another key on another port may be another machine.
    assert judge(trust, ED2, HostKeyPolicy.STRICT).kind is VerdictKind.UNKNOWN
    assert judge(trust, ED2, HostKeyPolicy.ACCEPT_NEW).kind is VerdictKind.NEW


def test_markers(tmp_path: Path) -> None:
    known = read(
        tmp_path,
        f"@cert-authority *.example.com {worded(CA)}",
        f"@revoked * {worded(ED2)}",
        f"a.example.com {worded(ED1)}",
    )
    trust = known.lookup("a.example.com", 2222)
    assert [known.key for known in trust.authorities] == [CA]
    assert [known.key for known in trust.revoked] == [ED2]
    assert trust.host_keys == [ED1]
    assert known.lookup("other").authorities == ()


def test_hashed_names(tmp_path: Path) -> None:
    lines = [
        f"{hashed_name(file_name(name, port), os.urandom(SALT_BYTES))} {worded(key)}"
        for name, port, key in [("web1", 22, ED1), ("web1", 2222, ED2), ("web2", 22, EC1), ("web1", 22, EC1)]
    ]
    known = read(tmp_path, *lines)
    assert known.lookup("web2").host_keys == [EC1]
    assert known.lookup("WEB1").host_keys == [ED1, EC1]
    assert known.lookup("web1", 2222).host_keys == [ED2]
    assert known.lookup("web3").host_keys == []
    assert known.warnings == ()


def test_files_are_read_in_order_and_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "user").write_text(f"web1 {worded(ED1)}\n")
    (tmp_path / "global").write_text(f"web1 {worded(ED2)}\n")
    known = KnownHosts.read(
        [str(tmp_path / "none"), str(tmp_path / "user")], [str(tmp_path / "global"), "/no/such"]
    )
    assert known.lookup("web1").host_keys == [ED1, ED2]


def test_malformed_lines_are_passed_over_and_told(tmp_path: Path) -> None:
    known = read(
        tmp_path,
        "web1",
        f"@nonsense web1 {worded(ED1)}",
        f"|1|bad|bad {worded(ED1)}",
        "web1 1024 35 1234567",
        f"web1 {worded(ED2)}",
        "web1 ssh-ed25519 AAAA",
    )
    assert known.lookup("web1").host_keys == [ED2]
    path = tmp_path / "known_hosts"
    assert known.warnings == (
        f"{path}: 5 lines passed over, first line 1: a line is names, a key's type and the key",
    )


def test_a_folder_in_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match=r"cannot be read: Is a directory"):
        KnownHosts.read([str(tmp_path)])


def test_revoked_host_keys(tmp_path: Path) -> None:
    revoked = tmp_path / "revoked"
    revoked.write_text(f"# gone\n{worded(ED1)}\n")
    known = KnownHosts.read([], [], revoked_file=str(revoked))
    verdict = judge(known.lookup("any"), ED1, HostKeyPolicy.OFF)
    assert (verdict.kind, str(verdict.entry)) == (VerdictKind.REVOKED, f"{revoked}:2")
    revoked.write_bytes(b"SSHKRL\n\0binary")
    with pytest.raises(CredentialError, match="binary KRL"):
        KnownHosts.read([], revoked_file=str(revoked))
    revoked.write_text("no key\n")
    with pytest.raises(CredentialError, match="revoked:1: this is no public key"):
        KnownHosts.read([], revoked_file=str(revoked))
    with pytest.raises(CredentialError, match="No such file"):
        KnownHosts.read([], revoked_file="/no/such")


def test_a_marker_ends_as_it_does_for_ssh(tmp_path: Path) -> None:
    tabs = worded(ED1).split()[:2]
    known = read(
        tmp_path,
        f"@cert-authority\tweb1 {worded(CA)}",
        "@revoked\tweb2\t{}\t{}".format(*tabs),
        f"@revoked @cert-authority web1 {worded(CA)}",
        "@cert-authority\tweb1\t{}\t{} ".format(*worded(CA).split()[:2]),  # a space at the end is one, too
    )
    assert known.lookup("web1") == Trust()
    assert [key.line for key in known.lookup("web2").revoked] == [2]
    path = tmp_path / "known_hosts"
    assert known.warnings == (
        f"{path}: 3 lines passed over, first line 1: a space must follow @cert-authority, not a tab",
    )


@pytest.mark.parametrize("ending", [",junk", ",web1", "=", "|", "|x", " "])
def test_a_hashed_name_is_as_ssh_writes_it_or_counts_for_nothing(tmp_path: Path, ending: str) -> None:
    hashed = hashed_name("web1", os.urandom(SALT_BYTES))
    assert read(tmp_path, f"{hashed} {worded(ED1)}").lookup("web1").host_keys == [ED1]
    known = read(tmp_path, f"{hashed}{ending}{'' if ending == ' ' else ' '}{worded(ED1)}")
    assert known.lookup("web1").host_keys == ([ED1] if ending == " " else [])


def test_a_certificate_in_a_line_can_revoke_its_key_and_cannot_make_it_known(tmp_path: Path) -> None:
    """As in ssh: a line that revokes is never passed over for being a certificate."""
    private = asyncssh.generate_private_key("ssh-ed25519")
    certificate = private.generate_host_certificate(private, "x", principals=["web1"])
    line = certificate.export_certificate().decode().strip()
    key = private.convert_to_public()
    trust = read(tmp_path, f"@revoked web1 {line}", f"web2 {line}").lookup("web1")
    assert judge(trust, key, HostKeyPolicy.OFF).kind is VerdictKind.REVOKED
    known = KnownHosts.read([str(tmp_path / "known_hosts")]).lookup("web2")
    assert judge(known, key, HostKeyPolicy.ACCEPT_NEW).kind is VerdictKind.CHANGED
    revoked = tmp_path / "revoked"
    revoked.write_text(f"{line}\n")
    listed = KnownHosts.read([], revoked_file=str(revoked)).lookup("web3")
    assert judge(listed, key, HostKeyPolicy.OFF).kind is VerdictKind.REVOKED


def test_names_are_lowered_as_ascii(tmp_path: Path) -> None:
    """The Kelvin sign is no k, although its lower case is one."""
    known = read(tmp_path, f"\u212aeep {worded(ED1)}", f"KEEP2 {worded(ED2)}")
    assert known.lookup("keep") == Trust()
    assert known.lookup("keep2").host_keys == [ED2]


@pytest.mark.parametrize("part", range(4))
def test_2000_look_ups_end_as_by_ssh_keygen(part: int, tmp_path: Path) -> None:
    """``tests.bench.bench_known_hosts`` does 100,000."""
    assert not differences(range(part * 500, (part + 1) * 500), tmp_path)


@given(text=st.text())
def test_any_line_is_an_entry_or_says_why_not(text: str) -> None:
    index = Index()
    try:
        index.add(text, source="f", line=1)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - many texts are comments or entries
    index.find("web1")


@given(text=st.text())
def test_any_text_is_a_key_or_none(text: str) -> None:
    assert read_key(text) is None


PRIVATE = asyncssh.generate_private_key("ssh-ed25519")
SIGNED = PRIVATE.generate_host_certificate(PRIVATE, "x", principals=["web1"]).public_data


@given(at=st.integers(0, len(SIGNED) - 1), change=st.integers(0, 255), cut=st.booleans())
def test_a_certificate_that_was_altered_is_none(at: int, change: int, *, cut: bool) -> None:
    altered = SIGNED[:at] if cut else bytes((*SIGNED[:at], SIGNED[at] ^ change, *SIGNED[at + 1 :]))
    if altered == SIGNED:
        assert not read_certificate(altered, name="web1", now=0).flaw
    else:
        with pytest.raises(asyncssh.KeyImportError):
            read_certificate(altered, name="web1", now=0)


def test_a_users_certificate_is_not_a_hosts() -> None:
    blob = PRIVATE.generate_user_certificate(PRIVATE, "x", principals=["web1"]).public_data
    assert read_certificate(blob, name="web1", now=0).flaw == "it is a user's and not a host's"


# ---------------------------------------------------------------- judging

E1, E2, C1 = (KnownKey(key, "f", line) for line, key in enumerate((ED1, ED2, EC1), 1))
SETS: dict[str, Trust] = {
    "nothing": Trust(),
    "same": Trust(known=(E1,)),
    "same among others": Trust(known=(C1, E2, E1)),
    "other of the type": Trust(known=(E2,)),
    "other types": Trust(known=(C1,)),
    "other type and type": Trust(known=(C1, E2)),
    "elsewhere same": Trust(known_elsewhere=(E1,)),
    "elsewhere other": Trust(known_elsewhere=(E2,)),
    "authority": Trust(authorities=(E2,)),
    "revoked": Trust(revoked=(E1,)),
    "revoked and known": Trust(known=(E1,), revoked=(E1,)),
    "revoked another": Trust(known=(E1,), revoked=(E2,)),
}
T, N, U = VerdictKind.TRUSTED, VerdictKind.NEW, VerdictKind.UNKNOWN
X, R, O = VerdictKind.CHANGED, VerdictKind.REVOKED, VerdictKind.UNCHECKED  # noqa: E741 - a table of letters
STRICT, ACCEPT, OFF = HostKeyPolicy.STRICT, HostKeyPolicy.ACCEPT_NEW, HostKeyPolicy.OFF
VERDICTS: dict[str, tuple[VerdictKind, VerdictKind, VerdictKind, KnownKey | None]] = {
    "nothing": (U, N, O, None),
    "same": (T, T, T, E1),
    "same among others": (T, T, T, E1),
    "other of the type": (X, X, O, E2),
    "other types": (X, X, O, C1),
    "other type and type": (X, X, O, E2),
    "elsewhere same": (T, T, T, E1),
    "elsewhere other": (U, N, O, None),
    "authority": (U, N, O, None),
    "revoked": (R, R, R, E1),
    "revoked and known": (R, R, R, E1),
    "revoked another": (T, T, T, E1),
}


@pytest.mark.parametrize(("case", "policy"), list(itertools.product(SETS, HostKeyPolicy)))
def test_judge(case: str, policy: HostKeyPolicy) -> None:
    verdict = judge(SETS[case], ED1, policy)
    strict, accept, off, entry = VERDICTS[case]
    assert verdict.kind is {STRICT: strict, ACCEPT: accept, OFF: off}[policy]
    assert verdict.entry == entry
    assert verdict.accepted == (verdict.kind in {T, N, O})


def test_every_verdict_is_in_the_table() -> None:
    assert {kind for row in VERDICTS.values() for kind in row[:3]} == set(VerdictKind)


# ---------------------------------------------------------------- writing


def test_a_new_key_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "new/.ssh/known_hosts"
    known = KnownHosts.read([str(path)])
    assert known.remember("Web1", 22, ED1).kind is N
    assert known.remember("web1", 22, ED1).kind is T
    assert known.remember("web1", 22, ED2).kind is X
    assert known.remember("web1", 2222, ED2).kind is N
    assert path.read_text() == f"web1 {worded(ED1)}\n[web1]:2222 {worded(ED2)}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert str(known.lookup("web1", 2222).known[0]) == f"{path}:2"
    again = KnownHosts.read([str(path)])
    assert again.lookup("web1").host_keys == [ED1]


@needs_keygen
def test_hashed_names_are_found_by_ssh(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    known = KnownHosts.read([str(path)])
    assert known.remember("web1", 2222, ED1, hashed=True).kind is N
    assert known.remember("web1", 2222, ED1, hashed=True).kind is T
    assert "web1" not in path.read_text()
    found = subprocess.run(
        ["ssh-keygen", "-F", "[web1]:2222", "-f", str(path)], capture_output=True, check=False
    )
    assert found.returncode == 0


def test_a_missing_last_line_end_glues_nothing(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"web1 {worded(ED1)}")
    known = KnownHosts.read([str(path)])
    assert known.remember("web2", 22, ED2).kind is N
    assert path.read_text() == f"web1 {worded(ED1)}\nweb2 {worded(ED2)}\n"
    assert str(known.lookup("web2").known[0]) == f"{path}:2"


def test_what_others_wrote_meanwhile_counts(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    known = KnownHosts.read([str(path)])
    assert known.lookup("web1").host_keys == []
    with path.open("a") as file:
        file.write(f"web1 {worded(ED1)}\n{hashed_name('web2', os.urandom(SALT_BYTES))} {worded(ED1)}\n")
    assert known.remember("web1", 22, ED1).kind is T
    assert known.remember("web2", 22, ED2).kind is X
    assert known.remember("web3", 22, ED2).kind is N
    assert str(known.lookup("web3").known[0]) == f"{path}:3"
    assert len(path.read_text().splitlines()) == 3


def test_a_file_that_was_replaced_or_edited_is_read_anew(tmp_path: Path) -> None:
    known = read(tmp_path, f"web1 {worded(ED1)}", f"web2 {worded(ED1)}")
    path = tmp_path / "known_hosts"
    (tmp_path / "other").write_text(f"web2 {worded(ED2)}\n")
    (tmp_path / "other").replace(path)
    assert known.remember("web1", 22, ED2).kind is N
    assert known.lookup("web2").host_keys == [ED2]
    path.write_text(f"web9 {worded(ED1)}\n" * 5)
    assert known.remember("web1", 22, ED1).kind is N
    assert known.remember("web9", 22, ED1).kind is T


@pytest.mark.parametrize("name", ["a*", "!a", "a,b", "a b", "[a]", "@a", "a#", "", "a\nb", 'a"'])
def test_a_name_that_would_mean_something_else_is_not_written(tmp_path: Path, name: str) -> None:
    known = KnownHosts.read([str(tmp_path / "known_hosts")])
    assert known.remember(name, 22, ED1).kind is U
    assert not (tmp_path / "known_hosts").exists()


def test_without_a_users_file_nothing_is_accepted(tmp_path: Path) -> None:
    assert KnownHosts.read([]).remember("web1", 22, ED1).kind is U


def test_dev_null_remembers_for_the_run() -> None:
    known = KnownHosts.read(["/dev/null"])
    assert known.remember("web1", 22, ED1).kind is N
    assert known.remember("web1", 22, ED1).kind is T
    assert known.remember("web1", 22, ED2).kind is X


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = read(tmp_path, f"web1 {worded(ED1)}")
    before = (tmp_path / "known_hosts").read_bytes()

    def half(descriptor: int, text: bytes) -> int:
        return posix_write(descriptor, text[: len(text) // 2])

    posix_write = os.write
    monkeypatch.setattr(os, "write", half)
    with pytest.raises(CredentialError, match="No space left"):
        known.remember("web2", 22, ED2)
    monkeypatch.undo()
    assert (tmp_path / "known_hosts").read_bytes() == before
    assert known.remember("web2", 22, ED2).kind is N


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    known = KnownHosts.read([str(tmp_path / "file/known_hosts")])
    with pytest.raises(CredentialError, match="cannot be written"):
        known.remember("web1", 22, ED1)


def test_a_lock_that_is_never_let_go_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOCK_TIMEOUT_S", 0.02)
    known = read(tmp_path)
    with room._locked(str(tmp_path / "known_hosts")), pytest.raises(CredentialError, match="stays locked"):
        known.remember("web1", 22, ED1)


def test_500_first_contacts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    known = KnownHosts.read([str(path)])
    start = threading.Barrier(16)

    def meet(worker: int) -> list[VerdictKind]:
        start.wait()
        return [known.remember(f"web{n % 250}", 22, ED1).kind for n in range(worker, 500, 16)]

    with ThreadPoolExecutor(16) as pool:
        verdicts = list(itertools.chain.from_iterable(pool.map(meet, range(16))))
    assert sorted(kind.value for kind in verdicts) == ["new"] * 250 + ["trusted"] * 250
    assert sorted(path.read_text().splitlines()) == sorted(f"web{n} {worded(ED1)}" for n in range(250))


def meet_in_process(path: str, keys: tuple[str, str], worker: int) -> list[str]:
    """Meet 60 hosts; the workers show different keys for every third."""
    known = KnownHosts.read([path])
    mine = asyncssh.import_public_key(keys[worker % 2])
    common = asyncssh.import_public_key(keys[0])
    return [known.remember(f"web{n}", 22, common if n % 3 else mine).kind.value for n in range(60)]


def test_several_processes_write_each_host_once(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    keys = (worded(ED1), worded(ED2))
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        met = pool.starmap(meet_in_process, [(str(path), keys, worker) for worker in range(3)])
    names_written = [line.split()[0] for line in path.read_text().splitlines()]
    assert sorted(names_written) == sorted(f"web{n}" for n in range(60))
    verdicts = list(itertools.chain.from_iterable(met))
    assert verdicts.count("new") == 60
    assert verdicts.count("changed") > 0
    assert set(verdicts) <= {"new", "trusted", "changed"}
    for host, *seen in zip(range(60), *met, strict=True):
        assert seen.count("new") == 1
        assert host % 3 == 0 or "changed" not in seen


def test_10_000_lines_are_read_and_searched_quickly(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    key = worded(ED1)
    path.write_text("".join(f"web{n} {key}\n" for n in range(10_000)))
    start = time.process_time()
    known = KnownHosts.read([str(path)])
    assert all(known.lookup(f"web{n}").known for n in range(0, 10_000, 10))
    assert time.process_time() - start < 3
    path.write_text(
        "".join(f"{hashed_name(f'web{n}', os.urandom(SALT_BYTES))} {key}\n" for n in range(10_000))
    )
    known = KnownHosts.read([str(path)])
    start = time.process_time()
    assert known.lookup("web9999").host_keys == [ED1]
    once = time.process_time() - start
    assert once < 1  # about 15 ms
    start = time.process_time()
    assert known.lookup("web9999").host_keys == [ED1]
    assert time.process_time() - start < once / 10
