"""A soak: hosts of every conduct, run after run, some of them broken off; nothing may be left after any.

    python -m tests.bench.bench_soak [HOSTS] [SEED]

HOSTS in all (2,000), in runs of about a hundred. Each run is read to its
end, or is stopped, cancelled, abandoned or left at a random moment. After
each: one ending a host, no descriptor, no child, no task, no socket of ours,
no word from asyncio. The seed is printed; the same one gives the same plan.
Needs root.
"""

from __future__ import annotations

import asyncio
import enum
import gc
import json
import logging
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from multirsh.engine.run import Run
from multirsh.events import HostFinished
from multirsh.model import ErrorKind, Host, Settings
from tests.fleets import SshServer, fleet_of, hosts_on, ssh_options
from tests.servers import scripted
from tests.servers.hooked import (
    AtClose,
    Conduct,
    HookedServer,
    answers,
    closes_without_status,
    drops,
    exits_by_signal,
    floods,
    goes_mute,
    never_ends,
)
from tests.servers.leaks import Belongings, stray_tasks
from tests.servers.loop_thread import LoopThread
from tests.servers.namespace import Namespace
from tests.servers.scripted import RefusingPort, ScriptedServer
from tests.servers.sshd import start_sshd

HOSTS: Final = 2000
SERVE: Final = "serve"
HOSTS_A_RUN: Final = 100
CONNECT_S: Final = 1.0
COMMAND_S: Final = 1.5
CLOSE_S: Final = 0.5
LONGEST_RUN_S: Final = 60.0
JUMP: Final = "127.9.9.9"

CONDUCTS: Final = {
    "answers": Conduct(session=answers(b"done\n")),
    "floods": Conduct(session=floods(3_000_000)),
    "signalled": Conduct(session=exits_by_signal("KILL")),
    "no status": Conduct(session=closes_without_status(b"partial")),
    "drops": Conduct(session=drops(b"partial")),
    "resets": Conduct(session=drops(b"partial", reset=True)),
    "mute": Conduct(session=goes_mute(b"partial")),
    "never ends": Conduct(session=never_ends),
    "never closes": Conduct(session=answers(b"done\n"), at_close=AtClose.IGNORES),
    "resets at close": Conduct(session=answers(b"done\n"), at_close=AtClose.RESETS),
    "no auth": Conduct(replies_to_auth=False),
    "no exec": Conduct(replies_to_exec=False),
}

SCRIPTS: Final = {
    "silent": scripted.SILENT,
    "deaf": scripted.NEVER_READS,
    "http": scripted.HTTP,
    "junk": scripted.JUNK,
    "binary": scripted.BINARY,
    "reset at once": scripted.RESET_AT_ONCE,
    "reset after banner": scripted.RESET_AFTER_BANNER,
    "reset mid handshake": scripted.RESET_MID_HANDSHAKE,
    "close at once": scripted.CLOSE_AT_ONCE,
    "close after banner": scripted.CLOSE_AFTER_BANNER,
    "throttled": scripted.THROTTLED_AT_ONCE,
    "fin, then holds": scripted.FIN_AFTER_BANNER_THEN_HOLDS,
}


class Interruption(enum.Enum):
    """How a run is broken off, if it is."""

    NOT = "read to its end"
    STOP = "stopped"
    ABANDON = "abandoned"
    CANCEL = "its reader cancelled"
    CANCEL_TWICE = "its reader cancelled, and again"
    LEAVE = "left by break"


@dataclass(frozen=True, slots=True)
class Pool:
    """Every kind of host there is.

    Attributes:
        kinds: Their settings, by what they do.
        known_hosts: The file that names them all.
        ports: Where their servers listen.
    """

    kinds: dict[str, Settings]
    known_hosts: Path
    ports: frozenset[int]

    def draw(self, count: int, chance: random.Random) -> list[Host]:
        """Choose hosts: half of them well, the others of any kind."""
        names = list(self.kinds)
        hosts = []
        for number in range(count):
            kind = "sshd" if chance.random() < 0.5 else chance.choice(names)
            address = f"127.1.{number // 250}.{number % 250 + 1}"
            hosts.append(Host(f"{kind}-{number}", address=address, settings=self.kinds[kind]))
        return hosts


