"""The page where it is looked at: in a real browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from multirsh.events import Event, RunStarted
from multirsh.model import ErrorKind, Phase, Status
from tests.output.events import failure, host_finished, host_started, output, run_finished, run_started
from tests.report.browser import Browser
from tests.report.conftest import ShowPage
from tests.report.made_up import made_up_run

COLORS = {"light": {"failed": (0xD2, 0x3F, 0x3F)}, "dark": {"failed": (0xF0, 0x6A, 0x62)}}

ATTACKS = (
    "<script>window.canary = 1</script>",
    "</pre><script>window.canary = 1</script>",
    "</script><script>window.canary = 1</script>",
    "<img src=x onerror='window.canary = 1'>",
    "<svg/onload=window.canary=1>",
    "--><script>window.canary = 1</script>",
    "'\" onmouseover=window.canary=1 autofocus onfocus=window.canary=1 x='",
    "<meta http-equiv=refresh content='0;url=javascript:window.canary=1'>",
    "<style>* { display: none }</style><link rel=stylesheet href=//evil.example/x.css>",
    "<iframe srcdoc='<script>parent.canary = 1</script>'></iframe>",
    "]]></script><base href=//evil.example/>\u2028window.canary = 1",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_large_run_is_drawn_and_nothing_is_wrong(show: ShowPage, scheme: str) -> None:
    page = show(made_up_run(2000), scheme=scheme)

    assert text(page, "#shown") == "2,000 hosts"
    assert colors_of(page, "#timeline canvas") >= set(COLORS[scheme].values())
    assert len(colors_of(page, "#chart")) > 3
    assert_harmless(page)


def test_five_thousand_hosts_are_drawn_at_once(show: ShowPage) -> None:
    page = show(made_up_run(5000, said=lambda name, _: name.encode() + b"\n"))
    assert text(page, "#shown") == "5,000 hosts"
    assert text(page, "#found").endswith(" outputs")

    began = time.monotonic()
    for order in ("longest", "outcome", "selection", "end"):
        choose(page, "#order", order)
    assert time.monotonic() - began < 60  # of 0.3 s on an idle machine

    choose(page, "#rows", "100", event="input")
    assert page.evaluate("document.querySelector('.spacer').clientHeight") > 5000 * 20
    page.evaluate("document.querySelector('#timeline').scrollTop = 50000")
    page.settle()
    assert_harmless(page)


def test_what_a_hostile_host_wrote_runs_nothing(show: ShowPage) -> None:
    page = show(hostile_run())

    said = page.evaluate("Array.from(document.querySelectorAll('pre'), p => p.textContent)")
    assert sorted(said) == sorted([f"{attack}\n" for attack in ATTACKS] * 2)
    for number in range(len(ATTACKS)):
        page.evaluate(f"document.querySelector('#g{number}').open = true")
    assert (
        page.evaluate("document.querySelectorAll('img, iframe, link, base, meta[http-equiv=refresh]').length")
        == 0
    )
    assert page.evaluate("document.scripts.length") == 2
    hover(page, "#timeline", 0.5, 0.5)
    click(page, "#timeline", 0.5, 0.5)
    assert page.evaluate("document.querySelector('#host').textContent.length") > 20
    assert page.evaluate("window.canary") is None
    assert_harmless(page)


def test_what_got_into_the_page_all_the_same_would_not_run(
    show: ShowPage, browser: Browser, tmp_path: Path
) -> None:
    """The policy is the second wall: here the first is taken down by hand."""
    show(hostile_run())
    file = tmp_path / "report.html"
    written = file.read_text(encoding="utf-8")
    file.write_text(written.replace("<main>", "<main>" + "".join(ATTACKS[:5])), encoding="utf-8")

    browser.open(file)

    assert browser.evaluate("document.images.length") > 0
    assert browser.evaluate("window.canary") is None
    assert any("Content Security Policy" in trouble for trouble in browser.troubles)
    browser.troubles.clear()
    browser.requests.clear()


def test_outputs_are_found_by_text_and_by_host(show: ShowPage) -> None:
    page = show(made_up_run(60, said=lambda name, _: f"I am {name}, and Happy\n".encode()))
    total = int(text(page, "#found").split()[0])
    assert total > 50

    page.type_into("#find-output", "web0007.example")
    page.wait_for(f"document.querySelector('#found').textContent === '1 of {total} outputs'")
    assert page.evaluate("document.querySelector('.group:not([hidden]) pre').textContent").startswith(
        "I am web0007"
    )
    assert page.evaluate("CSS.highlights.get('found').size") == 1

    page.type_into("#find-output", "AND HAPPY")
    page.wait_for(f"document.querySelector('#found').textContent === '{total} of {total} outputs'")
    page.type_into("#find-output", "nobody said this")
    page.wait_for(f"document.querySelector('#found').textContent === '0 of {total} outputs'")
    assert_harmless(page)


def test_hosts_are_picked_by_name_outcome_and_time(show: ShowPage) -> None:
    page = show(made_up_run(400))
    unreachable = int(text(page, ".chip.unreachable b"))

    page.evaluate("document.querySelector('.chip.unreachable').click()")
    page.settle()
    assert text(page, "#shown") == f"{400 - unreachable} of 400 hosts"
    page.evaluate("document.querySelector('.chip.unreachable').click()")

    page.type_into("#find-host", "web0007, web0008")
    page.settle()
    assert text(page, "#shown") == "2 of 400 hosts"
    page.type_into("#find-host", "web")
    page.evaluate("document.querySelector('#find-host').value = ''")
    page.evaluate("document.querySelector('#find-host').dispatchEvent(new Event('input'))")
    page.settle()

    left, top, width, height = box(page, "#timeline")
    page.drag((left + width * 0.5, top + height / 2), (left + width * 0.6, top + height / 2))
    few = int(text(page, "#shown").split()[0])
    assert 0 < few < 400
    page.evaluate("document.querySelector('#whole').click()")
    page.settle()
    assert text(page, "#shown") == "400 hosts"
    assert_harmless(page)


def test_a_host_tells_of_itself(show: ShowPage) -> None:
    events = [
        run_started("web1", "web2"),
        host_started("web1"),
        host_started("web2", t=0.5),
        output("web2", b"hello\n"),
        host_finished("web1", Status.TIMEOUT, error=failure(ErrorKind.TIMEOUT, Phase.RUN, "too late"), t=3.0),
        host_finished("web2", t=3.0),
        run_finished({Status.OK: 1, Status.TIMEOUT: 1}),
    ]
    page = show(events)
    page.evaluate("document.querySelector('#timeline').focus()")
    press(page, "ArrowDown")
    told = page.evaluate("document.querySelector('#host').innerText")
    assert "web1" in told
    assert "too late" in told

    press(page, "ArrowDown")
    assert text(page, "#host h3").startswith("web2")
    assert "waited" in text(page, "#host")
    page.evaluate("document.querySelector('#host h3 button').click()")
    assert page.evaluate("document.querySelector('#g0').open")
    assert_harmless(page)


def test_of_a_run_that_broke_the_page_is_whole(show: ShowPage) -> None:
    events = list(made_up_run(100))
    page = show(events[: len(events) // 2])
    assert text(page, "#shown") == "100 hosts"
    assert page.evaluate("document.querySelector('.chip.lost') !== null")
    assert_harmless(page)


def test_without_its_script_counts_and_outputs_are_there(show: ShowPage) -> None:
    page = show(made_up_run(30), script=False)
    shown = page.evaluate("document.body.innerText")
    assert "of 30 ok" in shown
    assert "active" in shown
    assert "which is off here" in shown
    assert "Whole run" not in shown
    assert_harmless(page)


def hostile_run() -> Iterator[Event]:
    """No inventory would take such names, but a journal is a file, and anybody's events can be fed."""
    yield RunStarted(
        run=ATTACKS[0], t=0.0, command=" ".join(ATTACKS), hosts=ATTACKS, fanout=64, version=ATTACKS[1]
    )
    for attack in ATTACKS:
        yield host_started(attack)
        yield output(attack, f"{attack}\n".encode())
        yield output(attack, f"{attack}\n".encode(), stream="stderr")
        told = failure(ErrorKind.NO_EXIT_STATUS, Phase.RUN, attack)
        yield host_finished(attack, Status.LOST, signal=attack, error=told, t=2.0)
    yield run_finished({Status.LOST: len(ATTACKS)})


