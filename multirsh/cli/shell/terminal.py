"""Lines typed at a terminal: prompt, editing, completion and history, by prompt_toolkit."""

from __future__ import annotations

import os
import select
import sys
import termios
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import create_input
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.output import create_output
from prompt_toolkit.utils import is_dumb_terminal

from multirsh.cli.process import STDIN
from multirsh.cli.shell.line import Vocabulary, completions
from multirsh.errors import UsageError
from multirsh.journal.state_folder import (
    PRIVATE_FILE,
    call_with_timeout,
    check_owner,
    make_private,
    open_owned,
    state_folder,
)

HISTORY_FILE: Final = "shell_history"


class TerminalLineReader:
    """A ``LineReader`` of the lines that are typed at a terminal."""

    is_interactive = True

    def __init__(self, history: History, vocabulary: Vocabulary, *, color: bool) -> None:
        """Open the terminal.

        Args:
            history: The earlier lines, to which new ones are added.
            vocabulary: The names that Tab completes.
            color: Whether the prompt is coloured.
        """
        self._color = color
        self._session: PromptSession[str] = PromptSession(
            history=history,
            completer=_LineCompleter(vocabulary, history),
            complete_while_typing=False,
            enable_history_search=True,
            enable_suspend=True,
            input=create_input(sys.stdin),
            output=create_output(sys.stderr),
        )

    async def read(self, prompt: tuple[str, str], *, keep_cursor_line: bool) -> str | None:
        """Return the next line; ``None`` for Ctrl-D on an empty line. Ctrl-C clears the line."""
        selection, rest = prompt
        if not is_dumb_terminal():
            self._begin_line(keep_cursor_line=keep_cursor_line)
        while True:
            try:
                return await self._session.prompt_async(
                    [("ansicyan" if self._color else "", selection), ("", rest)],
                    handle_sigint=False,  # the session handles the signal, which is not the key Ctrl-C here
                    set_exception_handler=False,
                )
            except KeyboardInterrupt:
                continue
            except EOFError:
                return None

    def _begin_line(self, *, keep_cursor_line: bool) -> None:
        """Go to the beginning of an empty line, where prompt_toolkit takes the cursor to be."""
        output = self._session.output
        if keep_cursor_line:
            # From the first column, this stays on the line; from any other, it wraps onto the next.
            output.write_raw(" " * (output.get_size().columns - 1))
        output.write_raw("\r")
        output.erase_end_of_line()
        output.flush()

    def discard_typeahead(self) -> bool:
        """Discard what the terminal holds, and what arrived together with the last line."""
        has_some = bool(get_typeahead(self._session.input)) or bool(select.select([STDIN], [], [], 0)[0])
        with suppress(termios.error):  # the terminal has hung up
            termios.tcflush(STDIN, termios.TCIFLUSH)
        return has_some


class _LineCompleter(Completer):
    def __init__(self, vocabulary: Vocabulary, history: History) -> None:
        self._vocabulary = vocabulary
        self._history = history

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002 - prompt_toolkit's signature
        """Return the candidates of ``completions``."""
        history = reversed(self._history.get_strings())
        part, found = completions(document.text_before_cursor, self._vocabulary, history)
        return [Completion(name, start_position=-len(part)) for name in found]


class _DiscreetHistory(History):
    """A history without the lines that begin with a blank, as with ``HISTCONTROL=ignorespace`` (bash(1))."""

    def append_string(self, string: str) -> None:
        """Add a line, or several that were pasted."""
        lines = "\n".join(line for line in string.split("\n") if not line[:1].isspace())
        if lines:
            super().append_string(lines)


class _DiscreetFileHistory(_DiscreetHistory, FileHistory):
    """A history that later shells find again."""


class _DiscreetMemoryHistory(_DiscreetHistory, InMemoryHistory):
    """A history that ends with the shell."""


def open_history() -> tuple[History, str | None]:
    """Open the history in the state folder.

    Returns:
        The history; and ``None``, or why it is only in memory.
    """
    try:
        path = state_folder() / HISTORY_FILE
    except UsageError as error:
        return _DiscreetMemoryHistory(), f"the history is not saved: {error.message}"
    try:
        call_with_timeout(lambda: _make_history_file(path))
    except OSError as error:
        reason = f"{error.filename or path}: {error.strerror}"
        return _DiscreetMemoryHistory(), f"the history is not saved: {reason}"
    return _DiscreetFileHistory(path), None


def _make_history_file(path: Path) -> None:
    """Create the file if it is missing, readable by the user alone.

    Raises:
        OSError: It cannot be created, or the file or its folder belongs to another user.
    """
    make_private(path.parent)
    check_owner(path.parent.stat(), path.parent)
    descriptor = open_owned(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        os.fchmod(descriptor, PRIVATE_FILE)
    finally:
        os.close(descriptor)
