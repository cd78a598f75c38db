"""
Facts out: log lines as text for people or as JSON for machines.

`logging` sets up the standard library's logging for a process of qd. Every line is one event;
payloads are never in it, and a traceback is cut to the frames of the user's own code.
"""
