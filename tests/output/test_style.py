"""Colours."""

from __future__ import annotations

from multirsh.output.style import Style, paint


def test_a_painted_text_ends_its_own_style() -> None:
    assert paint("web1:", Style.STDOUT_HOST, color=True) == "\x1b[36mweb1:\x1b[0m"


def test_without_color_style_or_text_nothing_is_added() -> None:
    assert paint("ok", Style.GOOD, color=False) == "ok"
    assert paint("ok", None, color=True) == "ok"
    assert paint("", Style.GOOD, color=True) == ""
