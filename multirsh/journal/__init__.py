"""What happened, kept: a record of every run, which outlives it, and what is made of records later.

``Recorder`` writes one run's record, ``Journal`` reads them all. Nothing here
knows an event loop.
"""

from multirsh.journal.journal import Journal, RetentionLimits
from multirsh.journal.record import HostOutcome, RunState, RunSummary
from multirsh.journal.recorder import Recorder

__all__ = ["HostOutcome", "Journal", "Recorder", "RetentionLimits", "RunState", "RunSummary"]
