"""``multirsh runs``: the records of runs, listed, shown, compared, made into pages, and thrown away."""

from multirsh.cli.runs.diff import diff
from multirsh.cli.runs.group import runs
from multirsh.cli.runs.prune import prune
from multirsh.cli.runs.report import report
from multirsh.cli.runs.show import show

for _command in (show, diff, report, prune):
    runs.add_command(_command)

__all__ = ["runs"]
