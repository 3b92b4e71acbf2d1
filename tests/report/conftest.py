"""A browser for the file, and pages in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from multirsh.events import Event
from multirsh.report import Report
from tests.report.browser import Browser, browser_program
from tests.servers.requirement import require

ShowPage = Callable[..., Browser]
"""``show(events, scheme="dark", script=False)``: the page of the events, opened."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium of this file's own."""
    require(browser_program(), "needs Chromium (Debian package chromium-headless-shell)")
    with Browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> ShowPage:
    """Open the page of a run."""

    def shown(events: Iterable[Event], *, scheme: str = "light", script: bool = True) -> Browser:
        report = Report()
        for event in events:
            report.feed(event)
        file = tmp_path / "report.html"
        file.write_text("".join(report.html()), encoding="utf-8")
        report.close()
        browser.open(file, scheme=scheme, script=script)
        return browser

    return shown
