"""The reports behind ``multirsh ports`` and ``multirsh ports PORT``: values in, values out.

``survey`` looks at all ports, ``diagnose_port`` at one. Both are pure; only
``probe`` asks the kernel something.
"""

from multirsh.ports.diagnosis.advice import Finding, FindingKind, Remedy
from multirsh.ports.diagnosis.binding import Attempt, BindAnswer, Outcome, Reason, Unless, usual_attempts
from multirsh.ports.diagnosis.port import Bind, PortReport, Situation, diagnose_port
from multirsh.ports.diagnosis.survey import Survey, survey
from multirsh.ports.diagnosis.values import DestinationUse, Holder, HoldersByInode, Side, SocketGroup

__all__ = [
    "Attempt",
    "Bind",
    "BindAnswer",
    "DestinationUse",
    "Finding",
    "FindingKind",
    "Holder",
    "HoldersByInode",
    "Outcome",
    "PortReport",
    "Reason",
    "Remedy",
    "Side",
    "Situation",
    "SocketGroup",
    "Survey",
    "Unless",
    "diagnose_port",
    "survey",
    "usual_attempts",
]
