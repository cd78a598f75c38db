"""
Enqueueing: options and payload -> message -> Redis, one at a time or many, sync or async.

- `client`: `Client`, what applications and the command line call
- `compose`: pure: one task -> its message, and which operation takes it in
- `batch`: tasks that go out in one round trip, and what became of each
- `batcher`: merges what concurrent coroutines enqueue in one turn of the loop
- `room`: queues with an upper bound; waiting for room
- `builder`: the same options, one method each
- `info`: what the caller gets back; `poll_done`: says that a task is done; `steps`: work of several steps
- `flow`: tasks that follow each other, pure; `starting` stores a flow, `continuing` moves it on,
  `flow_info` is what the caller gets back
"""
