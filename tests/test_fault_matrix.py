"""The fault matrix: what may go wrong around a run, and which tests hold what must happen then.

A fault is told by what is done to the run. Every one of its tests asserts its
own part; that each host ends once, by the contract's exit code, and that
nothing is left is asserted for the command line in ``tests/end_to_end/finished_run.py`` and
for the library by ``no_leaks`` and ``tests/fleets.py``. This file holds that
the tests are there: rename one, and say so here.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parent

FAULTS: Final[dict[str, tuple[str, ...]]] = {
    "a name that nobody knows, or a resolver that is silent": (
        "end_to_end/test_name_lookups.py::test_a_silent_resolver_stalls_only_those_whom_it_is_asked_for",
        "end_to_end/test_name_lookups.py::test_names_that_nobody_knows_are_told_and_the_others_run",
        "transports/ssh/test_wire.py::TestBeforeTheLogin::test_a_name_that_is_none_is_unreachable_in_resolve",
    ),
    "a port that refuses": (
        "end_to_end/test_run.py::test_refused_is_4_and_told_once",
        "transports/ssh/test_wire.py::TestBeforeTheLogin::test_refused_has_no_connection_and_so_nobody_closed_it",
        "transports/rsh/test_wire_faults.py::TestMainConnection::test_a_port_that_refuses",
    ),
    "a thousand black holes": (
        "end_to_end/test_faults.py::test_a_thousand_black_holes_are_timeouts_in_time_and_the_others_run",
        "transports/ssh/test_wire.py::TestBeforeTheLogin::test_a_black_hole_is_timeout_in_connect",
    ),
    "no route": ("transports/ssh/test_wire.py::TestBeforeTheLogin::test_no_route_is_unreachable",),
    "a server that accepts and is silent": (
        "end_to_end/test_run.py::test_a_silent_server_is_3",
        "transports/ssh/test_wire.py::TestBeforeTheLogin::test_each_is_told_apart_and_leaves_nothing",
        "transports/ssh/test_wire.py::TestBeforeTheLogin::test_a_login_that_gets_no_answer_is_timeout_in_auth",
    ),
    "a server that accepts and closes, or says that it is busy": (
        "end_to_end/test_faults.py::test_a_server_that_closes_on_everybody_is_asked_a_few_times_and_then_told",
        "transports/ssh/test_wire.py::TestBeforeTheLogin::test_each_is_told_apart_and_leaves_nothing",
        "engine/schedule/test_governor.py::test_while_no_login_succeeds_the_pauses_double_and_end",
    ),
    "HTTP, junk, garbage": (
        "transports/ssh/test_wire.py::TestBeforeTheLogin::test_each_is_told_apart_and_leaves_nothing",
        "transports/ssh/test_wire.py::TestBeforeTheLogin::test_junk_is_bounded_and_leaves_nothing",
    ),
    "MaxStartups": (
        "end_to_end/test_faults.py::test_hosts_at_one_address_all_get_past_max_startups",
        "end_to_end/test_faults.py::TestBehindABastion::test_hosts_get_past_its_max_startups_and_that_of_the_server_behind_it",
        "end_to_end/test_faults.py::TestBehindABastion::test_a_busy_one_is_waited_for_and_not_condemned",
    ),
    "PerSourcePenalties": (
        "end_to_end/test_faults.py::TestPenalties::test_a_ban_is_waited_for_and_not_run_against",
        "end_to_end/test_faults.py::TestPenalties::test_a_refused_login_is_one_connection_whatever_the_retries",
    ),
    "a wrong key or password": (
        "transports/ssh/test_wire.py::TestSshd::test_a_wrong_key_is_auth_and_the_remote_closes",
        "transports/ssh/test_wire.py::TestSshd::test_one_wrong_password_is_one_attempt",
        "engine/schedule/test_retry.py::test_a_refusal_and_a_stop_are_final",
    ),
    "a locked key without a terminal, a dead agent": (
        "transports/ssh/test_credentials.py::test_without_a_terminal_the_ways_out_are_told",
        "transports/ssh/test_credentials.py::test_a_dead_agent_is_a_warning",
        "transports/ssh/test_credentials.py::test_a_silent_agent_is_a_warning",
    ),
    "an unknown or changed host key": (
        "end_to_end/test_run.py::test_an_unknown_host_key_is_4",
        "transports/ssh/test_wire.py::TestSshd::test_an_unknown_key_is_refused_and_the_remote_closes",
        "transports/ssh/test_wire.py::TestSshd::test_a_changed_key_is_fatal",
    ),
    "500 first contacts at once": (
        "transports/ssh/test_known_hosts.py::test_500_first_contacts_at_once",
        "transports/ssh/test_wire.py::TestSshd::test_a_new_key_is_written_down_once_for_many_at_once",
    ),
    "packets that vanish": (
        "end_to_end/test_faults.py::TestMidCommand::test_packets_that_vanish_both_ways_are_a_loss_within_the_keepalives_budget",
    ),
    "a server's process that is killed, a reset": (
        "end_to_end/test_faults.py::TestMidCommand::test_a_server_process_that_is_killed_is_a_loss_and_no_result",
        "end_to_end/test_run.py::test_a_connection_that_dies_is_lost_and_3",
        "transports/rsh/test_wire_faults.py::TestRunning::test_a_reset_in_the_midst",
    ),
    "255, a signal, no status": (
        "transports/ssh/test_wire.py::TestSshd::test_a_command_that_ended_leaves_nothing",
        "transports/ssh/test_wire.py::TestWhileTheCommandRuns::test_what_came_is_kept_and_the_rest_is_never_ok",
    ),
    "a command past its time": (
        "end_to_end/test_nothing_left.py::test_nothing_is_left",
        "transports/ssh/test_wire.py::TestSshd::test_a_command_past_its_time_is_timeout_in_run_and_the_remote_closes",
    ),
    "output that is no text, has no line ends, is a flood": (
        "end_to_end/test_floods.py::test_a_hundred_megabytes_without_a_line_end_are_exact_in_files_and_bounded",
        "end_to_end/test_floods.py::test_hosts_that_flood_a_reader_who_is_slow_are_held_back",
        "end_to_end/test_floods.py::test_what_could_harm_a_terminal_is_shown_there_and_exact_elsewhere",
        "end_to_end/test_output.py::test_much_output_is_exact_and_memory_is_bounded",
    ),
    "a reader that goes away, a stdout that is full": (
        "end_to_end/test_run.py::test_a_reader_that_goes_away_ends_it_quietly",
        "end_to_end/test_floods.py::test_a_stdout_that_is_full_or_closed_is_told_and_fails",
    ),
    "multirsh is killed (kill -9), at any moment": (
        "end_to_end/test_killed_runs.py::test_no_host_that_has_run_runs_again_none_is_lost_and_every_record_is_read",
        "end_to_end/test_journal.py::test_a_run_that_was_stopped_is_gone_on_with_and_counts_what_was_done",
        "journal/test_journal.py::test_a_record_cut_off_anywhere_is_read_up_to_there",
        "journal/test_resuming.py::test_no_record_that_breaks_off_anywhere_forgets_a_host_whose_command_was_sent",
    ),
    "a state folder that is full, read-only, or nowhere": (
        "end_to_end/test_journal.py::test_a_state_folder_that_cannot_be_written_is_one_warning_and_the_run_goes_on",
        "end_to_end/test_journal.py::test_without_a_home_it_says_so_once_and_runs",
        "journal/test_recorder.py::test_a_disk_that_is_full_is_one_warning_and_what_was_written_stays",
    ),
    "a state folder that does not answer": (
        "end_to_end/test_state_folder.py::test_the_run_goes_on_without_a_record",
        "end_to_end/test_state_folder.py::test_a_deadline_and_the_first_signal_hold",
        "end_to_end/test_state_folder.py::test_who_reads_records_is_told_in_time",
        "journal/test_state_folder.py::test_a_record_that_is_given_up_holds_nobody_and_says_later_that_it_has_gaps",
    ),
    "a disk that fills up": (
        "end_to_end/test_output.py::TestFolders::test_a_disk_that_fills_up_is_told_once_and_the_run_goes_on",
        "end_to_end/test_output.py::TestFolders::test_gathered_output_stays_in_memory_where_the_disk_is_full",
        "output/test_store.py::test_a_full_disk_is_reported_once_and_nothing_is_lost",
    ),
    "a child that holds the output": (
        "end_to_end/test_faults.py::TestMidCommand::test_a_child_that_holds_the_output_ends_with_the_commands_time_and_is_told",
        "transports/rsh/test_wire.py::TestInRshd::test_a_child_left_behind_delays_the_socket_and_not_the_result",
    ),
    "a rekey in the midst": (
        "transports/ssh/test_wire.py::TestSshd::test_a_rekey_in_the_midst_loses_nothing",
        "transports/ssh/test_wire.py::TestSshd::test_a_hundred_rekeys_lose_nothing",
        "transports/ssh/test_wire.py::TestSshd::test_a_rekey_does_not_look_like_a_login",
    ),
    "standard input: none, a pipe, a file": (
        "end_to_end/test_stdin.py::test_a_pipe_a_file_and_nothing",
        "transports/ssh/test_wire_stdin.py::test_all_of_it_arrives",
        "transports/ssh/test_wire_stdin.py::test_input_that_cannot_be_read_is_this_machines_fault_and_ends_the_command",
        "end_to_end/test_faults.py::TestThisMachine::test_a_gigabyte_for_all_with_one_that_is_slow_in_128_mib",
        "transports/ssh/test_wire_stdin.py::test_without_input_its_end_comes_at_once",
        "engine/test_spool.py::test_a_terminal_is_read_line_by_line_until_its_end",
    ),
    "a remote that does not read": (
        "transports/ssh/test_wire_stdin.py::test_a_remote_that_does_not_read_keeps_its_status",
    ),
    "one host that never reads": (
        "transports/ssh/test_wire_stdin.py::test_one_that_never_reads_holds_nobody_back",
    ),
    "few descriptors": (
        "end_to_end/test_machine_limits.py::test_with_64_descriptors_and_a_fanout_of_500_all_of_200_run",
        "end_to_end/test_machine_limits.py::test_hosts_that_do_not_close_hold_descriptors_and_are_waited_for",
    ),
    "few local ports": (
        "end_to_end/test_few_local_ports.py::test_ten_times_as_many_commands_as_ports",
        "end_to_end/test_few_local_ports.py::test_a_port_that_never_comes_fails_only_after_the_time_allowed",
    ),
    "reserved ports: taken, or not ours to bind": (
        "end_to_end/test_faults.py::TestThisMachine::test_reserved_ports_without_the_capability_name_what_is_needed",
        "end_to_end/test_few_reserved_ports.py::test_reserved_ports_that_others_have_are_waited_for_and_it_is_one_wait",
    ),
    "little memory": (
        "end_to_end/test_faults.py::TestThisMachine::test_5000_hosts_in_128_mib",
        "end_to_end/test_memory.py::TestOnSshd::test_every_host_has_a_status_and_all_is_told",
        "test_shortage.py::test_every_host_has_one_ending_wherever_memory_runs_out",
    ),
    "no thread left": (
        "transports/test_threads.py::test_where_there_is_none_it_is_made_here_if_it_may",
        "journal/test_recorder.py::test_where_no_thread_can_be_had_the_record_is_complete_all_the_same",
    ),
    "hosts that write byte by byte": (
        "transports/test_remote_first.py::test_a_turn_of_the_loop_takes_no_longer_however_many_connections_flood",
        "transports/ssh/test_session.py::test_a_host_that_writes_byte_by_byte_is_exact_and_not_far_ahead",
    ),
    "a small ARP table": (
        "end_to_end/test_machine_limits.py::test_more_neighbours_than_the_kernel_keeps_are_told_before_anything_begins",
        "end_to_end/test_faults.py::test_packets_that_vanish_for_a_while_cost_attempts_which_are_told",
    ),
    "Ctrl-C, once and twice; SIGTERM, SIGHUP": (
        "end_to_end/test_nothing_left.py::test_nothing_is_left",
        "end_to_end/test_signals.py::test_the_first_ctrl_c_lets_those_in_flight_end_and_tells_the_status",
        "end_to_end/test_signals.py::test_the_second_step_ends_the_commands_and_closes_in_order",
        "end_to_end/test_signals.py::test_the_third_waits_for_nobody_and_tells_everything",
        "end_to_end/test_signals.py::test_what_the_starter_ignores_is_ignored",
    ),
    "SIGSTOP, SIGCONT": (
        "end_to_end/test_faults.py::TestStoppedAndContinued::test_commands_that_ended_meanwhile_are_no_timeouts",
        "end_to_end/test_faults.py::TestStoppedAndContinued::test_logins_that_were_under_way_are_no_timeouts",
        "transports/test_login_deadline.py::test_what_took_less_of_its_own_time_is_no_timeout",
    ),
    "the clock is set": (
        "transports/test_login_deadline.py::test_nothing_is_due_by_a_clock_that_may_be_set",
    ),
}


@functools.cache
def names_in(file: Path) -> frozenset[str]:
    """The tests of a file, those in classes with their class, as pytest names them."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, _FUNCTIONS)}
        elif isinstance(node, _FUNCTIONS):
            found.add(node.name)
    return frozenset(name for name in found if name.rpartition("::")[2].startswith("test_"))


_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_has_its_tests(fault: str) -> None:
    for test in FAULTS[fault]:
        file, _, name = test.partition("::")
        assert name in names_in(TESTS / file), f"no such test: {test}"
