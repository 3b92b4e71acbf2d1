"""The reports behind ``multirsh ports`` and ``multirsh ports PORT``: values in, values out.

``survey`` looks at all ports, ``diagnose_port`` at one. Both are pure; only
``probe`` asks the kernel something.
"""

from multirsh.ports.diagnosis.advice import Finding, FindingKind, Way
from multirsh.ports.diagnosis.binding import Answer, Attempt, Outcome, Reason, Unless, usual_attempts
from multirsh.ports.diagnosis.port import Bind, PortReport, Situation, diagnose_port
from multirsh.ports.diagnosis.survey import Survey, survey
from multirsh.ports.diagnosis.values import Destination, Group, Holder, Holders, Side

__all__ = [
    "Answer",
    "Attempt",
    "Bind",
    "Destination",
    "Finding",
    "FindingKind",
    "Group",
    "Holder",
    "Holders",
    "Outcome",
    "PortReport",
    "Reason",
    "Side",
    "Situation",
    "Survey",
    "Unless",
    "Way",
    "diagnose_port",
    "survey",
    "usual_attempts",
]
