"""What `@app.task` gives back: the function, with ways to enqueue it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack

from qd.client.client import NewEnqueue
from qd.client.info import TaskInfo
from qd.errors import QdError
from qd.handlers.handler import Handler
from qd.handlers.options import NO_OPTIONS, OptionKeywords, TaskOptions

if TYPE_CHECKING:
    from qd.app.app import App
    from qd.client.builder import TaskBuilder

P = ParamSpec("P")
R = TypeVar("R")


class TaskHandle(Generic[P, R]):
    """
    A task type with its handler. Calling it calls the function, here and now.

    `enqueue` takes the function's own arguments; options are set with `options(...)`:

        send_email.options(process_in="5m").enqueue(to="a@example.com", subject="hi")
    """

    def __init__(
        self, app: App, handler: Handler, function: Callable[P, R], options: TaskOptions
    ) -> None:
        self._app = app
        self._handler = handler
        self._function = function
        self._options = options
        self.__name__ = getattr(function, "__name__", handler.pattern)
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    @property
    def type(self) -> str:
        return self._handler.pattern

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)

    def options(self, **options: Unpack[OptionKeywords]) -> TaskHandle[P, R]:
        """Return the same task with other options for what is enqueued through it."""
        merged = TaskOptions.of(**options).over(self._options)
        return TaskHandle(self._app, self._handler, self._function, merged)

    def new(self, *args: Any, **kwargs: Any) -> NewEnqueue:
        """Return one item for `client.enqueue_many`."""
        return NewEnqueue(self.type, self._handler.binding.pack(args, kwargs), self._options)

    def link(self, *args: Any, **kwargs: Any) -> TaskBuilder:
        """Return a call with these arguments as a link of a flow, see `qd.chain`; nothing is sent."""
        from qd.client.builder import TaskBuilder

        payload = self._handler.binding.pack(args, kwargs)
        return TaskBuilder(self._app.client, self.type, payload, self._options)

    def enqueue(self, *args: Any, **kwargs: Any) -> TaskInfo:
        """Enqueue a call with these arguments; raises what `Client.enqueue` raises."""
        return _only(self._app.client.enqueue_many([self.new(*args, **kwargs)]))

    async def aenqueue(self, *args: Any, **kwargs: Any) -> TaskInfo:
        """`enqueue` for coroutines."""
        return _only(await self._app.client.aenqueue_many([self.new(*args, **kwargs)]))

    def __repr__(self) -> str:
        return f"<task {self.type}>"


def declare(app: App, handler: Handler, function: Callable[P, R]) -> TaskHandle[P, R]:
    """Return the handle for a function that was just registered."""
    return TaskHandle(app, handler, function, NO_OPTIONS)


def _only(outcomes: list[TaskInfo | QdError]) -> TaskInfo:
    (outcome,) = outcomes
    if isinstance(outcome, QdError):
        raise outcome
    return outcome
