"""The journal: a record of every run on disk, and what later runs and reports make of it.

``Recorder`` writes the record of one run, ``Journal`` reads all of them. Nothing
here uses an event loop.
"""

from multirsh.journal.journal import Journal, RetentionLimits
from multirsh.journal.record import HostOutcome, RunState, RunSummary
from multirsh.journal.recorder import Recorder

__all__ = ["HostOutcome", "Journal", "Recorder", "RetentionLimits", "RunState", "RunSummary"]
