"""
What must be true between qd and asynq, row by row, and the tests that prove it.

asynqmon, asynq's web interface, reads with an older asynq: its tests stand beside those of the rest.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import NamedTuple

FOLDER = "tests/compat/"


class Row(NamedTuple):
    """One row: what must be true, and its tests as "file::function", without test_ and .py."""

    what: str
    tests: tuple[str, ...] = ()
    reason: str = ""
    """Why there is no test."""

    def nodes(self) -> list[str]:
        """The tests as pytest names them, without parameters."""
        parts = (test.split("::") for test in self.tests)
        return [f"{FOLDER}test_{file}.py::test_{function}" for file, function in parts]


ROWS: dict[int, Row] = {
    1: Row(
        "what qd enqueues is in Redis what asynq enqueues; on a cluster too",
        (
            "enqueue::a_task_with_defaults_is_a_hash_of_three_fields",
            "enqueue::qd_enqueues_what_asynq_enqueues",
            "enqueue::both_sides_work_on_one_cluster",
        ),
    ),
    2: Row("Go handles what qd enqueues", ("enqueue::go_handles_what_qd_enqueues",)),
    3: Row("qd handles what Go enqueues", ("enqueue::qd_handles_what_go_enqueues",)),
    4: Row(
        "uniqueness excludes across the two",
        (
            "enqueue::a_lock_of_one_side_keeps_the_other_out",
            "enqueue::nil_and_empty_payloads_have_locks_of_their_own",
            "enqueue::the_end_of_a_task_frees_its_lock_for_the_other_side",
        ),
    ),
    5: Row(
        "an id in use conflicts", ("enqueue::an_id_in_use_is_refused_by_both_until_it_is_free",)
    ),
    6: Row(
        "a conflict of ids and its lock",
        ("enqueue::an_id_conflict_in_qd_leaves_no_lock_behind",),
    ),
    7: Row(
        "qd schedules, Go forwards",
        ("delays::delayed_tasks_are_forwarded_by_whoever_is_there",),
    ),
    8: Row(
        "Go schedules, qd forwards and handles once",
        (
            "delays::delayed_tasks_are_forwarded_by_whoever_is_there",
            "delays::a_retry_of_one_side_is_run_by_the_other",
        ),
    ),
    9: Row(
        "a failure in qd is a retry",
        (
            "endings::a_failed_task_waits_in_retry_for_asynqs_delay",
            "endings::a_task_ends_in_qd_as_in_asynq",
        ),
    ),
    10: Row(
        "an error that is no failure changes no counter",
        ("endings::an_error_that_does_not_count_changes_no_counter",),
    ),
    11: Row(
        "no retries left, or none wanted: archived",
        ("endings::an_exhausted_task_is_archived_with_its_last_error",),
    ),
    12: Row("a revoked task is gone", ("endings::a_revoked_task_is_processed_and_leaves_nothing",)),
    13: Row(
        "retention, result and janitors",
        ("endings::a_result_is_kept_until_any_janitor_finds_it_expired",),
    ),
    14: Row(
        "servers and workers of qd are listed",
        (
            "tools::a_worker_of_qd_is_a_server_for_asynq",
            "tools::a_server_of_go_is_a_worker_for_qd",
            "asynqmon::asynqmon_shows_qds_workers",
        ),
    ),
    15: Row(
        "stopped and killed workers disappear",
        (
            "tools::a_worker_of_qd_is_a_server_for_asynq",
            "tools::a_killed_worker_is_shown_for_ten_seconds_at_most",
        ),
    ),
    16: Row("TSTP stops fetching", ("tools::a_worker_of_qd_is_a_server_for_asynq",)),
    17: Row(
        "Go recovers the tasks of a killed qd",
        ("recovery::go_recovers_the_task_of_a_killed_qd",),
    ),
    18: Row(
        "qd recovers the tasks of a killed Go server",
        ("recovery::qd_recovers_the_task_of_a_killed_go_server_as_one_failed_attempt",),
    ),
    19: Row(
        "a long task keeps its lease",
        ("recovery::a_task_that_runs_long_keeps_its_lease_from_both_recoverers",),
    ),
    20: Row(
        "cancellation reaches the other side",
        ("endings::a_cancel_of_one_side_reaches_the_handler_of_the_other",),
    ),
    21: Row(
        "a pause holds for the other side",
        (
            "operators::a_queue_that_asynq_pauses_is_left_alone_by_qd",
            "operators::a_queue_that_qd_pauses_is_left_alone_by_go",
        ),
    ),
    22: Row(
        "asynq's command line and asynqmon run, archive and delete qd's tasks",
        (
            "operators::the_asynq_command_acts_on_qds_task_of_every_state",
            "asynqmon::what_is_pressed_in_asynqmon_holds_for_qd",
        ),
    ),
    23: Row(
        "qd's inspector does so with Go's tasks",
        ("operators::qds_inspector_acts_on_gos_task_of_every_state",),
    ),
    24: Row(
        "all tasks of a state at once",
        (
            "operators::asynqs_bulk_commands_count_qds_tasks_right",
            "operators::qds_bulk_actions_count_gos_tasks_right",
        ),
    ),
    25: Row(
        "a changed payload is what is handled",
        (
            "operators::a_payload_that_qd_changes_is_what_go_handles",
            "operators::a_payload_that_go_changes_is_what_qd_handles",
        ),
    ),
    26: Row("Go merges qd's groups", ("delays::go_merges_a_group_that_qd_has_filled",)),
    27: Row(
        "qd merges Go's groups, and a death in between loses nothing",
        (
            "delays::qd_merges_a_group_that_go_has_filled",
            "delays::a_set_that_a_dead_process_was_merging_is_merged_in_the_end",
        ),
    ),
    28: Row(
        "periodic tasks of qd are listed with their options",
        (
            "tools::periodic_tasks_of_qd_are_entries_for_asynq",
            "tools::what_is_added_at_run_time_is_an_entry_for_asynq_at_once",
            "tools::options_that_asynq_cannot_read_are_written_as_go_writes_them",
            "messages::options_of_a_periodic_task_have_the_golden_texts",
            "asynqmon::asynqmon_shows_qds_periodic_tasks_and_their_ticks",
        ),
    ),
    29: Row(
        "ticks of qd are history",
        (
            "tools::the_ticks_of_qd_are_history_for_asynq",
            "tools::the_periodic_tasks_of_go_are_entries_for_qd",
        ),
    ),
    30: Row(
        "cron specs have the times they have in Go",
        (
            "cron_times::every_kind_of_spec_has_the_times_it_has_in_go",
            "cron_times::random_specs_have_the_times_they_have_in_go",
            "cron_times::what_go_refuses_qd_refuses",
            "cron_times::a_zone_prefix_that_crashes_go_is_an_error_in_qd",
        ),
    ),
    31: Row(
        "two schedulers of qd, one task per tick",
        ("tools::two_schedulers_enqueue_each_tick_once_and_one_survives_the_other",),
    ),
    32: Row(
        "what a shutdown interrupts is the next to run",
        ("endings::what_is_put_back_at_shutdown_is_the_next_to_run",),
    ),
    33: Row(
        "weights and strict priority in a mixed fleet",
        (
            "fleet::a_mixed_fleet_loses_and_doubles_no_task",
            "fleet::a_mixed_fleet_shares_its_time_by_weight",
            "fleet::a_mixed_fleet_with_strict_priority_drains_queue_by_queue",
        ),
    ),
    34: Row(
        "12,000 archived tasks",
        ("fleet::the_archive_of_a_mixed_fleet_keeps_its_bound",),
    ),
    35: Row(
        "texts that no message can hold",
        (
            "endings::a_text_no_message_can_hold_poisons_nobody",
            "messages::go_decodes_every_message_that_qd_writes",
        ),
    ),
    36: Row(
        "stats, dashboard and metrics of asynq agree with qd",
        (
            "tools::every_command_that_reads_shows_qds_queues_and_tasks",
            "tools::the_figures_of_asynqs_stats_are_those_of_qds",
            "tools::a_scrape_of_asynqs_metrics_agrees_with_qd",
            "tools::asynqs_dashboard_draws_qds_queues",
            "asynqmon::asynqmon_shows_qds_queue_and_a_task_of_every_state",
        ),
    ),
    37: Row(
        "a removed queue comes back with the next task",
        (
            "operators::a_queue_that_asynq_removes_comes_back_with_qds_next_task",
            "operators::a_queue_that_qd_removes_is_gone_for_asynq",
        ),
    ),
    38: Row("ids without a task", ("recovery::a_ghost_stays_with_nobody",)),
    39: Row(
        "an outage of Redis",
        ("recovery::an_outage_ends_no_task_twice_and_costs_no_processor",),
    ),
    40: Row(
        "active without a lease",
        ("recovery::an_active_task_without_a_lease_is_adopted_by_qd_alone",),
    ),
    41: Row(
        "asynq's semaphore holds for both, and qd's chores leave it alone",
        (
            "semaphore::a_semaphore_holds_for_handlers_of_both_sides",
            "semaphore::tokens_are_left_alone_by_all_that_tidies_up",
        ),
    ),
    42: Row(
        "both exporters side by side",
        ("tools::the_metrics_of_qd_are_those_of_asynqs_exporter",),
    ),
    43: Row(
        "golden bytes",
        (
            "messages::golden_bytes_are_read_and_written_again_without_a_change",
            "messages::qd_enqueues_the_golden_bytes",
            "messages::a_lock_has_the_golden_key",
        ),
    ),
    44: Row(
        "a clock that is 20 s fast",
        ("recovery::a_clock_that_is_20_seconds_fast_takes_nothing_from_the_other_side",),
    ),
}


def unproven() -> dict[int, str]:
    """The rows without a test, and why."""
    return {number: row.reason for number, row in ROWS.items() if not row.tests}


def proven(good: AbstractSet[str], bad: AbstractSet[str]) -> list[int]:
    """
    The rows all of whose tests are in *good*, and none, in any of its variants, in *bad*.

    Both hold node ids of pytest.
    """
    passed = {node.partition("[")[0] for node in good}
    passed -= {node.partition("[")[0] for node in bad}
    return [number for number, row in ROWS.items() if row.tests and passed.issuperset(row.nodes())]
