"""What an application says about polls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar, Unpack, cast

from qd.app.handle import TaskHandle, declare
from qd.handlers.handler import RetryDelay, make_handler
from qd.handlers.options import Duration, OptionKeywords, TaskOptions
from qd.handlers.poll import make_poll
from qd.handlers.routing import Router
from qd.policy.retry import RetryPolicy

if TYPE_CHECKING:
    from qd.app.app import App

P = ParamSpec("P")
R = TypeVar("R")


class DeclaresPolls:
    """The part of `App` that declares polls."""

    router: Router

    def poll(
        self,
        task_type: str,
        *,
        initial_delay: Duration = "3s",
        max_delay: Duration = "10s",
        give_up_after: Duration | None = "24h",
        key: str | None = None,
        retry: RetryPolicy | RetryDelay | None = None,
        limit: str | Sequence[str] = (),
        **options: Unpack[OptionKeywords],
    ) -> Callable[[Callable[P, R]], TaskHandle[P, R]]:
        """
        Make a function the handler of tasks that look at something until it is done.

        It looks once: what it returns is the result, and the task is done; `raise qd.NotYet("...")` has
        it look again. That uses up no retry; other errors are failures as ever. `ctx.look` says which
        look it is. `client.poll_done` ends a task early. The rest is as with `task`.

        Args:
            initial_delay, max_delay: Until the second look, then twice as long each time, up to the
                maximum; rounded up to whole seconds.

            give_up_after: From the first look on; one that says not yet later than that is the last,
                and the task is archived. None: never.

            key: Where the id of what it looks at stands, as in `payload.video_id`. Of tasks of this
                handler with the same id one looks at a time, over all hosts; the others come again
                after their delay. Whose process dies holds nobody up.

        Raises:
            UsageError: As with `task`, or one of these makes no sense.
        """
        own = TaskOptions.of(**options)
        poll = make_poll(initial_delay, max_delay, give_up_after, key)

        def decorate(function: Callable[P, R]) -> TaskHandle[P, R]:
            handler = make_handler(
                task_type, function, options=own, retry=retry, limit=limit, poll=poll
            )
            self.router.add(handler)
            return declare(cast("App", self), handler, function)

        return decorate

    def may_be_poll(self, task_type: str) -> bool:
        """False if this program has a handler for the type, and it is no poll's."""
        handler = self.router.find(task_type)
        return handler is None or handler.poll is not None
