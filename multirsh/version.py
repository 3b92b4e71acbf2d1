"""The version, said once. The build reads it from this line, which is why it stands so plainly."""

__version__ = "0.1.0"
