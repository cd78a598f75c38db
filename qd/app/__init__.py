"""
Where everything meets: the application object, and the processes that `qd worker` runs.

- `app`: `App`, what user code builds: handlers, schedules, hooks, the client
- `handle`: what `@app.task` gives back; `polls`: `@app.poll`
- `schedules`: periodic tasks as they were declared
- `loading`: `--app module:attribute` -> App
- `connection`: the Redis of the settings, or qd's own server
- `run`, `children`: supervisor, worker processes and scheduler process, wired
- `embedded`: a worker inside another program (`App.start`)
- `lock`: named locks
"""
