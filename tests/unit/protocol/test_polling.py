"""What a poll remembers is a header of its message."""

from __future__ import annotations

import pytest

from qd.policy.poll import Polling
from qd.protocol import polling


@pytest.mark.parametrize("value", [Polling(3, 100.5, 1900.25), Polling(1, 100.0, 0.0)])
def test_what_is_written_is_read(value: Polling) -> None:
    headers = (("traceparent", "x"), (polling.HEADER, polling.write(value)))
    assert polling.read(headers) == value


def test_times_are_rounded_to_milliseconds() -> None:
    text = polling.write(Polling(3, 100.123456789, 0.0))
    assert text == '{"looks":3,"since":100.123,"until":null}'


@pytest.mark.parametrize("text", ["", "3", "[]", "{}", "no json", '{"looks":"x","since":1}'])
def test_what_says_something_else_is_as_if_it_were_not_there(text: str) -> None:
    assert polling.read([(polling.HEADER, text)]) is None


def test_without_the_header_it_has_not_looked() -> None:
    assert polling.read([("traceparent", "x")]) is None


def test_to_begin_anew_is_to_have_no_header() -> None:
    headers = (("a", "1"), (polling.HEADER, "{}"), ("b", "2"))
    assert polling.forget(headers) == (("a", "1"), ("b", "2"))
