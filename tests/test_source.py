"""The source text of the package keeps to the rules that no linter knows."""

from __future__ import annotations

import ast
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
SOURCES: Final = sorted((ROOT / "multirsh").rglob("*.py"))
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

PARALLEL: Final[frozenset[str]] = frozenset()
"""Class names that several packages have on purpose, because each has its own kind of one thing."""

PERSONS: Final = re.compile(
    r"\b(nobody|somebody|everybody|whom|told of|those who|as ever"
    r"|(?:is|are|was|were|be|being) told(?! apart| from))\b",
    re.IGNORECASE,
)
"""Words that make persons of hosts, files and runs, or that no page of a manual has."""


STILL_IN_DIALECT: Final = ("multirsh/ports/diagnosis/",)
"""Where the prose is still to be rewritten."""


def prose_of(source: Path) -> Iterator[tuple[int, str]]:
    """Comments and strings of ``source``, with their lines; what stands in backquotes or quotes is a name."""
    with source.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type in {tokenize.COMMENT, tokenize.STRING}:
                yield token.start[0], re.sub(r"`[^`]*`", "", token.string)


def test_no_class_name_stands_twice() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_bytes())):
            if isinstance(node, ast.ClassDef) and node.name not in PARALLEL:
                found[node.name].append(str(source.relative_to(ROOT)))
    assert {name: files for name, files in found.items() if len(files) > 1} == {}


@pytest.mark.parametrize(
    "source",
    [file for file in SOURCES if not str(file.relative_to(ROOT)).startswith(STILL_IN_DIALECT)],
    ids=lambda source: str(source.relative_to(ROOT)),
)
def test_hosts_and_files_are_things_and_no_persons(source: Path) -> None:
    assert [(line, found[0]) for line, text in prose_of(source) for found in PERSONS.finditer(text)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_in_the_pages_too(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`]*`", "", text)
    assert [found[0] for found in PERSONS.finditer(text)] == []


def test_the_glossary_is_alphabetical_and_has_each_word_once() -> None:
    entries = re.findall(r"^- \*\*(.+?)\*\*", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    assert entries == sorted(set(entries), key=str.casefold)


def test_a_reader_opens_at_most_30_files_from_the_hosts_file_to_the_exit_code() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    section = page.split("\n## From hosts.yaml to the exit code\n")[1].split("\n## ")[0]
    files = re.findall(r"^\d+\. `(multirsh/[\w/]+\.py)`", section, re.MULTILINE)
    assert 0 < len(files) <= 30
    assert [file for file in files if not (ROOT / file).is_file()] == []
