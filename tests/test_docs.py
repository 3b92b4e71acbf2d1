"""The words of the project are true: their examples run, and their options are those there are."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import itertools
import os
import pwd
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import pytest

from multirsh.cli.main import group
from multirsh.exit_code import BY_STATUS, ExitCode
from multirsh.lab import Lab, LabOptions
from multirsh.model import ErrorKind, Phase, Status
from multirsh.testing.conformance import TransportConformance
from tests.waiting import HANG_GUARD_S

ROOT: Final = Path(__file__).parent.parent
README: Final = ROOT / "README.md"
PAGES: Final = [README, *sorted((ROOT / "docs").glob("*.md"))]

SUBCOMMANDS: Final = group.list_commands(click.Context(group))

OTHERS_OPTIONS: Final = {
    *(
        "--check",
        "--dist",
        "--durations",
        "--newest",
        "--oldest",
        "--platform",
        "--preserve-symlinks-main",
        "--quick",
    ),
    "--strict",
}
"""Options of programs that are not multirsh and that the pages speak of."""

FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE: Final = re.compile(r"`([^`\n]+)`")
OPTION: Final = re.compile(r"(?<![\w-])(--[a-z][a-z-]*|-[A-Za-z])\b(?!-)")
ASSIGNMENT: Final = re.compile(r"\w+=")
TABLE_ROW: Final = re.compile(r"^\|.*\|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page.

    Attributes:
        kind: The word after the fence.
        text: What is in it.
        line: Where it begins in its page.
    """

    kind: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start()) + 1) for found in FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def command_named(name: str) -> click.Command:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    return command


def options_of(command: click.Command) -> set[str]:
    """Its own, and those of the subcommands that it has beside."""
    below = command.commands.values() if isinstance(command, click.Group) and command is not group else ()
    return set().union(*map(options_of, below)) | {
        name
        for parameter in command.get_params(click.Context(command))
        if isinstance(parameter, click.Option) and not parameter.hidden
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


def all_options() -> set[str]:
    return options_of(group).union(*(options_of(command_named(name)) for name in SUBCOMMANDS))


# ---------------------------------------------------------------- python blocks


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "library.md"], ids=lambda page: page.name)
async def test_python_examples_do_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page's blocks run one after another in one namespace; a ``text`` block is what comes out."""
    monkeypatch.chdir(tmp_path)
    async with Lab(LabOptions(port=0)) as lab:
        a_home_that_knows(lab, tmp_path, monkeypatch)
        names: dict[str, Any] = {"__name__": "__page__"}
        printed: str | None = None
        for block in blocks(page):
            if block.kind == "python":
                where = f"{page.name}:{block.line}"
                printed = await run_example(block.text, where=where, names=names)
            elif block.kind == "text" and printed is not None:
                # Hosts end in any order; the run's own last line has its place all the same.
                assert sorted(printed.splitlines()) == sorted(block.text.splitlines()), block.line
                printed = None


def transport_of_the_page() -> type[TransportConformance]:
    """The tests of the page's own transport."""
    page = ROOT / "docs" / "transports.md"
    names: dict[str, Any] = {"__name__": "__page__"}
    for block in blocks(page):
        if block.kind == "python":
            exec(compile(block.text, f"{page.name}:{block.line}", "exec"), names)  # noqa: S102 - our own page
    (suite,) = (
        value
        for value in names.values()
        if isinstance(value, type)
        and issubclass(value, TransportConformance)
        and value.__name__[:4] == "Test"
    )
    return suite


@pytest.mark.root
@pytest.mark.parametrize("test", [name for name in dir(TransportConformance) if name.startswith("test_")])
def test_the_transport_of_the_page_conforms(test: str) -> None:
    getattr(transport_of_the_page()(), test)()


