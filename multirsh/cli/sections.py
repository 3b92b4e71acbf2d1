"""Options under headings: ``--help`` shows them in the order of their use and not in one long list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

OTHER = "Other"
"""The heading of what belongs nowhere else."""


class SectionOption(click.Option):
    """An option that knows its heading."""

    def __init__(self, *args: Any, section: str = OTHER, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.section = section


class Setting(SectionOption):
    """A setting that no word of the command line gives: an environment variable, and a key of config.toml."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, hidden=True, **settings)

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let no word of the command line be it."""


class SectionCommand(click.Command):
    """A command whose ``--help`` shows options by section, each where its first option is declared."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        write_options(self.get_params(ctx), ctx, formatter)


def write_options(
    parameters: Iterable[click.Parameter], ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    """Write options by section, all explanations in one column."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for parameter in parameters:
        row = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
        if row is not None:
            section = parameter.section if isinstance(parameter, SectionOption) else OTHER
            sections.setdefault(section, []).append(row)
    width = max(len(names) for rows in sections.values() for names, _ in rows)
    for section, rows in sections.items():
        with formatter.section(section):
            formatter.write_dl([(names.ljust(width), text) for names, text in rows], col_max=width)
