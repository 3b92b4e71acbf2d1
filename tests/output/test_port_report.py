"""Both reports as people see them, and as programs read them."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from multirsh.output.port_report import port_report
from multirsh.output.ports_formatting import MEANING, address, seconds
from multirsh.output.ports_json import port_json, survey_json
from multirsh.output.ports_survey import survey_report
from multirsh.output.tables import rendered
from multirsh.ports.diagnosis import (
    Attempt,
    BindAnswer,
    FindingKind,
    Holder,
    PortReport,
    Situation,
    Survey,
    diagnose_port,
    survey,
    usual_attempts,
)
from multirsh.ports.sockets import Endpoint, TcpSocket, TcpState
from multirsh.ports.sysctls import KernelPorts
from tests.ports.test_diagnosis import holders, kernels, tables

HERE, THERE = "192.0.2.1", "2001:db8:0:1:2222:3333:4444:5555"
KERNEL = KernelPorts(tw_reuse=0, ephemeral=range(40000, 40100))
WORKS_WITH_IT = {
    attempt: BindAnswer.WORKS if attempt.reuse_address else BindAnswer.IN_USE for attempt in usual_attempts()
}


def time_wait(port: int, *, left: float = 42.3) -> TcpSocket:
    return TcpSocket(TcpState.TIME_WAIT, Endpoint(HERE, port), Endpoint(THERE, 50000), left)


def listener(port: int = 8080) -> TcpSocket:
    return TcpSocket(TcpState.LISTEN, Endpoint("::", port), Endpoint("::", 0), None, 1, 33)


def user(uid: int) -> str:
    return {33: "www-data"}.get(uid, str(uid))


def words(report: Survey | PortReport, *, width: int = 80, color: bool = False, brief: bool = False) -> str:
    parts = (
        survey_report(report, user, brief=brief)
        if isinstance(report, Survey)
        else port_report(report, user, brief=brief)
    )
    return rendered(parts, width=width, color=color)


def plain(text: str) -> str:
    """Without how it is broken into lines."""
    return " ".join(text.split())


# ---------------------------------------------------------------- for people


def test_the_answer_comes_first() -> None:
    report = diagnose_port(8080, [time_wait(8080)], KERNEL, {}, answers=WORKS_WITH_IT)

    first, second, *_ = words(report, width=100).split("\n")
    assert first == "Port 8080: no program has it open, but the kernel still keeps it for 43 s."
    assert second == 'A new server gets it with SO_REUSEADDR; without, bind(2) says "Address already in use".'
    assert "TIME_WAIT at 192.0.2.1:8080 had SO_REUSEADDR, too" in plain(words(report))


@pytest.mark.parametrize(
    ("rows", "answers", "said"),
    [
        ([], dict.fromkeys(usual_attempts(), BindAnswer.WORKS), "Port 8080 is free. A new server gets it."),
        (
            [listener()],
            dict.fromkeys(usual_attempts(), BindAnswer.IN_USE),
            'Port 8080: shopd (pid 7) listens on it. A new server does not get it: bind(2) says "Address',
        ),
        (
            [],
            dict.fromkeys(usual_attempts(), BindAnswer.IN_USE),
            "Port 8080: nothing shows, and yet it is in use.",
        ),
        (None, {}, "Port 8080: what has it is not known here."),
        (
            [TcpSocket(TcpState.ESTABLISHED, Endpoint(HERE, 8080), Endpoint(THERE, 50000), None, 1)],
            None,
            "Port 8080: no program listens, but a server's connections are still open: 1.",
        ),
        (
            [TcpSocket(TcpState.CLOSE, Endpoint(HERE, 8080), Endpoint(HERE, 0), None, 1)],
            None,
            "Port 8080: shopd (pid 7) has bound it, and does not listen.",
        ),
    ],
)
def test_every_situation_has_its_sentence(
    rows: list[TcpSocket] | None, answers: dict[Attempt, BindAnswer] | None, said: str
) -> None:
    report = diagnose_port(8080, rows, KERNEL, {1: [Holder(7, "shopd")]}, answers=answers)
    assert plain(words(report)).startswith(said)


def test_a_listener_for_ipv6_alone_leaves_ipv4() -> None:
    def said(answers: dict[Attempt, BindAnswer] | None) -> str:
        return plain(
            words(diagnose_port(8080, [listener()], KERNEL, {1: [Holder(7, "shopd")]}, answers=answers))
        )

    v4_works = {one: BindAnswer.IN_USE if one.is_v6 else BindAnswer.WORKS for one in usual_attempts()}
    assert "A new server gets it at 0.0.0.0 alone." in said(v4_works)
    assert "LISTEN at [::]:8080 is for IPv6 alone" in said(v4_works)
    assert "depends on what the table does not show" in said(None)


def test_a_port_that_may_not_be_bound_is_reported_as_such() -> None:
    answers = dict.fromkeys(usual_attempts(), BindAnswer.NOT_PERMITTED)
    text = plain(words(diagnose_port(80, [], KERNEL, {}, answers=answers)))
    assert "Ports below 1024 need CAP_NET_BIND_SERVICE, which you do not have" in text
    assert "setcap cap_net_bind_service=+ep PROGRAM" in text


def test_whose_it_is_as_far_as_one_can_know() -> None:
    assert "a program of www-data" in words(diagnose_port(8080, [listener()], KERNEL, {}))
    many = [Holder(pid, "nginx") for pid in (11, 12, 13, 14, 15)]
    assert "nginx (pid 11, 12, 13 and 2 more)" in words(
        diagnose_port(8080, [listener()], KERNEL, {1: many}), width=100
    )


def test_a_programs_name_has_no_power_over_the_terminal() -> None:
    evil = Holder(7, "\x1b]52;c;x\x07[red]\n")
    text = words(diagnose_port(8080, [listener()], KERNEL, {1: [evil]}), width=100)
    assert "\x1b" not in text
    assert "\\x1b]52;c;x\\x07[red]\\x0a" in text
    rows = [
        TcpSocket(TcpState.CLOSE_WAIT, Endpoint(HERE, 8080), Endpoint(THERE, 50000 + n), None, 1)
        for n in range(30)
    ]
    assert "\x1b" not in words(survey(rows, KERNEL, {1: [evil]}))


def test_a_warning_says_what_to_do_and_what_not_to_touch() -> None:
    text = plain(words(survey([time_wait(40000 + n) for n in range(90)], KERNEL, {})))
    assert "90 of the 100 ports there are for connections to [2001:db8:0:1:2222:3333:4444:5555]:50000" in text
    assert "sysctl -w net.ipv4.tcp_tw_reuse=1" in text
    assert "Leave alone: net.ipv4.tcp_tw_recycle" in text
    assert "Nothing here needs your attention" not in text
    assert "Nothing here needs your attention." in plain(words(survey([], KERNEL, {})))


def test_without_a_table_it_says_so() -> None:
    text = plain(words(survey(None, KERNEL, {})))
    assert "The kernel's table of sockets cannot be read here" in text
    assert "100 ports for connections" in text
    assert "Nothing here needs your attention" not in text


def test_a_brief_look_fits_into_a_small_window() -> None:
    rows = [listener(), *(time_wait(40000 + n) for n in range(90))]
    assert len(words(survey(rows, KERNEL, {}), brief=True).split("\n")) < 22
    report = diagnose_port(8080, [listener(), time_wait(8080)], KERNEL, {}, answers=WORKS_WITH_IT)
    assert len(words(report, brief=True).split("\n")) < 22


def test_colour_adds_nothing_but_colour() -> None:
    report = diagnose_port(8080, [listener()], KERNEL, {}, answers=WORKS_WITH_IT)
    colored = words(report, color=True)
    assert "\x1b[31m" in colored
    assert plain(re.sub(r"\x1b\[[0-9;]*m", "", colored)) == plain(words(report))


def test_times_and_addresses() -> None:
    assert [seconds(time) for time in (None, -1.0, 0.2, 42.0, 42.1)] == ["", "1 s", "1 s", "42 s", "43 s"]
    assert address(Endpoint("::1", 22)) == "[::1]:22"
    assert address(Endpoint("127.0.0.1", 0)) == "127.0.0.1"
    assert set(MEANING) == set(TcpState)


@given(
    tables, kernels, holders, st.sampled_from([80, 8080]), st.sampled_from(list(BindAnswer)), st.booleans()
)
def test_any_report_fits_and_is_valid_json(
    table: list[TcpSocket] | None,
    kernel: KernelPorts,
    holding: dict[int, list[Holder]],
    port: int,
    answer: BindAnswer,
    color: bool,  # noqa: FBT001 - hypothesis gives it by its place
) -> None:
    whole = survey(table, kernel, holding)
    one = diagnose_port(port, table, kernel, holding, answers=dict.fromkeys(usual_attempts(), answer))

    for report in (whole, one):
        for line in words(report, color=color).split("\n"):
            visible = re.sub(r"\x1b\[[0-9;]*m", "", line)
            assert cell_len(visible) <= 80  # characters may be wide, or have no width
            assert "\x1b" not in visible
    for line in (survey_json(whole), port_json(one)):
        assert "\n" not in line
        assert json.loads(line)["known"] is (table is not None)


# ---------------------------------------------------------------- for programs


def test_the_survey_for_programs() -> None:
    values = json.loads(survey_json(survey([time_wait(40000 + n) for n in range(90)], KERNEL, {})))

    assert values["states"] == {"time_wait": 90}
    assert values["ephemeral"] == {
        "first": 40000,
        "last": 40099,
        "kept": 0,
        "listening": [],
        "usable": 100,
        "in_use": 90,
    }
    (one,) = values["destinations"]
    assert (one["address"], one["port"], one["used"], one["left"]) == (THERE, 50000, 90, 10)
    assert values["per_second"] == {
        "remote_first": None,
        "local_first": 1.7,
        "reusing": None,
        "reserved_local_first": 8.5,
    }
    assert [found["kind"] for found in values["findings"]] == [FindingKind.FEW_PORTS_LEFT]


def test_one_port_for_programs() -> None:
    rows = [listener(), time_wait(8080)]
    values = json.loads(
        port_json(diagnose_port(8080, rows, KERNEL, {1: [Holder(7, "shopd")]}, answers=WORKS_WITH_IT))
    )

    assert (values["port"], values["situation"]) == (8080, Situation.LISTENING)
    listening, waiting = values["sockets"]
    assert listening["programs"] == [{"pid": 7, "name": "shopd"}]
    assert waiting["others"] == [{"address": THERE, "port": 50000, "seconds_left": 42.3}]
    first = values["binds"][0]
    assert {key: first[key] for key in ("address", "reuse_address", "works", "predicted", "probed")} == {
        "address": "0.0.0.0",
        "reuse_address": False,
        "works": False,
        "predicted": "fails",
        "probed": "in_use",
    }