def a_home_that_knows(lab: Lab, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the reader of the page a home, and current folder, in which the lab is known."""
    (folder / ".ssh").mkdir()
    (folder / ".ssh" / "config").write_bytes(lab.ssh_config.read_bytes())
    (folder / ".ssh" / "config").chmod(0o600)
    mine = pwd.getpwuid(os.getuid())
    there = pwd.struct_passwd((*mine[:5], str(folder), mine.pw_shell))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: there)
    (folder / "hosts.yaml").write_bytes(lab.hosts_file.read_bytes())
    (folder / "password.txt").write_text("secret\n", encoding="ascii")


async def run_example(source: str, *, where: str, names: dict[str, Any]) -> str:
    """Run it as ``python -m asyncio`` does, or in a thread if it has no ``await``; what it prints."""
    code = compile(source, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        async with asyncio.timeout(HANG_GUARD_S):
            if code.co_flags & inspect.CO_COROUTINE:
                await eval(code, names)  # noqa: S307 - our own page
            else:
                await asyncio.to_thread(exec, code, names)
    return said.getvalue()


# ---------------------------------------------------------------- console blocks


@dataclass(frozen=True, slots=True)
class Typed:
    """A command of a console block.

    Attributes:
        words: What was typed.
        shown: The lines that the page shows below it.
    """

    words: str
    shown: tuple[str, ...]


def typed_in(block: Block) -> Iterator[Typed]:
    words: str | None = None
    shown: list[str] = []
    for line in [*block.text.splitlines(), "$ "]:
        if line.startswith("$ "):
            if words is not None:
                yield Typed(words, tuple(shown))
            words, shown = line[2:], []
        elif words is not None and line.startswith("> "):
            words += "\n" + line[2:]
        else:
            shown.append(line)


def console(page: Path) -> list[Typed]:
    return [typed for block in blocks(page) if block.kind in {"console", "sh"} for typed in typed_in(block)]


def multirsh_words(typed: str) -> Iterator[list[str]]:
    """The words of each multirsh command line within ``typed``."""
    lexer = shlex.shlex(typed, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    for is_separator, words in itertools.groupby(lexer, lambda word: set(word) <= set("|&;()<>")):
        plain = list(itertools.dropwhile(ASSIGNMENT.match, words))
        if not is_separator and plain and plain[0].endswith("multirsh"):
            yield plain[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_understood(page: Path) -> None:
    for typed in console(page):
        for words in multirsh_words(typed.words):
            if words == ["--version"]:
                continue
            name, rest = (words[0], words[1:]) if words[0] in SUBCOMMANDS else ("run", words)
            command = command_named(name)
            if isinstance(command, click.Group) and rest and rest[0] in command.commands:
                command, rest = command.commands[rest[0]], rest[1:]
            with command.make_context("multirsh", list(rest)) as context:
                assert context.params is not None


def examples(page: Path) -> list[Typed]:
    """The page's ``hosts`` and ``lab`` commands with what they print."""
    return [
        typed
        for typed in console(page)
        if re.match(r"multirsh (hosts|lab) ", typed.words) and typed.shown and "uptime" not in typed.words
    ]


WITH_EXAMPLES: Final = {README: 7, ROOT / "docs" / "control.md": 6, ROOT / "docs" / "output.md": 3}
"""Pages, and how many there are at the least."""


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param(typed, id=f"{page.name}-{number}")
        for page in WITH_EXAMPLES
        for number, typed in enumerate(examples(page), 1)
    ],
)
def test_what_pages_show_is_what_is_printed(typed: Typed, tmp_path: Path) -> None:
    """Times, ports and the run's id may differ."""
    (files,) = [block.text for block in blocks(README) if block.kind == "yaml"]
    (tmp_path / "hosts.yaml").write_text(files, encoding="utf-8")
    command = typed.words.replace("multirsh", f"{shlex.quote(sys.executable)} -m multirsh", 1)
    ended = subprocess.run(
        ["sh", "-c", f"{{ {command}; }} 2>&1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MULTIRSH_PROGRESS": "never"},
        capture_output=True,
        text=True,
        timeout=HANG_GUARD_S,
        check=False,
    )
    assert sorted(map(steady, ended.stdout.splitlines())) == sorted(map(steady, typed.shown))


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.name)
def test_pages_show_examples(page: Path) -> None:
    assert len(examples(page)) >= WITH_EXAMPLES[page]


