"""Events in, bytes out: for terminals, files and programs. Nothing here writes, waits or knows a network."""

from multirsh.output.batch import Batch, Write
from multirsh.output.options import Drawing, Mode, OutputOptions, Stdio, When
from multirsh.output.printer import Printer

__all__ = ["Batch", "Drawing", "Mode", "OutputOptions", "Printer", "Stdio", "When", "Write"]
