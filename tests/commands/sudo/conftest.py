"""One sshd that is many hosts, with a real sudo, and rules of the test's own for it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.sudo.sudo_fleets import Fleets
from tests.servers.accounts import PASSWORD
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.servers.sshd import start_sshd
from tests.servers.sudoers import FAILLOCK, PEOPLE, SudoRules, make_rules


@pytest.fixture(scope="module")
def rules_of_all() -> Iterator[SudoRules]:
    """The rules of the file's server."""
    with tempfile.TemporaryDirectory(prefix="multirsh-sudo-") as folder:
        Path(folder).chmod(0o711)
        yield make_rules(Path(folder))


@pytest.fixture(scope="module")
def server(module_namespace: Namespace, rules_of_all: SudoRules) -> Iterator[Daemon]:
    """The file's server."""
    with start_sshd(namespace=module_namespace, replaced=rules_of_all.replaced(), people=PEOPLE) as started:
        yield started


@pytest.fixture
def rules(rules_of_all: SudoRules) -> SudoRules:
    """The rules as they are at first."""
    rules_of_all.rule()
    return rules_of_all


@pytest.fixture
def fleets(server: Daemon, rules: SudoRules, in_module_namespace: Namespace, tmp_path: Path) -> Fleets:
    """Of the file's server, whose rules are as at first."""
    return Fleets(server, tmp_path)


@pytest.fixture
def stack(rules: SudoRules) -> Iterator[SudoRules]:
    """PAM's modules as pam_faillock(8) documents them, which a test may change."""
    rules.authenticate(FAILLOCK)
    yield rules
    rules.authenticate()
    rules.set_password(PASSWORD)
