"""What is kept of the lines that were typed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from multirsh.cli.shell.history import FILE, open_history

SECRET = " export TOKEN=s3cret"


@pytest.mark.parametrize("is_kept", [True, False])
def test_what_begins_with_a_blank_comes_back_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_kept: bool
) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    if not is_kept:
        state.touch()
    history, complaint = open_history()
    assert (complaint is None) is is_kept
    for text in ("uptime", SECRET, f"one\n{SECRET}\ntwo", ""):
        history.append_string(text)
    assert history.get_strings() == ["uptime", "one\ntwo"]
    if is_kept:
        assert "s3cret" not in (state / "multirsh" / FILE).read_text()
        again, _ = open_history()
        assert list(again.load_history_strings()) == ["one\ntwo", "uptime"]


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["fifo", "folder"])
def test_a_history_that_is_no_file_is_not_waited_for_and_the_lines_are_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "multirsh").mkdir()
    make(tmp_path / "multirsh" / FILE)
    history, complaint = open_history()
    assert complaint is not None
    assert complaint.startswith(f"the history is not kept: {tmp_path}/multirsh/{FILE}: ")
    history.append_string("uptime")
    assert history.get_strings() == ["uptime"]
