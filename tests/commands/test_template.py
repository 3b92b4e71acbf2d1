"""Templates: what is filled in, how it is quoted, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from multirsh.commands import template
from multirsh.commands.command import Command, Script
from multirsh.engine.fleet import Fleet
from multirsh.errors import UsageError
from multirsh.model import Host, Scalar, Settings, TransportName
from multirsh.sh_text import quoted
from multirsh.testing import FakeTransport
from tests.commands.guests import HOST, fleet_as_guest, lines, told
from tests.commands.shells import LOGIN_SHELLS, at
from tests.servers.daemon import Daemon

WEB = Host(
    "web1", settings=Settings(user="deploy"), vars={"rack": "r 1", "on": True, "n": 7, "f": 1.5, "no": None}
)

ANY_WORD = st.binary(max_size=40).map(
    lambda data: data.replace(b"\0", b"").replace(b"\n", b"").decode("utf-8", "surrogateescape")
)
"""A line feed within a word is more than csh can read."""


def filled(text: str, host: Host = WEB) -> str:
    return template.fill(
        template.parse(text), host, index=4, user="deploy", quote=lambda value: quoted(value, any_shell=True)
    )


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("uptime", "uptime"),
        ("echo {host} {user} {index}", "echo web1 deploy 4"),
        ("{var.rack}{var.n}/{var.f}/{var.on}", "'r 1'7/1.5/true"),
        ("awk '{{print $1}}'", "awk '{print $1}'"),
        ("{{{host}}}", "{web1}"),
        ("{{host}} {{{{", "{host} {{"),
    ],
)
def test_what_is_filled_in(text: str, result: str) -> None:
    assert filled(text) == result


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("awk '{print $1}'", r"\{print \$1\} is not known; known are \{host\}, .*\{\{print \$1\}\}"),
        ("find -exec {} +", r"\{\} is not known"),
        ("{hosts}", "not known"),
        ("{var.}", "not known"),
        ("{ host}", "not known"),
        ("echo {", "'{' at character 6"),
        ("echo {host", "'{' at character 6"),
        ("}; echo", "'}' at character 1"),
    ],
)
def test_what_is_no_template(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        template.parse(text)


@given(st.text(st.sampled_from("{}ab. var")))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parts = template.parse(text)
    except UsageError:
        return
    whole = "".join(
        f"{{{part.name}}}"
        if isinstance(part, template.Placeholder)
        else part.replace("{", "{{").replace("}", "}}")
        for part in parts
    )
    assert whole == text


@given(st.text(max_size=30))
def test_text_whose_braces_are_doubled_is_itself(text: str) -> None:
    assert filled(text.replace("{", "{{").replace("}", "}}")) == text


async def test_who_cannot_fill_it_is_told_before_anything_connects() -> None:
    fake = FakeTransport()
    hosts = [Host("a", vars={"rack": "r1"}), Host("b", vars={"row": "2", "x": None})]
    async with Fleet(hosts, transports={TransportName.SSH: fake}) as fleet:
        for command in (
            Command("echo {var.rack}", is_template=True),
            Command(script=Script(b"echo", ("{var.rack}",)), is_template=True),
        ):
            with pytest.raises(UsageError, match=r"^b: \{var.rack\} has no value; known are .*\{var.row\};"):
                fleet.run(command)
        with pytest.raises(UsageError, match="no value"):
            fleet.run(Command("echo {var.x}", is_template=True), hosts=hosts[1:])
        with pytest.raises(UsageError, match="too long"):
            fleet.run(
                Command("echo $MULTIRSH_RUN {var.rack}" + "x" * 131_000, is_template=True), hosts=hosts[:1]
            )
    assert fake.connections == []


async def test_each_host_gets_its_own_and_is_told_of_as_it_was_asked() -> None:
    fake = FakeTransport()
    hosts = [Host("a", settings=Settings(user="m e")), Host("c")]
    async with Fleet(hosts, transports={TransportName.SSH: fake}) as fleet:
        run = fleet.run(Command("echo {host} {index} {user}", is_template=True))
        events = [event async for event in run.events()]
        assert events[0].command == "echo {host} {index} {user}"  # type: ignore[union-attr]  # it is RunStarted
        sent = {connection.host.name: connection.commands for connection in fake.connections}
    assert sent == {"a": ["echo a 0 'm e'"], "c": ["echo c 1 user"]}


@pytest.mark.parametrize("shell", LOGIN_SHELLS)
def test_every_login_shell_takes_a_word_as_it_is(shell: str, tmp_path: Path) -> None:
    path = at(shell, tmp_path)

    @given(st.lists(ANY_WORD, min_size=1, max_size=60))
    @example(
        [
            "",
            "!",
            "'",
            "\\",
            "\\'",
            "a\\\\b",
            "!!",
            "$HOME",
            "~",
            "=ls",
            "%1",
            "*",
            "{a,b}",
            "-n",
            '"',
            "#",
            "\r\t",
        ]
    )
    def holds(words: list[str]) -> None:
        line = "printf '<%s>' " + " ".join(quoted(word, any_shell=True) for word in words)
        done = subprocess.run(
            [path, "-c", line.encode("utf-8", "surrogateescape")],
            capture_output=True,
            check=True,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
        )
        assert done.stdout == "".join(f"<{word}>" for word in words).encode("utf-8", "surrogateescape")

    holds()


@pytest.mark.root
@pytest.mark.usefixtures("no_leaks", "in_module_namespace")
class TestOnServers:
    @pytest.mark.parametrize("value", ["plain", 'it\'s $HOME; \\ !x `y` "z" *', "", 12, True])
    async def test_a_value_of_any_kind(self, by_shell: Daemon, tmp_path: Path, value: Scalar) -> None:
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        async with fleet_as_guest(by_shell, tmp_path, v=value) as fleet:
            command = Command("printf '<%s>' {var.v} {user} {index} {host}", is_template=True)
            result = await told(fleet, command)
            assert lines(result) == [f"<{shown}><{by_shell.guest}><0><{HOST}>"]
            script = Script(b"printf '<%s>' \"$@\"", ("a{var.v}", "{{{index}}}"))
            result = await told(fleet, Command(script=script, is_template=True))
            assert lines(result) == [f"<a{shown}><{{0}}>"]
