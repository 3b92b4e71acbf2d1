"""The order of closing: every state and event moves by the table, or raises and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.errors import IllegalTransition
from multirsh.model import ClosedBy
from multirsh.transports.close_order import TRANSITIONS, CloseOrder, CloseStep, Event, State, diagram

DIAGRAM_PAGE = Path(__file__).parents[2] / "docs" / "close-order.md"

FINAL = {State.CLOSED_BY_REMOTE, State.RESET}


def machine_in(state: State) -> CloseOrder:
    """A machine brought to ``state`` by events, not by hand."""
    ways: dict[State, tuple[Event, ...]] = {
        State.OPEN: (),
        State.FLUSHING: (Event.CLOSE_WANTED,),
        State.AWAITING_PEER: (Event.CLOSE_WANTED, Event.FLUSHED),
        State.CLOSED_BY_REMOTE: (Event.PEER_FIN,),
        State.RESET: (Event.PEER_RESET,),
    }
    machine = CloseOrder()
    for event in ways[state]:
        machine.receive(event)
    assert machine.state is state
    return machine


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_every_state_and_event_moves_by_the_table_or_changes_nothing(state: State, event: Event) -> None:
    machine = machine_in(state)
    if event in TRANSITIONS[state]:
        target, command = TRANSITIONS[state][event]
        assert machine.receive(event) is command
        assert machine.state is target
    else:
        with pytest.raises(IllegalTransition, match=f"{event.name} in {state.name}"):
            machine.receive(event)
        assert machine.state is state


def test_every_state_has_a_row() -> None:
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize("state", [state for state in State if state not in FINAL])
def test_a_connection_that_lives_can_be_ended_by_the_peer_and_by_us_in_a_hurry(state: State) -> None:
    row = TRANSITIONS[state]
    assert row[Event.PEER_FIN] == (State.CLOSED_BY_REMOTE, CloseStep.CLOSE_SOCKET)
    assert row[Event.PEER_RESET] == (State.RESET, CloseStep.CLOSE_SOCKET)
    assert row[Event.ABANDONED] == (State.RESET, CloseStep.RESET_SOCKET)
    assert Event.CLOSE_WANTED in row, "close() may be called again"


@given(st.lists(st.sampled_from(Event)))
def test_a_socket_is_closed_plainly_only_after_the_peer_ended_it(events: list[Event]) -> None:
    machine = CloseOrder()
    for event in events:
        if event not in TRANSITIONS[machine.state]:
            continue
        command = machine.receive(event)
        if command is CloseStep.CLOSE_SOCKET:
            assert event in {Event.PEER_FIN, Event.PEER_RESET}
        if event is Event.PEER_FIN:
            assert machine.closed_by is ClosedBy.REMOTE
        assert machine.closed_by is not ClosedBy.LOCAL
        assert (machine.closed_by is not None) == (machine.state in FINAL)


@given(st.lists(st.sampled_from(Event)))
def test_the_deadline_always_ends_it_once_the_close_was_wanted(events: list[Event]) -> None:
    machine = CloseOrder()
    for event in events:
        if event in TRANSITIONS[machine.state]:
            machine.receive(event)
    if machine.state in {State.FLUSHING, State.AWAITING_PEER}:
        assert machine.receive(Event.DEADLINE) is CloseStep.RESET_SOCKET
        assert machine.closed_by is ClosedBy.RESET


def test_the_diagram_in_the_docs_is_the_table() -> None:
    assert diagram() in DIAGRAM_PAGE.read_text(encoding="utf-8"), "run: python docs/make_diagrams.py"
