"""
The contract with asynq v0.26, and nothing else: pure, no I/O, no clock.

- `message`, `codec`: the messages and their bytes (protobuf, unknown fields kept)
- `keys`: every Redis key, one function each
- `state`, `constants`, `names`: what a task can be, the numbers of asynq, which names are allowed
- `flow`: how the links of a flow are named
- `lua/`: one script per operation; `scripts` loads them
- `op`, `ops/`: an operation is a value (script, keys, arguments, how to read the answer). `broker`
  sends it, synchronously or not; so every operation exists once.
- `progress`, `polling`: what a task says of itself, beside its message and in it
- `gotext`: durations, dates and quoting as Go prints them

Read `ops/tasks.py` and `lua/dequeue.lua` first. Change this package only with golden tests.
"""
