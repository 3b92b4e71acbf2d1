"""Skipping with a reason, except in CI, where nothing may be skipped."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

_ADMIN_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


def require(condition: object, reason: str) -> None:
    """Skip the test unless ``condition`` is true; fail it instead where ``CI`` is set.

    Args:
        condition: Anything with a truth value.
        reason: What is missing and what needs it, for the report.
    """
    __tracebackhide__ = True
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI must not skip: {reason}", pytrace=False)
    pytest.skip(reason)


def require_root() -> None:
    """Skip (in CI: fail) unless we are root."""
    __tracebackhide__ = True
    require(os.geteuid() == 0, "needs root: a network namespace, a server that logs users in")


def program(name: str, *, package: str) -> Path:
    """Find a program, the administrator's folders included; skip (in CI: fail) where it is missing.

    Args:
        name: The program's file name.
        package: The Debian package that holds it, for the reason.
    """
    __tracebackhide__ = True
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_ADMIN_PATH}")
    require(found, f"needs {name} (Debian package {package})")
    return Path(str(found))
