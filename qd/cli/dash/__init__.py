"""
`qd dash`: queues, tasks, workers and failures of one Redis on a full screen, with keys to act.

Read first:
    state.py      what is on the screen and what a key changes; pure
    picture.py    what Redis says about what is on the screen
    rates.py      rates and drain times out of successive looks; pure
    draw.py       state and picture as lines of text
    loop.py       keys and clock in, screen out

Not here: the operations themselves, which are the inspector's (`qd/inspector`).
"""
