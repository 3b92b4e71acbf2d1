"""The tests have the package's shape: ``tests/output/test_live.py`` tests ``multirsh/output/live.py``.

A test file is named after the module or package that it tests, in the same
folder, and may add what it looks at: ``test_ledger_against_kernel.py`` tests
``ledger.py``. Beside those, a folder may hold

- ``test_wire.py`` and ``test_wire_*.py``: the package as a whole, on real
  servers or in real namespaces;
- ``X.py`` and ``test_X.py``: a helper of the tests, and its own tests.

Tests of the whole program are in ``tests/end_to_end``. A module without a
test file of its own is tested through its package: by a file named after the
package, by wire tests, or by what ``TESTED_BY`` names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parent
PACKAGE: Final = TESTS.parent / "multirsh"
END_TO_END: Final = TESTS / "end_to_end"
BENCH: Final = TESTS / "bench"

OTHERS: Final = {
    "cli/test_start.py": "how fast the command line starts, whichever module is at fault",
    "output/test_copied.py": "the events of copies, in every printer",
    "test_docs.py": "docs/ and README.md",
    "test_fault_matrix.py": "which tests hold each fault",
    "test_hosts_example.py": "hosts.example.yaml",
    "test_mirror.py": "the shape of tests/",
    "test_public_names.py": "multirsh/__init__.py: the names that programs may import",
    "test_source.py": "the names and the prose of the whole package",
    "transports/ssh/test_asyncssh_facts.py": "what multirsh relies on in asyncssh",
}
"""Test files that are named after no module, and what they test."""

TESTED_BY: Final = {
    "__init__.py": "test_public_names.py",
    "__main__.py": "end_to_end",
    "cli": "end_to_end",
    "engine": "engine/test_fleet.py",
    "errors.py": "test_names.py",
    "files/scp": "files/test_wire.py",
    "files/sftp": "files/test_wire.py",
    "inventory": "inventory/test_document.py",
    "journal": "journal/test_journal.py",
    "lab": "lab/test_fleet.py",
    "model.py": "test_events.py",
    "output": "output/test_printer.py",
    "ports": "ports/test_ledger_against_kernel.py",
    "report": "report/test_page_in_a_browser.py",
    "sh_text.py": "commands/test_remote_shell.py",
    "shared_folders.py": "journal/test_state_folder.py",
    "testing": "testing/test_conformance.py",
    "transports/exec": "testing/test_conformance.py",
    "transports/local": "testing/test_conformance.py",
    "transports/process": "testing/test_conformance.py",
    "version.py": "test_docs.py",
}
"""Modules without a test file of their own, in packages without wire tests: what tests them."""


def _test_files() -> list[Path]:
    return sorted(
        file
        for file in TESTS.rglob("test_*.py")
        if not file.is_relative_to(END_TO_END) and not file.is_relative_to(BENCH)
    )


def _subject(file: Path) -> Path | None:
    """The longest-named module, package or helper after which a test file is named."""
    words = file.stem.removeprefix("test_").split("_")
    folder = file.parent.relative_to(TESTS)
    for count in range(len(words), 0, -1):
        name = "_".join(words[:count])
        for found in (
            PACKAGE / folder / f"{name}.py",
            PACKAGE / folder / name / "__init__.py",
            TESTS / folder / f"{name}.py",
        ):
            if found.exists():
                return found
    return None


def _is_wire_test(file: Path) -> bool:
    """Whether it tests a package on real servers."""
    in_package = (PACKAGE / file.parent.relative_to(TESTS)).is_dir()
    return in_package and (file.stem == "test_wire" or file.stem.startswith("test_wire_"))


@pytest.mark.parametrize("file", _test_files(), ids=lambda file: str(file.relative_to(TESTS)))
def test_a_test_file_is_named_after_what_it_tests(file: Path) -> None:
    name = str(file.relative_to(TESTS))
    if name not in OTHERS:
        assert _is_wire_test(file) or _subject(file), f"{name} is named after no module of multirsh/"


def test_every_module_is_tested() -> None:
    tested = {_subject(file) for file in _test_files()}
    wired = {file.parent.relative_to(TESTS) for file in _test_files() if _is_wire_test(file)}
    by_others = {PACKAGE / name for name in TESTED_BY}
    untested = [
        str(module.relative_to(PACKAGE))
        for module in sorted(PACKAGE.rglob("*.py"))
        if module not in tested
        and module.parent / "__init__.py" not in tested
        and module.parent.relative_to(PACKAGE) not in wired
        and by_others.isdisjoint({module, *module.parents})
    ]
    assert not untested


def test_the_tables_name_what_is_there() -> None:
    assert [name for name in OTHERS if not (TESTS / name).exists()] == []
    assert [name for name in TESTED_BY.values() if not (TESTS / name).exists()] == []
    assert [name for name in TESTED_BY if not (PACKAGE / name).exists()] == []
