"""
The pytest plugin: fixtures for tests of applications. Imports next to nothing before one is used.

    def test_signup(qd_kit):
        signup(ann)
        qd_kit.assert_enqueued("email:send", payload={"to": "ann@example.com"})

    @pytest.mark.qd(now=datetime(2030, 1, 31, 7, 59, 50, tzinfo=UTC), config={"queues": {"default": 1}})
    def test_at_another_time(qd_kit): ...
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from qd.app.app import App
    from qd.broker.embedded import EmbeddedServer
    from qd.testing.kit import Kit


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("qd_app", "the application of the fixture qd_kit: module:attribute, as for --app")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "qd(now=None, config=None): the time and the settings that qd_kit begins with"
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show the hint of an error of qd; its text alone does not say what to try."""
    outcome: Any = yield
    errors = sys.modules.get("qd.errors")
    error = None if call.excinfo is None else call.excinfo.value
    if errors is not None and isinstance(error, errors.QdError) and error.hint:
        outcome.get_result().sections.append(("what qd suggests", error.hint))


@pytest.fixture(scope="session")
def qd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server of this session (under xdist, of each of its processes), which ends with it."""
    from qd.testing import server

    with server.start(tmp_path_factory.mktemp("qd")) as running:
        yield running


@pytest.fixture
def qd_app(request: pytest.FixtureRequest) -> App:
    """
    The application under test: the one that the ini option `qd_app` names, or else the only one there is.

    Give your own fixture this name to choose another.
    """
    from qd.app.app import App
    from qd.app.loading import load_app
    from qd.errors import UsageError

    named = request.config.getini("qd_app")
    if named:
        return load_app(str(named))
    try:
        return App.only()
    except UsageError as error:
        raise UsageError(
            f"Which app is to be tested? {error}",
            hint='Name it in the settings of pytest, qd_app = "shop.tasks:app", or define a fixture qd_app.',
        ) from None


@pytest.fixture
def qd_kit(request: pytest.FixtureRequest, qd_app: App, qd_server: EmbeddedServer) -> Iterator[Kit]:
    """A `qd.testing.Kit` for the application, with everything empty."""
    from qd.testing.kit import Kit

    marker = request.node.get_closest_marker("qd")
    with Kit(qd_app, server=qd_server, **(marker.kwargs if marker else {})) as kit:
        yield kit
