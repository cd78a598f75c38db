"""
The parent process: starts, watches, replaces and stops the worker processes and the scheduler.

One thread, no event loop, no Redis and no user code, so that nothing in it can hang and every
fork starts from a clean state. It does not know what its children do: it gets two callables.

Read `plan.py` first: a pure function from "what is wanted, what is there, what time is it" to a
list of actions. All rules about back-off, crash loops, hung children, rolling replacement and
stopping are there and in `state.py`, also pure.

    supervisor.py  the loop: signals -> reap -> read status pipes -> plan -> act -> systemd
    child.py       what a child gets: `Link`, and the lines between the two processes
    fork.py        the fork itself, and what a child does before its main function
    process.py     one child as the parent sees it: its pipes, the signals it was sent
    family.py      all children: born, listened to, buried
    setup.py       what is to run now, and what ran before a reload
    reaper.py      waiting for own children, and for strangers as PID 1
    orphans.py     news of dead workers, on its way to somebody who hands their tasks back
    signals.py     signals to the parent become bytes in a pipe
    notify.py      systemd; linux.py: the Linux calls Python has no name for
"""
