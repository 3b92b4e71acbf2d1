"""Events in, bytes out, for terminals, files and programs; nothing here writes, waits or uses the network."""

from multirsh.output.batch import Batch, HostFile, Stream, Target, Write
from multirsh.output.options import Drawing, Mode, OutputOptions, Stdio, When
from multirsh.output.printer import Printer

__all__ = [
    "Batch",
    "Drawing",
    "HostFile",
    "Mode",
    "OutputOptions",
    "Printer",
    "Stdio",
    "Stream",
    "Target",
    "When",
    "Write",
]
