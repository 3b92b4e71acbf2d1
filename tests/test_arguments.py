"""The library's calls refuse what is of the wrong type, at once and by its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import multirsh
from multirsh.engine.fleet import Fleet
from multirsh.model import Host, Settings, TransportName
from multirsh.testing import Behaviour, FakeTransport

# Wrong types are the point, and mypy would refuse to write them.
m: Any = multirsh


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: m.Fleet("web1"), "hosts must be a sequence of Host, not str"),
        (lambda: m.Fleet(["web1"]), "hosts[0] must be Host, not str"),
        (lambda: m.Fleet(Host("a") for _ in "a"), "hosts must be a sequence of Host, not generator"),
        (lambda: m.Fleet([Host("a"), None]), "hosts[1] must be Host, not None"),
        (lambda: m.Fleet([m.Host(5)]), "Host.name must be str, not int"),
        (lambda: m.Fleet([m.Host("a", 5)]), "Host.address must be str or None, not int"),
        (lambda: m.Fleet([m.Host("a", settings={"user": "x"})]), "Host.settings must be Settings, not dict"),
        (
            lambda: m.Fleet([Host("a"), m.Host("b", settings=m.Settings(port="22"))]),
            "Settings.port must be int or None, not str",
        ),
        (
            lambda: m.Fleet([m.Host("a", settings=m.Settings(host_keys="off"))]),
            "Settings.host_keys must be HostKeyPolicy or None, not str",
        ),
        (lambda: m.Fleet([], limits=64), "limits must be Limits, not int"),
        (lambda: m.Fleet([], ssh={"user": "x"}), "ssh must be SshOptions or None, not dict"),
        (lambda: m.Fleet([], warn="print"), "warn must be a callable or None, not str"),
        (lambda: m.Fleet([], bind_address=127), "bind_address must be str or None, not int"),
        (lambda: m.run("web1", "uptime"), "hosts must be a sequence of Host, not str"),
        (lambda: m.run([Host("a")], b"uptime"), "command must be str or Command, not bytes"),
        (lambda: m.Limits(fanout="64"), "Limits.fanout must be int, not str"),
        (lambda: m.Limits(fanout=True), "Limits.fanout must be int, not bool"),
        (lambda: m.Limits(ports=20), "Limits.ports must be PortBudget, not int"),
        (lambda: m.Timeouts(connect="10"), "Timeouts.connect must be float or None, not str"),
        (lambda: m.SshOptions(overrides=["a=b"]), "SshOptions.overrides must be a tuple of str, not list"),
        (lambda: m.SshOptions(password="x"), "SshOptions.password must be PasswordSource, not str"),
        (lambda: m.RshOptions(stderr="merged"), "RshOptions.stderr must be RshStderr, not str"),
        (lambda: m.ExecOptions(template=["sh"]), "ExecOptions.template must be str or None, not list"),
        (lambda: m.PasswordSource(file="secret"), "PasswordSource.file must be Path or None, not str"),
        (lambda: m.Command(5), "Command.text must be str, not int"),
        (
            lambda: m.Command("x", environment={"A": 1}),
            "Command.environment['A'] must be str, not int",
        ),
        (lambda: m.Command("x", environment={1: "A"}), "a key of Command.environment must be str, not int"),
        (
            lambda: m.Command("x", environment=[]),
            "Command.environment must be a mapping of str to str, not list",
        ),
        (lambda: m.SshOptions(overrides=("a=b", 1)), "SshOptions.overrides[1] must be str, not int"),
        (lambda: m.Settings(user=5), "Settings.user must be str or None, not int"),
        (lambda: m.Settings(jump=5), "Settings.jump must be str or None, not int"),
        (lambda: m.Settings(user=b"x"), "Settings.user must be str or None, not bytes"),
        (lambda: m.Settings(port=True), "Settings.port must be int or None, not bool"),
        (lambda: m.Host(b"a"), "Host.name must be str, not bytes"),
        (lambda: m.Script("echo"), "Script.content must be bytes, not str"),
        (lambda: m.Sudo(0), "Sudo.user must be str, not int"),
        (lambda: m.RetryPolicy(retries="1"), "RetryPolicy.retries must be int, not str"),
        (lambda: m.RollingPlan(batches="1,10%"), "RollingPlan.batches must be Batches or None, not str"),
        (lambda: m.RollingPlan(max_fail=3), "RollingPlan.max_fail must be MaxFail or None, not int"),
        (lambda: m.Batches("1,10%"), "Batches.sizes must be a tuple of Quantity, not str"),
        (lambda: m.MaxFail(3), "MaxFail.limit must be Quantity, not int"),
        (lambda: m.CopyOptions(via="scp"), "CopyOptions.via must be Via, not str"),
        (lambda: m.PortBudget(count="9"), "PortBudget.count must be int or None, not str"),
        (lambda: m.StartRate("9"), "StartRate.per_second must be float or None, not str"),
        (lambda: m.Spool("file"), "descriptor must be int, not str"),
        (lambda: m.Inventory.load(5), "paths must be str or PathLike, not int"),
        (lambda: m.Inventory.load().select(5), "nodes must be str or a sequence of str, not int"),
        (lambda: m.Inventory.load().select("a", pick="2"), "pick must be int or None, not str"),
        (lambda: m.fold("web1"), "names must be several names, not str"),
        (lambda: m.expand(["web1"]), "text must be str, not list"),
        (lambda: Behaviour(stdout="x"), "Behaviour.stdout must be bytes, not str"),  # type: ignore[arg-type]  # on purpose
    ],
)
def test_a_wrong_type_is_refused_where_it_is_given(make: Callable[[], object], words: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(words)}$"):
        make()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda f: f.run(5), "command must be str or Command, not int"),
        (lambda f: f.run("x", stdin="abc"), "stdin must be bytes, Stdin or None, not str"),
        (lambda f: f.run("x", stdin=5), "stdin must be bytes, Stdin or None, not int"),
        (lambda f: f.run("x", hosts=["a"]), "hosts[0] must be Host, not str"),
        (lambda f: f.run("x", sudo="root"), "sudo must be Sudo or None, not str"),
        (lambda f: f.run("x", retry=3), "retry must be RetryPolicy, not int"),
        (lambda f: f.run("x", fail_fast="yes"), "fail_fast must be bool, not str"),
        (lambda f: f.run("x", gate="true"), "gate must be a callable or None, not str"),
        (lambda f: f.run("x", journal="dir"), "journal must be Record, not str"),
        (lambda f: f.push("file", "/tmp"), "sources must be a sequence of str, bytes or PathLike, not str"),
        (lambda f: f.push(["f", 5], "/tmp"), "sources[1] must be str, bytes or PathLike, not int"),
        (lambda f: f.push([__file__], "/tmp", "-r"), "options must be CopyOptions or None, not str"),
        (lambda f: f.push([__file__], "/tmp", fail_fst=True), "there is no parameter 'fail_fst'"),
        (lambda f: f.push([__file__], "/tmp", hosts=["a"]), "hosts[0] must be Host, not str"),
        (lambda f: f.pull("f", "."), "sources must be a sequence of str, bytes or PathLike, not str"),
        (lambda f: f.pull(["f"], 5), "destination must be str, bytes or PathLike, not int"),
    ],
)
async def test_a_run_refuses_a_wrong_type(call: Callable[[Any], object], words: str) -> None:
    fake = FakeTransport()
    async with Fleet([Host("a")], transports={TransportName.SSH: fake}) as fleet:
        with pytest.raises(TypeError, match=f"^{re.escape(words)}$"):
            call(fleet)
    assert not fake.connections


async def test_what_the_annotations_allow_is_taken() -> None:
    warned: list[str] = []
    hosts = (Host("a", settings=Settings(port=22)), Host("b", "10.0.0.1"))
    async with Fleet(
        hosts,
        timeouts=multirsh.Timeouts(connect=3, command=None),
        transports={"ssh": FakeTransport()},
        warn=warned.append,
    ) as fleet:
        results = await fleet.run(multirsh.Command("x"), stdin=b"", hosts=[hosts[1]]).gather()
    assert list(results) == ["b"]


def test_a_value_that_is_refused_is_not_shown() -> None:
    with pytest.raises(TypeError) as refused:
        m.SshOptions(password="the-secret")
    assert "the-secret" not in str(refused.value)
