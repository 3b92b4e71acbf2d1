from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.events import Event
from multirsh.journal.replay import completed
from multirsh.model import ErrorKind, Phase, Status
from multirsh.output import OutputOptions, Stdio
from multirsh.output.diff import LONGEST_BYTES
from multirsh.output.gather import BlockFormatter
from multirsh.output.normalize import Normalizer
from multirsh.output.runs_diff import RunDifferences, compare_runs, diff_json, diff_report
from multirsh.output.store import OutputStore
from tests.output.events import failure, host_finished, host_started, output, run_finished, run_started

Wrote = dict[str, bytes | tuple[bytes, int]]


def events(hosts: Wrote) -> Iterator[Event]:
    """A run in which each host writes a text, and exits with a status where one is given."""
    yield run_started(*hosts)
    for host, told in hosts.items():
        text, code = told if isinstance(told, tuple) else (told, 0)
        yield host_started(host)
        yield output(host, text[:3])
        yield output(host, text[3:])
        yield host_finished(host, Status.FAILED if code else Status.OK, exit_status=code)
    yield run_finished({Status.OK: len(hosts)})


@pytest.fixture
def store() -> Iterator[OutputStore]:
    store = OutputStore()
    yield store
    store.close()


def shown(changes: RunDifferences, *, color: bool = False, terminal: bool = False) -> str:
    options = OutputOptions(stdio=Stdio(stdout_is_terminal=terminal), stdout_color=color)
    return b"".join(write.data for write in diff_report(changes, BlockFormatter(options))).decode()


def report(before: Iterable[Event], after: Iterable[Event], store: OutputStore, normalize: str = "") -> str:
    normalizer = Normalizer.parse(normalize) if normalize else None
    return shown(compare_runs(before, after, store, normalizer))


def test_nothing_changed(store: OutputStore) -> None:
    hosts: Wrote = {"h1": b"a\n", "h2": b"b\n"}
    changes = compare_runs(events(hosts), events(hosts), store)
    assert not changes
    assert shown(changes) == "2 hosts did the same, 0 changed\n"
    assert store.memory == 0


def test_equal_changes_are_shown_once_whatever_surrounds_them(store: OutputStore) -> None:
    before: Wrote = {f"web{n:02}": b"kernel %d\nrelease 41\n" % n for n in range(1, 8)}
    after: Wrote = {f"web{n:02}": b"kernel %d\nrelease 42\n" % n for n in range(1, 8)}
    assert report(events(before | {"db1": b"x\n"}), events(after | {"db1": b"y\n"}), store) == (
        "---- web[01-07] (7, shown as in web01)\n@@ -1,2 +1,2 @@\n kernel 1\n-release 41\n+release 42\n"
        "---- db1 (1)\n@@ -1 +1 @@\n-x\n+y\n"
        "0 hosts did the same, 8 changed\n"
    )


def test_an_ending_that_changed(store: OutputStore) -> None:
    before: Wrote = {"h1": b"a\n", "h2": (b"", 3), "h3": (b"", 3)}
    after: Wrote = {"h1": (b"a\n", 2), "h2": b"", "h3": (b"no\n", 3)}
    assert report(events(before), events(after), store) == (
        "---- h1 (1, was ok, now exit 2)\n"
        "---- h2 (1, was exit 3, now ok)\n"
        "---- h3 (1, exit 3)\n@@ -0,0 +1 @@\n+no\n"
        "0 hosts did the same, 3 changed\n"
    )


def test_the_same_status_for_another_reason_is_a_change_and_other_words_are_none(store: OutputStore) -> None:
    def run(kind: ErrorKind, message: str) -> list[Event]:
        error = failure(kind, Phase.CONNECT, message)
        return [run_started("h1"), host_finished("h1", Status.UNREACHABLE, error=error)]

    refused = run(ErrorKind.REFUSED, "refused by 10.0.0.1")
    assert not compare_runs(refused, run(ErrorKind.REFUSED, "refused by 10.0.0.2"), store)
    assert report(refused, run(ErrorKind.NO_ROUTE, "no route"), store).splitlines()[0] == (
        "---- h1 (1, was unreachable: connect refused, now unreachable: connect no_route)"
    )


def test_hosts_of_one_run_only(store: OutputStore) -> None:
    changes = compare_runs(
        events({"h1": b"", "h2": b"gone\n", "h3": b"gone\n"}), events({"h1": b"", "h4": b"new\n"}), store
    )
    assert changes
    assert shown(changes) == (
        "only in the first run: h[2-3]\n"
        "only in the second run: h4\n"
        "1 host did the same, 0 changed, 3 in one run only\n"
    )
    assert store.memory == 0


def test_changes_of_stderr_are_marked(store: OutputStore) -> None:
    def run(text: bytes) -> list[Event]:
        return [run_started("h1"), output("h1", text, stream="stderr"), host_finished("h1")]

    assert report(run(b"warn 1\n"), run(b"warn 2\n"), store).splitlines() == [
        "---- h1 (1)",
        "stderr:",
        "@@ -1 +1 @@",
        "-warn 1",
        "+warn 2",
        "0 hosts did the same, 1 changed",
    ]