def assert_harmless(page: Browser) -> None:
    """No error, no warning, no request but the page itself; and forget, for the next test."""
    troubles, requests = list(page.troubles), list(page.requests)
    page.troubles.clear()
    page.requests.clear()
    assert troubles == []
    assert [address for address in requests if not address.endswith("/report.html")] == []


def text(page: Browser, selector: str) -> str:
    told: str = page.evaluate(f"document.querySelector({selector!r}).textContent")
    return told


def choose(page: Browser, selector: str, value: str, *, event: str = "change") -> None:
    page.evaluate(
        f"(() => {{ const f = document.querySelector({selector!r}); f.value = {value!r};"
        f" f.dispatchEvent(new Event({event!r})); }})()"
    )
    page.settle()


def press(page: Browser, key: str) -> None:
    page.evaluate(f"document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {{key: {key!r}}}))")
    page.settle()


def box(page: Browser, selector: str) -> tuple[float, float, float, float]:
    found = page.evaluate(
        f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'center'}});"
        " const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })()"
    )
    left, top, width, height = found
    return left, top, width, height


def hover(page: Browser, selector: str, x: float, y: float) -> None:
    left, top, width, height = box(page, selector)
    page.mouse("mouseMoved", left + width * x, top + height * y)
    page.settle()


def click(page: Browser, selector: str, x: float, y: float) -> None:
    left, top, width, height = box(page, selector)
    page.mouse("mousePressed", left + width * x, top + height * y, pressed=True)
    page.mouse("mouseReleased", left + width * x, top + height * y)
    page.settle()


def colors_of(page: Browser, selector: str) -> set[tuple[int, int, int]]:
    """All colours of a drawing that are not transparent."""
    found = page.evaluate(
        f"(() => {{ const c = document.querySelector({selector!r});"
        " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const s = new Set();"
        " for (let i = 0; i < d.length; i += 4)"
        " if (d[i + 3] === 255) s.add(`${d[i]},${d[i + 1]},${d[i + 2]}`); return [...s]; })()"
    )
    return {(red, green, blue) for red, green, blue in (map(int, each.split(",")) for each in found)}
