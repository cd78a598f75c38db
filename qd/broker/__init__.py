"""
All that talks to Redis, and the server that is there when no Redis is configured.

Start with `embedded.py` for that server: qd processes in one folder share it, and it ends with the
last of them. `server_binary.py` finds the program to run, `embedded_guardian.py` watches over it.

Nothing here decides what happens to a task; that is `qd.policy`.
"""
