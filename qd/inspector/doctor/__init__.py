"""
The store check of `qd doctor`: find what is not stored as it should be, and put it right.

- `finding`: the rules by name, and what a finding is
- `tasks`: is one task where it belongs? Pure; with the repair, where it is not
- `parts`: the same for keys, groups, staged sets, locks and the list of queues
- `survey`: the walk over everything, in slices, that picks out what is worth a closer look
- `doctor`: survey, two closer looks, and the repairs

Scripts leave half-done steps behind when they fail, and asynq has faults of its own; nothing in
either system looks at what was left. Each closer look at a task is one script, so it sees no step
half done; what a step of several commands may show for a moment is gone in the second look.

Read `doctor.py`, then `tasks.py`.
"""
