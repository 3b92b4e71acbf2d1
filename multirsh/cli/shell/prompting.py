"""The prompt at a terminal: editing, history, completion; by prompt_toolkit."""

from __future__ import annotations

import select
import sys
import termios
from collections.abc import Iterable
from contextlib import suppress

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import History
from prompt_toolkit.input import create_input
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.output import create_output
from prompt_toolkit.utils import is_dumb_terminal

from multirsh.cli.process import STDIN
from multirsh.cli.shell.completion import Vocabulary, candidates


class Prompting:
    """A ``Reader`` of what is typed."""

    is_person = True

    def __init__(self, history: History, vocabulary: Vocabulary, *, color: bool) -> None:
        """Open the terminal.

        Args:
            history: Lines of before, and where new ones go.
            vocabulary: What Tab completes.
            color: Whether the prompt is coloured.
        """
        self._color = color
        self._session: PromptSession[str] = PromptSession(
            history=history,
            completer=_Completer(vocabulary, history),
            complete_while_typing=False,
            enable_history_search=True,
            enable_suspend=True,
            input=create_input(sys.stdin),
            output=create_output(sys.stderr),
        )

    async def read(self, prompt: tuple[str, str], *, is_line_ours: bool) -> str | None:
        """The next line; Ctrl-C gives up what is typed, Ctrl-D on an empty line is the end."""
        selection, rest = prompt
        if not is_dumb_terminal():
            self._begin_line(is_line_ours=is_line_ours)
        while True:
            try:
                return await self._session.prompt_async(
                    [("ansicyan" if self._color else "", selection), ("", rest)],
                    handle_sigint=False,  # ours stays: the signal is no key, and means us
                    set_exception_handler=False,
                )
            except KeyboardInterrupt:
                continue
            except EOFError:
                return None

    def _begin_line(self, *, is_line_ours: bool) -> None:
        """Go to the beginning of an empty line, where prompt_toolkit takes the cursor to be."""
        output = self._session.output
        if not is_line_ours:
            # From the first column this stays in its line, and from any other it goes on into the next.
            output.write_raw(" " * (output.get_size().columns - 1))
        output.write_raw("\r")
        output.erase_end_of_line()
        output.flush()

    def drop_ahead(self) -> bool:
        """Forget what the terminal has, and what came in one piece with the last line."""
        has_some = bool(get_typeahead(self._session.input)) or bool(select.select([STDIN], [], [], 0)[0])
        with suppress(termios.error):  # hung up
            termios.tcflush(STDIN, termios.TCIFLUSH)
        return has_some


class _Completer(Completer):
    def __init__(self, vocabulary: Vocabulary, history: History) -> None:
        self._vocabulary = vocabulary
        self._history = history

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002 - prompt_toolkit's signature
        """As ``candidates`` has them."""
        typed = reversed(self._history.get_strings())
        part, found = candidates(document.text_before_cursor, self._vocabulary, typed)
        return [Completion(name, start_position=-len(part)) for name in found]
