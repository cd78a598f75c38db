"""Where a running handler is at this moment, as the lines of a traceback."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

from qd.runtime.run import Run

_OURS = tuple(str(Path(__file__).parents[1] / name) for name in ("runtime", "handlers"))


def stack_of(run: Run) -> str:
    """
    Return the stack of a run, the handler first, the innermost call last; empty if it has none.

    Of a synchronous handler it is that of its thread, of an asynchronous one what it awaits. qd's own
    frames around the handler are left out.
    """
    if run.thread:
        frames = _thread_frames(sys._current_frames().get(run.thread))
    else:
        frames = _awaited_frames(run.task.get_coro() if run.task is not None else None)
    while frames and frames[0][0].f_code.co_filename.startswith(_OURS):
        del frames[0]
    return "".join(traceback.StackSummary.extract(iter(frames)).format())


def _thread_frames(frame: FrameType | None) -> list[tuple[FrameType, int]]:
    frames = list(traceback.walk_stack(frame)) if frame is not None else []
    frames.reverse()
    # The interpreter's own frames of a thread stand before qd's.
    first = next((n for n, (one, _) in enumerate(frames) if _is_ours(one)), 0)
    return frames[first:]


def _awaited_frames(waiting: Any) -> list[tuple[FrameType, int]]:
    """Follow what each coroutine or generator awaits."""
    frames: list[tuple[FrameType, int]] = []
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)
        if frame is not None:
            frames.append((frame, frame.f_lineno))
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)
    return frames


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_OURS)
