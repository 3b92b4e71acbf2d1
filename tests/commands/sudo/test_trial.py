"""A password that nobody has accepted is given to one host after the other, and a refused one to nobody."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from multirsh.commands.sudo.trial import ENOUGH, Answer, Stage, Trial, Verdict


def test_one_host_is_asked_and_then_all() -> None:
    trial = Trial()
    assert [trial.ask(host) for host in "abc"] == [Answer.YES, Answer.WAIT, Answer.WAIT]
    trial.tell("a", Verdict.ACCEPTED)
    assert [trial.ask(host) for host in "bcd"] == [Answer.YES] * 3


def test_the_first_refusal_is_the_last() -> None:
    trial = Trial()
    trial.ask("a")
    trial.tell("a", Verdict.REFUSED)
    assert [trial.ask(host) for host in "abc"] == [Answer.NO] * 3
    assert trial.refused_on == ["a"]


def test_once_accepted_three_refusals_stop_it() -> None:
    trial = Trial()
    trial.ask("a")
    trial.tell("a", Verdict.ACCEPTED)
    for host in "bcd":
        assert trial.ask(host) is Answer.YES
        trial.tell(host, Verdict.REFUSED)
    assert trial.ask("e") is Answer.NO
    assert trial.refused_on == ["b", "c", "d"]


def test_once_a_host_needs_none_the_others_are_probed() -> None:
    trial = Trial()
    assert [trial.ask(host) for host in "ab"] == [Answer.YES, Answer.WAIT]
    trial.tell("a", Verdict.FREE)
    assert [trial.ask(host) for host in "bcd"] == [Answer.YES, Answer.PROBE, Answer.PROBE]
    assert trial.ask("c", has_probed=True) is Answer.WAIT
    trial.tell("b", Verdict.REFUSED)
    assert trial.ask("c", has_probed=True) is Answer.NO


@pytest.mark.parametrize("verdict", [Verdict.NONE, Verdict.FREE])
def test_who_says_nothing_of_it_lets_the_next_one_try(verdict: Verdict) -> None:
    trial = Trial()
    trial.ask("a")
    assert trial.ask("b") is Answer.WAIT
    trial.tell("a", verdict)
    assert trial.ask("b") is Answer.YES
    assert trial.stage is Stage.UNPROVEN


def test_who_takes_too_long_holds_nobody_up_and_counts_later() -> None:
    trial = Trial()
    trial.ask("a")
    trial.overdue("a")
    assert trial.ask("b") is Answer.YES
    assert trial.ask("c") is Answer.WAIT
    trial.tell("a", Verdict.REFUSED)
    assert trial.ask("c") is Answer.NO


class Course(RuleBasedStateMachine):
    """Hosts come, are told, and tell, in any order, and some take too long."""

    def __init__(self) -> None:
        super().__init__()
        self.trial = Trial()
        self.told_yes: set[str] = set()
        self.overdue: set[str] = set()
        self.has_free = False

    @rule(host=st.sampled_from("abcdef"))
    def ask(self, host: str) -> None:
        if host in self.told_yes:
            return
        stage, others = self.trial.stage, self.told_yes - self.overdue
        answer = self.trial.ask(host)
        if stage is Stage.STOPPED:
            assert answer is Answer.NO
        elif stage is Stage.PROVEN:
            assert answer is Answer.YES
        else:
            waits = Answer.PROBE if self.has_free else Answer.WAIT
            assert answer is (waits if others else Answer.YES)
        if answer is Answer.YES:
            self.told_yes.add(host)

    @precondition(lambda self: self.told_yes)
    @rule(data=st.data())
    def late(self, data: st.DataObject) -> None:
        host = data.draw(st.sampled_from(sorted(self.told_yes)))
        self.trial.overdue(host)
        self.overdue.add(host)

    @precondition(lambda self: self.told_yes)
    @rule(data=st.data(), verdict=st.sampled_from(Verdict))
    def tell(self, data: st.DataObject, verdict: Verdict) -> None:
        host = data.draw(st.sampled_from(sorted(self.told_yes)))
        self.told_yes.discard(host)
        self.overdue.discard(host)
        self.trial.tell(host, verdict)
        self.has_free |= verdict is Verdict.FREE

    @invariant()
    def too_many_refusals_never_go_on(self) -> None:
        if len(self.trial.refused_on) >= ENOUGH:
            assert self.trial.stage is Stage.STOPPED


TestCourse = Course.TestCase
