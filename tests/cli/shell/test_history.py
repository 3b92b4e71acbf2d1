"""What is kept of the lines that were typed."""

from __future__ import annotations

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
