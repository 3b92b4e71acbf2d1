"""A password is given once a connection, or asked for when it is needed."""

from __future__ import annotations

import asyncio

from multirsh.transports.passwords import Password
from multirsh.transports.ssh.login_passwords import PASSWORD_ATTEMPTS, AskedPassword, GivenPassword


async def test_a_given_password_is_given_once_a_connection() -> None:
    given = GivenPassword(Password("open"))
    assert await given.give(1) is given.password
    assert await given.give(2) is None
    assert await given.give(1) is given.password
    assert "open" not in repr(given)


async def test_a_person_is_asked_once_for_all_and_again_only_after_a_refusal() -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return f"answer {len(asked)}"

    password = AskedPassword(ask, "ops@jump's password: ")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(password.give(1)) for _ in range(2)]
    first, beside = (task.result() for task in tasks)
    assert first is beside
    assert first is not None
    assert (first.reveal(), asked) == ("answer 1", ["ops@jump's password: "])
    again = await password.give(2)
    assert again is not None
    assert again.reveal() == "answer 2"
    assert await password.give(PASSWORD_ATTEMPTS + 1) is None
    assert len(asked) == 2
