"""Events and the contract's objects: each made of the other."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.events import (
    Copied,
    Event,
    HostFinished,
    HostStarted,
    Output,
    PortUse,
    RunFinished,
    RunStarted,
    from_dict,
)
from multirsh.model import ClosedBy, ErrorKind, Failure, Fate, Phase, Seconds, Status

TEXTS = st.text(max_size=12)
COUNTS = st.integers(min_value=0, max_value=2**40)
TIMES = st.floats(min_value=0, max_value=1e9).map(lambda t: round(t, 6))
HEAD: dict[str, Any] = {"run": TEXTS, "t": TIMES}
SPENT = st.builds(
    Seconds,
    connect=st.none() | TIMES,
    auth=st.none() | TIMES,
    run=st.none() | TIMES,
    close=st.none() | TIMES,
    total=TIMES,
)
FAILURES = st.builds(
    Failure,
    st.sampled_from(ErrorKind),
    st.sampled_from(Phase),
    TEXTS,
    fate=st.none() | st.sampled_from(Fate),
    of_jump=st.none(),
)
USES = st.builds(
    PortUse,
    peak=COUNTS,
    closed_by=st.fixed_dictionaries(dict.fromkeys(ClosedBy, COUNTS)),
    time_wait_left=st.none() | COUNTS,
    waited=st.just(0),
    longest_wait=st.just(0.0),
)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        RunStarted,
        **HEAD,
        command=TEXTS,
        hosts=st.lists(TEXTS, max_size=4).map(tuple),
        fanout=COUNTS,
        version=TEXTS,
    ),
    st.builds(HostStarted, **HEAD, host=TEXTS, attempt=COUNTS),
    st.builds(Output, **HEAD, host=TEXTS, stream=st.sampled_from(["stdout", "stderr"]), data=st.binary()),
    st.builds(
        Copied,
        **HEAD,
        host=TEXTS,
        path=st.binary(max_size=8).map(lambda name: name.decode(errors="surrogateescape")),
        size=COUNTS,
        via=TEXTS,
        skipped=st.none() | TEXTS,
        error=st.none() | TEXTS,
    ),
    st.builds(
        HostFinished,
        **HEAD,
        host=TEXTS,
        status=st.sampled_from(Status),
        exit_status=st.none() | st.integers(0, 255),
        signal=st.none() | TEXTS,
        error=st.none() | FAILURES,
        attempts=COUNTS,
        closed_by=st.none() | st.sampled_from(ClosedBy),
        local_port=st.none() | st.integers(1, 65535),
        stdout_bytes=COUNTS,
        stderr_bytes=COUNTS,
        seconds=SPENT,
    ),
    st.builds(
        RunFinished,
        **HEAD,
        counts=st.dictionaries(st.sampled_from(Status), st.integers(min_value=1)),
        exit_code=COUNTS,
        seconds=TIMES,
        ports=USES,
    ),
)
STARTED = HostStarted(run="r", t=0.5, host="web1", attempt=1).to_dict()


@given(EVENTS)
def test_an_event_is_made_again_of_its_object(event: Event) -> None:
    assert from_dict(json.loads(json.dumps(event.to_dict()))) == event


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"event": "record"}, "no event is called 'record'"),
        ({"event": None}, "no event is called None"),
        ({"event": ["stdout"]}, r"no event is called \['stdout'\]"),
        ({"host": 3}, "host_started: 'host' is 3"),
        ({"attempt": True}, "host_started: 'attempt' is True"),
        ({"t": math.nan}, "host_started: 't' is nan"),
        ({"t": math.inf}, "host_started: 't' is inf"),
        ({"t": 10**400}, "host_started: int too large"),
        ({"event": "stdout"}, "stdout: there is no 'data_b64'"),
        ({"event": "stdout", "data_b64": "?"}, "base64|Base64|padding"),
        ({"event": "host_finished", "closed_by": None, "seconds": {}, "status": "fine"}, "'fine'"),
    ],
)
def test_what_is_no_event_is_an_error_that_says_why(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        from_dict(STARTED | change)


def test_keys_of_a_later_version_are_passed_over() -> None:
    assert from_dict(STARTED | {"colour": "red"}) == from_dict(STARTED)
