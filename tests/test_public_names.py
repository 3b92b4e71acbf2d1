"""The door of the library: what is public is there, documented, typed, and costs nothing until it is used."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import multirsh
from multirsh import testing
from tests.waiting import HANG_GUARD_S


def test_the_names_are_those_of_the_table_in_order() -> None:
    assert sorted([*multirsh._MODULE_OF, "__version__"]) == multirsh.__all__
    assert dir(multirsh) == multirsh.__all__


@pytest.mark.parametrize("name", multirsh.__all__)
def test_a_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(multirsh, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__doc__
        assert value.__module__.startswith("multirsh.")


@pytest.mark.parametrize("name", multirsh.__all__)
def test_so_is_all_that_a_public_class_offers(name: str) -> None:
    value = getattr(multirsh, name)
    if not inspect.isclass(value):
        return
    bare = [
        member
        for member, what in vars(value).items()
        if not member.startswith("_")
        and (inspect.isfunction(what) or isinstance(what, property | classmethod | staticmethod))
        and not inspect.getdoc(what)
    ]
    assert bare == []


@pytest.mark.parametrize("name", testing.__all__)
def test_the_fakes_are_public_too(name: str) -> None:
    assert getattr(testing, name).__doc__


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Flete'"):
        multirsh.Flete  # noqa: B018 - the look is the test


@pytest.mark.parametrize(
    "code",
    ["import multirsh", "from multirsh.cli.main import main; main(['--help'])"],
    ids=["import", "help"],
)
def test_neither_the_import_nor_the_help_loads_what_a_run_needs(code: str) -> None:
    report = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    ended = subprocess.run(
        [sys.executable, "-c", report + code],
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG_GUARD_S,
    )
    assert {"asyncio", "asyncssh"} & set(ended.stderr.split()) == set()


def test_the_marker_of_types_is_in_the_package() -> None:
    assert Path(multirsh.__file__).with_name("py.typed").exists()
