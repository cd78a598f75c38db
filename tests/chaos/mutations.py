"""
The lines that keep tasks safe, each with what breaks it and the test that notices.

`python -m tests.chaos.mutate` breaks them one after the other in a copy and proves it; the texts are
checked by `test_mutations.py` at every run.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """*old* stands exactly once in *file*; with *new* in its place, *test* turns red."""

    what: str
    file: str
    old: str
    new: str
    test: str


_LUA = "qd/protocol/lua"
_FENCE = "tests/broker/test_fence.py"
_AWAY = "tests/runtime/test_redis_away.py"
_RECOVERER = "tests/maintenance/test_recoverer.py"
_STOPPING = "tests/runtime/test_stopping.py"
_SUPERVISOR = "tests/process/test_supervisor.py"

MUTATIONS = (
    Mutation(
        "the fence knows the owner",
        f"{_LUA}/lib/fence.lua",
        "and (found[2] or '') == owner ",
        "",
        f"{_FENCE}::test_another_owner_may_not",
    ),
    Mutation(
        "the fence knows the lease",
        f"{_LUA}/lib/fence.lua",
        "if score == lease then",
        "if score then",
        f"{_FENCE}::test_a_lease_with_another_end_is_another_lease",
    ),
    Mutation(
        "only what is active can be ended",
        f"{_LUA}/lib/fence.lua",
        "found[1] == 'active' and ",
        "",
        f"{_FENCE}::test_a_task_in_another_state_is_somebody_elses",
    ),
    Mutation(
        "an ending counts once",
        f"{_LUA}/lib/claim.lua",
        "replies[n] = taken[ids[n]] and 1 or -1",
        "replies[n] = 1",
        f"{_FENCE}::test_a_task_that_is_not_in_the_active_list_is_somebody_elses",
    ),
    Mutation(
        "the same nonce gives the same tasks",
        f"{_LUA}/dequeue.lua",
        "if call('GETRANGE', KEYS[5], 0, #nonce - 1) == nonce then",
        "if false then",
        "tests/broker/test_dequeue.py"
        "::test_the_same_nonce_gives_the_same_tasks_and_renews_their_lease",
    ),
    Mutation(
        "a fetch whose answer was lost is asked again with its nonce",
        "qd/runtime/fetcher.py",
        "nonce, count = self._unsure.setdefault(queue, (new_id(), count))",
        "nonce = new_id(); self._unsure[queue] = (nonce, count)",
        f"{_AWAY}::test_a_fetch_whose_answer_was_lost_gives_the_same_tasks_once",
    ),
    Mutation(
        "a task is put back before its code is cancelled",
        "qd/runtime/worker.py",
        '            failpoint.hit("requeue.before")\n',
        "            for run in members:\n"
        "                self._executor.stop_run(run, Stop.PUT_BACK)\n"
        "            await asyncio.sleep(0)\n",
        f"{_STOPPING}::test_a_task_put_back_is_put_back_before_its_code_is_cancelled",
    ),
    Mutation(
        "of the tasks put back, the oldest is the next",
        "qd/runtime/worker.py",
        "for run in oldest_first[::-1]:",
        "for run in oldest_first:",
        f"{_STOPPING}::test_tasks_taken_and_not_started_are_put_back_in_order",
    ),
    Mutation(
        "leases live until the last outcome is written",
        "qd/runtime/worker.py",
        "        await self._fetcher.stop()\n",
        "        await self._fetcher.stop()\n        await self._heartbeater.stop()\n",
        f"{_STOPPING}::test_leases_are_renewed_while_a_stop_waits",
    ),
    Mutation(
        "an outcome that could not be written is kept",
        "qd/runtime/finisher.py",
        "                left.append(batch)\n",
        "                pass\n",
        f"{_AWAY}::test_an_outcome_waits_for_a_server_that_does_not_answer",
    ),
    Mutation(
        "a lease renewed at the same time does not make an outcome stale",
        "qd/runtime/finisher.py",
        "if fate is Fate.STALE and ending.held != run.held:",
        "if False:",
        f"{_AWAY}::test_an_outcome_is_written_although_the_lease_was_renewed_at_the_same_time",
    ),
    Mutation(
        "a run whose lease is lost is ended",
        "qd/runtime/heartbeater.py",
        "self._loop.call_soon_threadsafe(self._on_lost, run)",
        "pass",
        f"{_AWAY}::test_a_run_whose_lease_is_lost_is_ended_and_not_recorded",
    ),
    Mutation(
        "a task that has seen a death runs alone",
        "qd/runtime/executor.py",
        "if self._suspects.exclusive:",
        "if False:",
        "tests/runtime/test_suspects.py"
        "::test_a_suspect_waits_for_the_others_and_keeps_new_ones_waiting",
    ),
    Mutation(
        "what is running is noted before the handler starts",
        "qd/runtime/worker.py",
        "self._note_running(run.key, hung_from)",
        "self._note_running(run.key, None)",
        "tests/process/test_worker_deaths.py"
        "::test_a_task_that_kills_its_process_twice_is_archived_as_poison[die]",
    ),
    Mutation(
        "deaths are counted",
        f"{_LUA}/lib/deaths.lua",
        "redis.pcall('HINCRBY', task, 'qd_deaths', 1)",
        "redis.pcall('HINCRBY', task, 'qd_deaths', 0)",
        "tests/maintenance/test_orphans.py::test_a_task_that_kills_its_worker_twice_is_archived",
    ),
    Mutation(
        "what was handed back is not the dead worker's any more",
        f"{_LUA}/hand_back.lua",
        "    redis.call('HDEL', task, 'qd_owner')\n",
        "",
        "tests/broker/test_hand_back.py::test_what_was_only_held_is_as_if_it_had_never_been_taken",
    ),
    Mutation(
        "a Go server's task is not handed back",
        f"{_LUA}/hand_back.lua",
        " and lease <= tonumber(ARGV[7]) then",
        " then",
        "tests/broker/test_hand_back.py::test_what_a_go_server_has_taken_over_is_left_to_it",
    ),
    Mutation(
        "the recoverer looks at the lease again before it takes a task back",
        f"{_LUA}/recover.lua",
        "fence(task, ARGV[at + 1], scores[n], ARGV[at + 2])",
        "fence(task, ARGV[at + 1], scores[n], '0..99999999999')",
        f"{_RECOVERER}::test_a_lease_renewed_after_it_was_listed_is_not_taken_away",
    ),
    Mutation(
        "a lease that vanished has not run out",
        f"{_LUA}/recover.lua",
        "(not scores[n] or redis.call('LREM', KEYS[2], -1, id) == 0)",
        "redis.call('LREM', KEYS[2], -1, id) == 0",
        f"{_RECOVERER}::test_a_lease_that_vanished_after_it_was_listed_is_no_expired_one",
    ),
    Mutation(
        "an outage is not taken for the death of all workers",
        "qd/maintenance/contact.py",
        "if now - self._next_at > _LATE:",
        "if False:",
        f"{_RECOVERER}::test_leases_that_ran_out_while_redis_was_away_wait_for_their_holders",
    ),
    Mutation(
        "leases are judged by the clock of Redis",
        "qd/maintenance/redis_clock.py",
        "    return await link.execute(upkeep.clock())\n",
        "    return clock.now()\n",
        f"{_RECOVERER}::test_a_host_whose_clock_is_fast_takes_no_leases_away",
    ),
    Mutation(
        "leases last by the clock of Redis",
        "qd/runtime/lease_clock.py",
        "        self._offset = now - _ticks()\n",
        "        self._offset = clock.now() - _ticks()\n",
        "tests/runtime/test_leases.py"
        "::test_a_lease_ends_by_the_clock_of_redis_whatever_the_time_is_here",
    ),
    Mutation(
        "a broken queue costs no other its leases",
        "qd/runtime/heartbeater.py",
        """answers = self._link.execute_each(
            [
                endings.extend(
                    queue, self._server_id, [run.held for run in runs], lease_until=until
                )
                for queue, runs in slices
            ]
        )""",
        """answers = [
            self._link.execute(
                endings.extend(queue, self._server_id, [run.held for run in runs], lease_until=until)
            )
            for queue, runs in slices
        ]""",
        "tests/runtime/test_leases.py"
        "::test_a_queue_whose_leases_cannot_be_written_costs_no_other_queue_its_own",
    ),
    Mutation(
        "a heartbeat waits no longer than until the next one",
        "qd/runtime/worker.py",
        "replace(endpoint, call_timeout=min(endpoint.call_timeout, HEARTBEAT))",
        "endpoint",
        "tests/runtime/test_leases.py"
        "::test_a_connection_that_has_died_unseen_costs_no_lease_however_long_others_wait",
    ),
    Mutation(
        "a run without an outcome is held no longer",
        "qd/runtime/worker.py",
        '_log.exception("task %s has no outcome; its lease runs out", run.message.id)\n',
        "return\n",
        "tests/runtime/test_outcomes.py::test_a_run_without_an_outcome_gives_its_task_up",
    ),
    Mutation(
        "a number that is used again is no living process, and a living one not dead",
        "qd/birthmark.py",
        'return bool(stat) and (stat[_STATE] == "Z" or stat[_STARTED] != started)',
        "return bool(stat)",
        "tests/maintenance/test_neighbours.py"
        "::test_who_lives_or_may_live_or_is_told_of_by_others_keeps_his_tasks",
    ),
    Mutation(
        "a tick that was decided is not decided again",
        f"{_LUA}/cron_tick.lua",
        "if tonumber(ARGV[1]) <= (tonumber(known[1]) or -1) then",
        "if false then",
        "tests/maintenance/test_cron.py"
        "::test_a_scheduler_that_lags_behind_fires_no_tick_whose_task_has_come_and_gone",
    ),
    Mutation(
        "a set that was put back is not merged",
        f"{_LUA}/aggregate.lua",
        "if not redis.call('ZSCORE', KEYS[2], KEYS[1]) then",
        "if false then",
        "tests/maintenance/test_aggregator.py"
        "::test_a_set_that_was_put_back_meanwhile_is_not_enqueued_by_the_slow_one",
    ),
    Mutation(
        "the lock of a unique task is released by its holder only",
        f"{_LUA}/lib/unlock.lua",
        " and redis.pcall('GET', unique_key) == id then",
        " then",
        "tests/broker/test_done.py::test_a_lock_that_another_task_holds_is_not_released",
    ),
    Mutation(
        "a lock is given back by its owner only",
        f"{_LUA}/lock_release.lua",
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then",
        "if false then",
        "tests/broker/test_locks.py::test_only_the_owner_can_give_it_back",
    ),
    Mutation(
        "a full server can be drained",
        f"{_LUA}/dequeue.lua",
        "-- flags: allow-oom\n",
        "",
        "tests/broker/test_dequeue.py::test_a_full_server_can_be_emptied",
    ),
    Mutation(
        "what a dead child has said is read before it is judged",
        "qd/supervisor/family.py",
        "                self._note(child, child.read_all(now))\n",
        "",
        f"{_SUPERVISOR}::test_what_a_child_said_just_before_its_end_is_heard",
    ),
    Mutation(
        "news of a death told to a child that dies is told again",
        "qd/supervisor/orphans.py",
        "                self._queue.append(line)\n",
        "                pass\n",
        f"{_SUPERVISOR}::test_news_told_to_a_child_that_dies_is_told_again",
    ),
    Mutation(
        "children see the end of their parent without a signal",
        "qd/supervisor/fork.py",
        "[*parents_fds, lifeline.write_fd, status_read, inbox_write]",
        "[*parents_fds, status_read, inbox_write]",
        f"{_SUPERVISOR}::test_children_notice_a_dead_parent_without_its_signal",
    ),
)
