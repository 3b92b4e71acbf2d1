"""A password that nobody has accepted is given to one host after the other, and a refused one to nobody."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from multirsh.commands.sudo.trial import (
    ENOUGH_REFUSALS,
    PasswordTrial,
    PasswordVerdict,
    Permission,
    TrialState,
)


def test_one_host_is_asked_and_then_all() -> None:
    trial = PasswordTrial()
    assert [trial.ask(host) for host in "abc"] == [Permission.YES, Permission.WAIT, Permission.WAIT]
    trial.judge("a", PasswordVerdict.ACCEPTED)
    assert [trial.ask(host) for host in "bcd"] == [Permission.YES] * 3


def test_the_first_refusal_is_the_last() -> None:
    trial = PasswordTrial()
    trial.ask("a")
    trial.judge("a", PasswordVerdict.REFUSED)
    assert [trial.ask(host) for host in "abc"] == [Permission.NO] * 3
    assert trial.refused_on == ["a"]


def test_once_accepted_three_refusals_stop_it() -> None:
    trial = PasswordTrial()
    trial.ask("a")
    trial.judge("a", PasswordVerdict.ACCEPTED)
    for host in "bcd":
        assert trial.ask(host) is Permission.YES
        trial.judge(host, PasswordVerdict.REFUSED)
    assert trial.ask("e") is Permission.NO
    assert trial.refused_on == ["b", "c", "d"]


def test_once_a_host_needs_none_the_others_are_probed() -> None:
    trial = PasswordTrial()
    assert [trial.ask(host) for host in "ab"] == [Permission.YES, Permission.WAIT]
    trial.judge("a", PasswordVerdict.NOT_NEEDED)
    assert [trial.ask(host) for host in "bcd"] == [Permission.YES, Permission.PROBE, Permission.PROBE]
    assert trial.ask("c", has_probed=True) is Permission.WAIT
    trial.judge("b", PasswordVerdict.REFUSED)
    assert trial.ask("c", has_probed=True) is Permission.NO


@pytest.mark.parametrize("verdict", [PasswordVerdict.UNKNOWN, PasswordVerdict.NOT_NEEDED])
def test_who_says_nothing_of_it_lets_the_next_one_try(verdict: PasswordVerdict) -> None:
    trial = PasswordTrial()
    trial.ask("a")
    assert trial.ask("b") is Permission.WAIT
    trial.judge("a", verdict)
    assert trial.ask("b") is Permission.YES
    assert trial.state is TrialState.UNPROVEN


def test_who_takes_too_long_holds_nobody_up_and_counts_later() -> None:
    trial = PasswordTrial()
    trial.ask("a")
    trial.overdue("a")
    assert trial.ask("b") is Permission.YES
    assert trial.ask("c") is Permission.WAIT
    trial.judge("a", PasswordVerdict.REFUSED)
    assert trial.ask("c") is Permission.NO


class Course(RuleBasedStateMachine):
    """Hosts come, are told, and tell, in any order, and some take too long."""

    def __init__(self) -> None:
        super().__init__()
        self.trial = PasswordTrial()
        self.told_yes: set[str] = set()
        self.overdue: set[str] = set()
        self.has_free = False

    @rule(host=st.sampled_from("abcdef"))
    def ask(self, host: str) -> None:
        if host in self.told_yes:
            return
        stage, others = self.trial.state, self.told_yes - self.overdue
        answer = self.trial.ask(host)
        if stage is TrialState.STOPPED:
            assert answer is Permission.NO
        elif stage is TrialState.PROVEN:
            assert answer is Permission.YES
        else:
            waits = Permission.PROBE if self.has_free else Permission.WAIT
            assert answer is (waits if others else Permission.YES)
        if answer is Permission.YES:
            self.told_yes.add(host)

    @precondition(lambda self: self.told_yes)
    @rule(data=st.data())
    def late(self, data: st.DataObject) -> None:
        host = data.draw(st.sampled_from(sorted(self.told_yes)))
        self.trial.overdue(host)
        self.overdue.add(host)

    @precondition(lambda self: self.told_yes)
    @rule(data=st.data(), verdict=st.sampled_from(PasswordVerdict))
    def tell(self, data: st.DataObject, verdict: PasswordVerdict) -> None:
        host = data.draw(st.sampled_from(sorted(self.told_yes)))
        self.told_yes.discard(host)
        self.overdue.discard(host)
        self.trial.judge(host, verdict)
        self.has_free |= verdict is PasswordVerdict.NOT_NEEDED

    @invariant()
    def too_many_refusals_never_go_on(self) -> None:
        if len(self.trial.refused_on) >= ENOUGH_REFUSALS:
            assert self.trial.state is TrialState.STOPPED


TestCourse = Course.TestCase
