"""A host whose limits SFTP has no words for: what a shell beside it says is told, once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from multirsh.files.sftp.packets import PacketType, StatusCode, string, u32
from tests.conftest import StartHooked
from tests.files.evil import FOLDER, EvilSftp, Node
from tests.program import Program
from tests.servers.hooked import Conduct, HookedServer, Link, Process

pytestmark = pytest.mark.usefixtures("no_leaks")


class Refusing(EvilSftp):
    """Makes no files, and says no more than that it has failed."""

    def _answer(self, kind: PacketType, number: int, *asked: Any) -> bytes:
        if kind is PacketType.OPEN:
            return (
                bytes([PacketType.STATUS])
                + u32(number)
                + u32(StatusCode.FAILURE)
                + string(b"Failure")
                + string(b"")
            )
        return super()._answer(kind, number, *asked)


async def _pass_on(source: Any, target: Any) -> None:
    while data := await source.read(4096):
        target.write(data)
    target.write_eof()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("dd: error writing 'x': Disk quota exceeded", "the disk quota on the host is used up"),
        ("dd: failed to open 'x': No space left on device", "no space left on the host"),
    ],
)
def test_what_a_host_has_run_out_of_is_told_once(
    multirsh: Program, hooked: StartHooked, tmp_path: Path, said: str, told: str
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "dd").write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 1\n')
    (programs / "dd").chmod(0o755)

    served: list[Process] = []

    async def session(process: Process, link: Link) -> None:
        served.append(process)
        if len(served) == 1:  # the SFTP server, and then a shell
            await Refusing({b"there": Node(FOLDER)}).session(process, link)
            return
        shell = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            process.command or "",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": f"{programs}:/usr/bin:/bin"},
        )
        assert shell.stdin is not None
        assert shell.stdout is not None
        async with asyncio.TaskGroup() as group:
            group.create_task(_pass_on(process.stdin, shell.stdin))
            group.create_task(_pass_on(shell.stdout, process.stdout))
        process.exit(await shell.wait())

    server = hooked(Conduct(session=session))
    assert isinstance(server, HookedServer)
    multirsh.knows(server, 1)
    multirsh.write("hosts.yaml", "hosts:\n  - h01: {address: 127.0.0.1}\n")
    multirsh.write(".ssh/known_hosts", server.known_hosts(["127.0.0.1"]))
    files = [multirsh.write(name, "x") for name in ("a", "b", "c")]

    done = multirsh("push", "-f", "hosts.yaml", "-w", "h01", *files, "there")

    assert done.code == 5, done.err
    assert done.err.count(told) == 2, done.err  # the file's line, and the summary
