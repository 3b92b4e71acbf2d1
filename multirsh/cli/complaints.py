"""What is wrong with a command line, on one line: the option as it is known, and the way out.

click's own account takes four lines, of which the reader needs one.
"""

from __future__ import annotations

import difflib
from typing import Final

import click
from click.core import ParameterSource

from multirsh.cli.sections import Setting

_LIKENESS: Final = 0.6
"""From which on a spelling is worth a suggestion; below, suggestions are noise."""


def worded(error: click.ClickException) -> str:
    """Word what click found wrong."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    see = "see multirsh --help" if ctx is None else f"see {_path(ctx)} --help"
    match error:
        case click.NoSuchOption():
            near = _near(error)
            return f"there is no option {error.option_name}; {f'did you mean {near}?' if near else see}"
        case click.BadParameter() if error.param is not None and error.message:
            return f"{_source(error.param, error.ctx)}: {error.message.rstrip('.')}"
        case _:
            message = error.format_message().rstrip(".")
            return f"{message[:1].lower()}{message[1:]}; {see}"


def _path(ctx: click.Context) -> str:
    """``run`` goes without saying."""
    return ctx.command_path.removesuffix(" run")


def _near(error: click.NoSuchOption) -> str | None:
    if error.ctx is None:
        return None
    names = {
        name.lstrip("-"): name
        for parameter in error.ctx.command.params
        for name in parameter.opts
        if name.startswith("--") and not isinstance(parameter, Setting)
    }
    found = difflib.get_close_matches(error.option_name.lstrip("-"), names, n=1, cutoff=_LIKENESS)
    return names[found[0]] if found else None


def _source(parameter: click.Parameter, ctx: click.Context | None) -> str:
    """Where the value stands that is to be mended."""
    from_environment = (
        ctx is not None
        and parameter.name is not None
        and ctx.get_parameter_source(parameter.name) is ParameterSource.ENVIRONMENT
    )
    if from_environment and isinstance(parameter.envvar, str):
        return parameter.envvar
    if isinstance(parameter, click.Argument):
        return (parameter.name or "").upper()
    return "/".join(parameter.opts)
