"""A run as one page: events in, HTML out, for a browser that fetches nothing else."""

from multirsh.report.report import Report

__all__ = ["Report"]