def serve() -> None:
    """Be every server but sshd, in a process of its own, until standard input ends; say where they are."""
    with ExitStack() as stack:
        thread = LoopThread()
        stack.callback(thread.stop)
        told: dict[str, dict[str, Any]] = {}
        for kind, conduct in CONDUCTS.items():
            server = stack.enter_context(HookedServer(conduct, address="0.0.0.0"))
            told[kind] = {"port": server.port, "user": server.user, "identity": str(server.client_key)}
            told[kind]["key"] = server.host_key
        for kind, script in SCRIPTS.items():
            bare = stack.enter_context(ScriptedServer(script, address="0.0.0.0", loop_thread=thread))
            told[kind] = {"port": bare.port, "user": "root"}
        refusing = stack.enter_context(RefusingPort(address="0.0.0.0"))
        told["refusing"] = {"port": refusing.port, "user": "root"}
        print(json.dumps(told), flush=True)
        sys.stdin.read()


def build(stack: ExitStack, namespace: Namespace, folder: Path) -> Pool:
    """Start a server of every kind."""
    sshd = stack.enter_context(start_sshd(namespace=namespace))
    # One of its own, so that the jump host's connections to it are not taken for ours.
    behind = stack.enter_context(start_sshd(namespace=namespace))
    others = stack.enter_context(
        namespace.popen(
            [sys.executable, "-m", __spec__.name, SERVE], stdin=subprocess.PIPE, stderr=sys.stderr.fileno()
        )
    )
    if others.stdout is None:
        raise RuntimeError("started without a pipe")
    told = json.loads(others.stdout.readline())
    trusted = [sshd.known_hosts(["127.*"]), behind.known_hosts(["127.*"])]
    trusted += [f"[127.*]:{said['port']} {said.pop('key')}\n" for said in told.values() if "key" in said]
    kinds = {kind: Settings(**said) for kind, said in told.items()}
    kinds["sshd"] = settings_of(sshd)
    ports = frozenset(settings.port for settings in kinds.values() if settings.port is not None)
    kinds["behind sshd"] = settings_of(behind, jump=f"{sshd.user}@{JUMP}:{sshd.port}")
    known_hosts = folder / "known_hosts"
    known_hosts.write_text("".join(trusted))
    return Pool(kinds, known_hosts, ports)


def settings_of(server: SshServer, **more: object) -> Settings:
    """How to reach what ``server`` stands for."""
    (host,) = hosts_on(server, ["any"], **more)
    return host.settings


async def soak(
    pool: Pool, hosts: Sequence[Host], interruption: Interruption, after_s: float
) -> list[HostFinished]:
    """One run; the hosts' endings that its reader got."""
    ssh = ssh_options(pool.known_hosts, f"IdentityFile={pool.kinds['sshd'].identity}")
    fleet = fleet_of(hosts, ssh, connect_s=CONNECT_S, command_s=COMMAND_S, close_s=CLOSE_S)
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    ended: list[HostFinished] = []
    async with fleet:
        run = fleet.run("echo hello; sleep 0.1")
        reading = asyncio.get_running_loop().create_task(_read(run, ended, interruption, after_s))
        await _interrupt(run, reading, interruption, after_s)
    gc.collect()
    if complaints:
        raise AssertionError(f"asyncio complains: {complaints}")
    if left := await stray_tasks():
        raise AssertionError(f"tasks left: {left}")
    if run.statistics().held:
        raise AssertionError(f"leases left: {run.statistics()}")
    return ended


