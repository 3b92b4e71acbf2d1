"""Systems that are not Linux, as far as that can be had here: Python without Linux's own names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.program import ROOT, Ended, Program

WITHOUT = '''\
import fcntl, os, signal, socket, sys

LINUX_ALONE = {
    os: """fdatasync pidfd_open waitid waitid_result P_PID P_PGID P_PIDFD P_ALL WNOWAIT WEXITED CLD_EXITED
        CLD_KILLED pipe2 memfd_create eventfd eventfd_read eventfd_write splice copy_file_range setns
        unshare getrandom
        posix_fadvise posix_fallocate sched_getaffinity sched_setaffinity sched_setscheduler getxattr setxattr
        listxattr removexattr O_TMPFILE O_PATH O_DIRECT O_NOATIME O_LARGEFILE O_RSYNC getresuid getresgid
        setresuid setresgid""",
    signal: "SIGRTMIN SIGRTMAX SIGPWR SIGPOLL SIGCLD SIGSTKFLT sigtimedwait sigwaitinfo",
    socket: """AF_NETLINK AF_PACKET AF_VSOCK SOCK_CLOEXEC SOCK_NONBLOCK SO_PEERCRED SO_MARK SO_BINDTODEVICE
        SO_DOMAIN SO_PROTOCOL SO_PRIORITY SO_PASSCRED TCP_KEEPIDLE TCP_USER_TIMEOUT TCP_CORK TCP_QUICKACK
        TCP_DEFER_ACCEPT TCP_SYNCNT TCP_LINGER2 TCP_WINDOW_CLAMP TCP_CONGESTION IP_BIND_ADDRESS_NO_PORT
        IP_TRANSPARENT""",
    fcntl: "F_SETPIPE_SZ F_GETPIPE_SZ F_ADD_SEALS F_GET_SEALS F_OFD_SETLK F_OFD_GETLK F_OFD_SETLKW F_NOTIFY",
}
for module, names in LINUX_ALONE.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
os.process_cpu_count = os.cpu_count  # of Python 3.13, where it leans on what was deleted

import asyncio, subprocess, tempfile, threading  # whatever these do by the platform's name

sys.platform = "darwin"

import pathlib

import multirsh.linux

multirsh.linux.PROC = pathlib.Path("/nowhere")
'''
"""Run by every Python that finds it as ``sitecustomize``, before anything of multirsh is imported."""


@pytest.fixture
def elsewhere(multirsh: Program, tmp_path: Path) -> Program:
    """The program on such a system."""
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "sitecustomize.py").write_text(WITHOUT)
    multirsh.environ["PYTHONPATH"] = f"{tmp_path / 'system'}:{ROOT}"
    return multirsh


def _endings(ended: Ended) -> dict[str, tuple[object, ...]]:
    events = map(json.loads, ended.out.splitlines())
    return {
        event["host"]: (event["status"], event["exit_status"], event["signal"])
        for event in events
        if event["event"] == "host_finished"
    }


@pytest.mark.parametrize("how", [("-R", "local"), ("-R", "exec", "--exec", "sh -c %c")])
def test_local_programs_run_and_the_record_is_kept(elsewhere: Program, how: tuple[str, ...]) -> None:
    command = 'echo "$0"; case $MULTIRSH_HOST in b) exit 3;; c) kill -9 $$;; esac'
    ended = elsewhere("-w", "a,b,c", *how, "--json", command)
    assert "Traceback" not in ended.err
    assert _endings(ended) == {
        "a": ("ok", 0, None),
        "b": ("failed", 3, None),
        "c": ("signalled", None, "KILL"),
    }
    (record,) = elsewhere("runs", "--json").out.splitlines()
    assert json.loads(record)["counts"] == {"ok": 1, "failed": 1, "signalled": 1}


def test_a_local_program_is_ended_and_its_fate_is_not_claimed(elsewhere: Program, tmp_path: Path) -> None:
    ended = elsewhere("-w", "a", "-R", "local", "--json", "-u", "0.5", "echo $$; exec sleep 900")
    assert _endings(ended)["a"][0] == "timeout"
    events = [json.loads(line) for line in ended.out.splitlines()]
    (pid,) = [int(event["data"]) for event in events if event["event"] == "stdout"]
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.root
def test_ssh_runs_within_bounds_of_ports_and_the_record_is_kept(on_sshd: Program, elsewhere: Program) -> None:
    bounds = ("--ports", "20", "--bind", "127.0.0.1")
    ended = elsewhere("-f", "hosts.yaml", "-w", "h[01-03]", *bounds, "--json", "echo hi")
    assert "Traceback" not in ended.err
    assert set(_endings(ended).values()) == {("ok", 0, None)}
    (record,) = elsewhere("runs", "--json").out.splitlines()
    assert json.loads(record)["counts"] == {"ok": 3}


def test_what_the_system_is_without_is_said(elsewhere: Program) -> None:
    ended = elsewhere("ports")
    assert ended.code == 0, ended.err
    for name in ("fdatasync(2)", "pidfd_open(2)", "waitid(2)", "netlink(7)", "IP_LOCAL_PORT_RANGE"):
        assert name in ended.out


def test_linux_is_without_nothing(multirsh: Program) -> None:
    assert "Not on this system" not in multirsh("ports").out
