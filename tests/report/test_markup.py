from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from multirsh.output.escape import escape_lines, escape_text
from multirsh.report.markup import json_data, output, text

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=8,
)
_TRICKY = st.lists(
    st.sampled_from(
        [
            "</pre>",
            "</script>",
            "<!--",
            "<script>",
            "<img src=x onerror=a()>",
            "&lt;",
            "&",
            '"',
            "'",
            "\n",
            "\r",
        ]
    )
    | st.text(st.characters(exclude_categories=["Cs"]))
).map("".join)


class Parsed(HTMLParser):
    """The elements and the text of a piece of HTML."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(_JSON)
def test_json_is_the_same_and_cannot_end_its_element(value: Any) -> None:
    written = json_data(value)
    assert json.loads(written) == value
    assert not set(written) & set("<>&\u2028\u2029")


@given(_TRICKY)
def test_output_is_text_and_nothing_else(written: str) -> None:
    data = written.encode()
    parsed = Parsed(f"<pre>{output(data)}</pre>")
    assert parsed.tags == ["pre"]
    assert parsed.text == "\n" + escape_lines(data).decode()


@given(_TRICKY)
def test_words_are_text_between_tags_and_in_attributes(words: str) -> None:
    parsed = Parsed(f'<p title="{text(words)}">{text(words)}</p>')
    assert parsed.tags == ["p"]
    assert parsed.text == escape_text(words)


def test_bytes_that_are_no_text_become_visible() -> None:
    assert output(b"\xff\x1b[2J\x00\xe2\x80\xae") == "\n\\xff\\x1b[2J\\x00\\u202e"
