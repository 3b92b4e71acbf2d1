"""What exec refuses before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from multirsh.errors import UsageError
from multirsh.model import Host, Settings
from multirsh.transports.exec.transport import ExecTransport
from multirsh.transports.options import ExecOptions


async def refusal(template: str | None, host: Host, **settings: object) -> str:
    said = Settings(**settings)  # type: ignore[arg-type]  # by name
    with pytest.raises(UsageError) as raised:
        await ExecTransport(ExecOptions(template=template, settings=said)).prepare([host])
    return str(raised.value)


async def test_what_is_wrong_for_all_is_said_once_and_before(tmp_path: Path) -> None:
    a, no_program = Host("a"), tmp_path / "no-program"
    assert await refusal(None, a) == (
        "exec needs to know what program reaches a host; say it, such as "
        "--exec 'kubectl exec -i %h -- sh -c %c'"
    )
    assert "there is no program 'kubbectl' in PATH" in await refusal("kubbectl %c", a)
    assert f"{no_program} cannot be started: no such file" in await refusal(f"{no_program} %c", a)
    no_program.write_text("")
    assert f"{no_program} cannot be started: it may not be executed" in await refusal(f"{no_program} %c", a)


async def test_what_a_host_does_not_say_is_asked_for_by_name() -> None:
    assert "a: --exec has %u, and no user is said; give -l USER" in await refusal("sh %u %c", Host("a"))
    assert "a: --exec has %p, and no port is said; give -p PORT" in await refusal("sh %p %c", Host("a"))
    assert "a: exec cannot go through a jump host (b)" in await refusal("sh %c", Host("a"), jump="b")


async def test_a_user_is_nothing_to_a_shell_that_the_program_may_be() -> None:
    refused = await refusal("sh -c 'echo %u' %c", Host("a"), user="a$HOME")
    assert "a: %u in --exec cannot be 'a$HOME': it holds '$'" in refused
    await ExecTransport(ExecOptions(template="sh %c", settings=Settings(user="WEB$"))).prepare([Host("a")])


async def test_a_program_that_differs_by_host_is_not_looked_for() -> None:
    await ExecTransport(ExecOptions(template="/nowhere/%h %c")).prepare([Host("a")])