def test_what_does_not_count(store: OutputStore) -> None:
    before: Wrote = {"web01": b"web01 at 10:00:00\n", "web02": b"web02 at 10:00:00\nx\n"}
    after: Wrote = {"web01": b"web01 at 11:00:00\n", "web02": b"web02 at 11:00:00\ny\n"}
    assert report(events(before), events(after), store, "host,time") == (
        "---- web02 (1)\n@@ -1,2 +1,2 @@\n web02 at 11:00:00\n-x\n+y\n1 host did the same, 1 changed\n"
    )


def test_only_the_last_attempts_output_counts(store: OutputStore) -> None:
    first = [run_started("h1"), host_started("h1"), output("h1", b"half"), *events({"h1": b"all\n"})]
    assert not compare_runs(first, events({"h1": b"all\n"}), store)


def test_of_long_output_the_size_is_shown(store: OutputStore) -> None:
    long = b"x" * (LONGEST_BYTES // 2 + 1)
    told = report(events({"h1": long, "h2": long}), events({"h1": long + b"y", "h2": long + b"y"}), store)
    assert told.splitlines() == [
        "---- h[1-2] (2)",
        "1.0 MB before, 1.0 MB after: too long to be compared line by line",
        "0 hosts did the same, 2 changed",
    ]


def test_memory_is_bounded_by_the_store() -> None:
    store = OutputStore(64 * 1024)
    before: Wrote = {f"h{n}": b"%d\n" % n * 10_000 for n in range(50)}
    after: Wrote = {f"h{n}": b"%d\n" % n * 10_000 + b"%d more\n" % n for n in range(50)}
    changes = compare_runs(events(before), events(after), store)
    assert store.memory <= 64 * 1024
    assert len(changes.changes) == 50
    store.close()


def test_a_run_that_broke_is_compared_as_far_as_it_came(store: OutputStore) -> None:
    complete = list(events({"h1": b"a\n", "h2": b"b\n", "h3": b"c\n"}))
    broken = [*complete[:5], host_started("h2"), output("h2", b"b")]
    assert report(completed(broken), complete, store) == (
        "---- h2 (1, was lost, now ok)\n@@ -1 +1 @@\n-b\n\\ No newline at end of file\n+b\n"
        "---- h3 (1, was not run, now ok)\n"
        "1 host did the same, 2 changed\n"
    )


def test_a_host_cannot_paint_the_terminal_nor_forge_our_lines(store: OutputStore) -> None:
    changes = compare_runs(events({"h1": b""}), events({"h1": b"\x1b]52;c;aGk=\x07\n"}), store)
    text = shown(changes, color=True, terminal=True)
    assert "\\x1b]52;c;aGk=\\x07" in text
    assert "\x1b]" not in text
    assert "\x1b[32m+\\x1b" in text


TEXTS = st.sampled_from([b"", b"a\n", b"b\n", b"a\nb\n", b"b"])
RUNS = st.dictionaries(
    st.sampled_from(["h1", "h2", "h3", "h4", "h5"]), st.tuples(TEXTS, st.sampled_from([0, 3]))
)


@given(RUNS, RUNS)
def test_every_host_is_counted_once_and_only_differences_are_changes(
    before: dict[str, tuple[bytes, int]], after: dict[str, tuple[bytes, int]]
) -> None:
    store = OutputStore()
    there, back = (
        compare_runs(events({**one}), events({**other}), store)
        for one, other in ((before, after), (after, before))
    )
    changed = [host for change in there.changes for host in change.hosts]
    told = [*there.same, *changed, *there.only_before, *there.only_after]
    assert sorted(told) == sorted(before | after)
    assert set(there.same) == {host for host in before if after.get(host) == before[host]}
    assert sorted(changed) == sorted(host for change in back.changes for host in change.hosts)
    assert sorted(there.only_before) == sorted(back.only_after)
    # Whoever changed alike stands together: no two changes are the same.
    whole_changes = {
        shown(RunDifferences(changes=[replace(change, hosts=["h"])])) for change in there.changes
    }
    assert len(whole_changes) == len(there.changes)
    store.close()


def test_as_objects(store: OutputStore) -> None:
    before: Wrote = {"h1": b"a\n", "h2": b"b\n", "h3": b"same\n"}
    after: Wrote = {"h1": (b"\xff\n", 3), "h3": b"same\n", "h4": b""}
    changes = compare_runs(events(before), events(after), store)
    lines = [json.loads(write.data) for write in diff_json(changes, "r1", "r2")]
    assert lines == [
        {"kind": "runs", "before": "r1", "after": "r2"},
        {
            "kind": "changed",
            "hosts": ["h1"],
            "before": {"status": "ok", "exit_status": 0, "signal": None, "error": None},
            "after": {"status": "failed", "exit_status": 3, "signal": None, "error": None},
            "stdout": {"bytes_before": 2, "bytes_after": 2, "diff_b64": "QEAgLTEgKzEgQEAKLWEKK/8K"},
            "stderr": None,
        },
        {"kind": "only_before", "hosts": ["h2"]},
        {"kind": "only_after", "hosts": ["h4"]},
        {"kind": "same", "hosts": ["h3"]},
    ]
