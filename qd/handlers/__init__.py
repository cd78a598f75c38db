"""
What user code declares and what it is given: handlers, and the values they see.

- `routing`: task type or prefix -> handler (asynq's ServeMux rules)
- `handler`: one registered handler: its function, how it is called, its options
- `binding`: a function's signature -> payload bytes in, arguments out
- `task`, `context`: what a handler may ask for
- `middleware`: the onion around handlers; `moved`: what hooks for transitions are told
- `limit`, `breaker`, `poll`: what a task is under; `paths`: the value of its key
- `options`: the one vocabulary of task options

Nothing here talks to Redis or runs anything by itself; `runtime` does.
"""
