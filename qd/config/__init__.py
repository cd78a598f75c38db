"""
What can be set, and where each value came from.

Start with `model.py`: every setting with its default, its range and its explanation stands there
(and in `redis.py` and `tasks.py`) and nowhere else. `load.py` reads file, environment and flags
into it and reports all problems at once; its `from_mapping` does so for a value of Python.

The way of a value: `from_yaml.py`, `from_text.py` and `from_python.py` turn each source into one
tree of `Given` values that know their place (`given.py`); `interpolate.py` fills in `${env:}`,
`${file:}` and `${credential:}`; `build.py` and `read_value.py` read the tree into the model with
the kinds of `kinds.py`; `rules.py` looks at settings that must fit each other. `dump.py` shows
settings with secrets masked, `template.py` writes the commented file.

Not here: the command line's flags (they arrive as dotted keys), and anything that connects to
Redis.
"""