def steady(line: str) -> str:
    """The line without what differs from run to run."""
    if line.startswith("{"):
        line = re.sub(r'"run":"[^"]*"', '"run":"RUN"', line)
        return re.sub(r"(?<=:)\d+(\.\d+)?(e-\d+)?(?=[,}])", "N", line)
    line = re.sub(r"(?<=^local ports: )\d+ at once", "N at once", line)  # some only drain, for a moment
    return re.sub(r"\d+\.\d (m?s)$", r"N \1", line)


# ---------------------------------------------------------------- options, statuses, codes


def test_every_option_is_documented() -> None:
    written = set(OPTION.findall(prose(ROOT / "docs" / "cli.md")))
    assert all_options() - written == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_pages_name_are_real(page: Path) -> None:
    text = prose(page)
    if page.name == "coming-from.md":
        # Other tools' options are its point; ours are in the last column.
        text = "\n".join(row.rstrip("|").rpartition("|")[2] for row in TABLE_ROW.findall(text))
    named = {
        option for code in CODE.findall(text) for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)
    }
    assert named - all_options() - OTHERS_OPTIONS == set()


def test_each_promise_of_security_names_tests_that_are_there() -> None:
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(
            r"^ *(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "security.md").read_text(encoding="utf-8"))
    assert named
    assert set(named) - there == set()


def rows(page: Path, heading: str) -> list[list[str]]:
    section = page.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = [[cell.strip() for cell in row.strip("|").split("|")] for row in TABLE_ROW.findall(section)]
    return found[2:]


def test_statuses_and_their_exit_codes_are_those_of_the_code() -> None:
    table = {row[0].strip("`"): int(row[-1]) for row in rows(ROOT / "docs" / "cli.md", "Statuses")}
    assert table == {status.value: code.value for status, code in BY_STATUS.items()}
    assert set(table) == {status.value for status in Status}


def test_exit_codes_are_those_of_the_code() -> None:
    table = {row[0] for row in rows(ROOT / "docs" / "cli.md", "Exit codes")}
    assert table == {str(code.value) for code in ExitCode} | {"128+N"}


@pytest.mark.parametrize("words", [Phase, ErrorKind], ids=lambda words: words.__name__)
def test_words_of_events_are_documented(words: type[Phase | ErrorKind]) -> None:
    section = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").split("\n## Events\n")[1]
    start = "- `phase`" if words is Phase else "- `kind`"
    paragraph = section.split(start)[1].split("\n- ")[0]
    assert set(CODE.findall(paragraph)) == {word.value for word in words}


# ---------------------------------------------------------------- links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_files_that_pages_name_are_there() -> None:
    missing = [
        (page.name, path) for page in PAGES for path in files_named(prose(page)) if not (ROOT / path).exists()
    ]
    assert missing == []


def files_named(text: str) -> Sequence[str]:
    return re.findall(r"`((?:multirsh|tests|docs|\.ci)/[\w./-]*\w)`", text)


def test_tests_that_pages_name_are_there() -> None:
    written = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("*.py"))
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", prose(page))}
    assert {name for name in named if f"def {name}(" not in written} == set()


def test_the_wire_test_of_the_contributors_page_is_the_real_one() -> None:
    (example,) = [block.text for block in blocks(ROOT / "docs" / "contributing.md") if block.kind == "python"]
    assert example in (ROOT / "tests" / "servers" / "test_daemon.py").read_text(encoding="utf-8")


def test_the_map_names_every_package_and_module() -> None:
    rooms = {row[0] for row in rows(ROOT / "docs" / "architecture.md", "The packages")}
    named = {name for room in rooms for name in CODE.findall(room)}
    there = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "multirsh").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    rooms_in_rooms = {f"transports/{name}/" for name in ("ssh", "rsh", "process", "exec", "local")}
    assert named == there - {"__init__.py", "__main__.py"} | rooms_in_rooms | {
        "commands/sudo/",
        "engine/schedule/",
    }
