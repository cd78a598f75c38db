"""
The command `qd`: parse what was typed, call the package that knows, show the answer.

Start with `main.py`: the root command, the table of subcommands, and how an error becomes a line
and an exit code. `frame.py` has what all commands share (options before or after the subcommand,
examples in the help, "did you mean"). A command gets a `Session` (`session.py`): settings,
connection, inspector, client and output, each made on first use. `output.py` decides in which
form the answer leaves, `render.py` turns values into text, `ask.py` asks before destroying.

One file per noun. Importing them costs nothing but click: Redis, YAML and rich are imported by
the code that needs them, when it needs them, so that `qd --help` stays fast.

Not here: anything that decides about tasks or talks to Redis by itself.
"""