async def _read(run: Run, ended: list[HostFinished], interruption: Interruption, after_s: float) -> None:
    leave_at = asyncio.get_running_loop().time() + after_s
    async for event in run.events():
        if isinstance(event, HostFinished):
            ended.append(event)
        if interruption is Interruption.LEAVE and asyncio.get_running_loop().time() > leave_at:
            break


async def _interrupt(
    run: Run, reading: asyncio.Task[None], interruption: Interruption, after_s: float
) -> None:
    done, _ = await asyncio.wait([reading], timeout=after_s)
    if not done:
        match interruption:
            case Interruption.STOP:
                run.stop()
            case Interruption.ABANDON:
                run.abandon()
            case Interruption.CANCEL:
                reading.cancel()
            case Interruption.CANCEL_TWICE:
                reading.cancel()
                await asyncio.sleep(0.01)
                reading.cancel()
            case _:
                pass
    done, _ = await asyncio.wait([reading], timeout=LONGEST_RUN_S)
    if not done:
        raise AssertionError(f"a run that was {interruption.value} does not end")
    if not reading.cancelled():
        reading.result()


class Words(logging.Handler):
    """Keeps what asyncio and multirsh log: nobody should have anything to say."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.said.append(self.format(record))


def main(hosts: int = HOSTS, seed: int | None = None) -> None:
    """Run until that many hosts were used."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    chance = random.Random(seed)
    print(f"seed {seed}")
    words = Words()
    logging.getLogger().addHandler(words)
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)  # the servers here have much to complain about
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        namespace = stack.enter_context(Namespace())
        pool = build(stack, namespace, Path(folder))
        stack.enter_context(namespace.entered())
        asyncio.run(asyncio.sleep(0))
        used = 0
        told: dict[str, Counter[str]] = {kind: Counter() for kind in pool.kinds}
        while used < hosts:
            drawn = pool.draw(min(HOSTS_A_RUN, hosts - used), chance)
            interruption = chance.choice(list(Interruption))
            after_s = chance.uniform(0, 3)
            used += len(drawn)
            before = Belongings.now()
            began = time.perf_counter()
            ended = asyncio.run(soak(pool, drawn, interruption, after_s))
            seconds = time.perf_counter() - began
            _hold(drawn, ended, interruption)
            for ending in ended:
                told[ending.host.rpartition("-")[0]][_worded(ending)] += 1
            if rows := namespace.client_side(pool.ports):
                raise AssertionError(f"sockets left: {rows}")
            if new := before.added_since():
                raise AssertionError(f"left behind: {new}")
            if words.said:
                raise AssertionError(f"said: {words.said}")
            rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(f"{used:6,}  {len(ended):3} endings  {seconds:5.1f} s  {rss} MiB  {interruption.value}")
    for kind, counts in told.items():
        print(f"{kind:20} {', '.join(f'{count} {words}' for words, count in counts.most_common())}")


def _worded(ending: HostFinished) -> str:
    words = [ending.status.value]
    if ending.error is not None:
        words += [f"{ending.error.kind.value} in {ending.error.phase.value}"]
    return " ".join([*words, f"by {ending.closed_by.value}" if ending.closed_by else "by nobody"])


def _hold(drawn: Sequence[Host], endings: Sequence[HostFinished], interruption: Interruption) -> None:
    """One ending a host: all of them where the reader stayed to the end, none twice; no bug of ours."""
    ended = [ending.host for ending in endings]
    if twice := [name for name, times in Counter(ended).items() if times > 1]:
        raise AssertionError(f"ended twice: {twice}")
    if bugs := [end for end in endings if end.error and end.error.kind is ErrorKind.INTERNAL]:
        raise AssertionError(f"internal errors: {bugs}")
    stayed = interruption in {Interruption.NOT, Interruption.STOP, Interruption.ABANDON}
    if stayed and len(ended) != len(drawn):
        raise AssertionError(f"no ending: {sorted({host.name for host in drawn} - set(ended))}")


if __name__ == "__main__":
    if sys.argv[1:] == [SERVE]:
        serve()
    else:
        main(*map(int, sys.argv[1:]))
