"""The history of the lines that were typed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from multirsh.cli.shell.terminal import HISTORY_FILE, open_history

SECRET = " export TOKEN=s3cret"


@pytest.mark.parametrize("is_saved", [True, False])
def test_lines_that_begin_with_a_blank_are_not_in_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_saved: bool
) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    if not is_saved:
        state.touch()
    history, complaint = open_history()
    assert (complaint is None) is is_saved
    for text in ("uptime", SECRET, f"one\n{SECRET}\ntwo", ""):
        history.append_string(text)
    assert history.get_strings() == ["uptime", "one\ntwo"]
    if is_saved:
        assert "s3cret" not in (state / "multirsh" / HISTORY_FILE).read_text()
        later, _ = open_history()
        assert list(later.load_history_strings()) == ["one\ntwo", "uptime"]


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["fifo", "folder"])
def test_a_history_that_is_not_a_regular_file_is_not_opened_and_the_lines_stay_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "multirsh").mkdir()
    make(tmp_path / "multirsh" / HISTORY_FILE)
    history, complaint = open_history()
    assert complaint is not None
    assert complaint.startswith(f"the history is not saved: {tmp_path}/multirsh/{HISTORY_FILE}: ")
    history.append_string("uptime")
    assert history.get_strings() == ["uptime"]
