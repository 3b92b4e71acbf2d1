from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import UTC, datetime

import pytest

from multirsh.events import Event
from multirsh.model import Status
from multirsh.report import Report
from tests.output.events import copied, host_finished, host_started, output, run_finished, run_started
from tests.report.made_up import made_up_run


def page_of(*events: Event, began: datetime | None = None) -> str:
    report = Report()
    for event in events:
        report.feed(event)
    written = "".join(report.html(began=began))
    report.close()
    return written


SMALL = (
    run_started("web1", "web2"),
    host_started("web1"),
    host_started("web2"),
    output("web1", b"hello\n"),
    output("web2", b"hello\n"),
    output("web2", b"x < y\n", stream="stderr"),
    host_finished("web1", exit_status=0),
    host_finished("web2", Status.FAILED, exit_status=3),
)


def test_the_policy_names_just_the_script_and_the_style_that_are_there() -> None:
    page = page_of(*SMALL)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    for name in ("script", "style"):
        (source,) = re.findall(rf"<{name}>(.*?)</{name}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_nothing_is_fetched_from_elsewhere() -> None:
    page = page_of(*SMALL)
    assert "http" not in page.replace("http-equiv", "")
    assert not re.search(r"\b(src|href|srcset|action|style)=", page)
    assert "@import" not in page
    assert "url(" not in page


def test_it_can_be_read_as_it_is() -> None:
    page = page_of(
        *SMALL,
        run_finished({Status.OK: 1, Status.FAILED: 1}),
        began=datetime(2026, 11, 21, 15, 40, tzinfo=UTC),
    )
    assert "<title>1 of 2 ok: uptime</title>" in page
    assert "<li>2026-11-21 15:40:00 UTC</li>" in page
    assert "<b>1</b> of 2 ok" in page
    assert "x &lt; y" in page
    assert "No end" not in page


def test_of_a_run_that_broke_it_says_so() -> None:
    page = page_of(*SMALL[:-1])
    assert "No end of this run is recorded" in page
    assert '<button type="button" class="chip lost"' in page


def test_figures_are_columns_of_all_hosts() -> None:
    events = list(made_up_run(50))
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page_of(*events))
    figures = json.loads(data)
    assert {len(column) for column in figures["hosts"].values()} == {50}
    assert figures["seconds"] == pytest.approx(events[-1].t, abs=1e-3)


def test_files_are_counted() -> None:
    page = page_of(
        run_started("a"), copied("a", size=2000), copied("a", "/etc/<x>", error="permission denied")
    )
    assert "<p>1 copied, 1 failed; 2.0 kB</p>" in page
    assert "<code>/etc/&lt;x&gt;</code> permission denied" in page


def test_without_a_run_there_is_no_page() -> None:
    report = Report()
    assert not report.has_begun
    with pytest.raises(ValueError, match="no run"):
        list(report.html())
    report.close()
