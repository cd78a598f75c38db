"""Names that a reader somewhere could not handle are refused, and the text says why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qd.errors import ExitCode, InvalidName
from qd.protocol import names

CHECKS = [names.check_queue, names.check_type, names.check_id, names.check_group]
Check = Callable[[str], str]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "name", ["default", "a", "email:send", "prod_mail-1.x", "with space", "почта", "x" * 512]
)
def test_readable_names_are_returned_as_they_are(check: Check, name: str) -> None:
    assert check(name) == name


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "name", ["", " ", "\t", "a\nb", "a\x00", "\x1b[31m", "\ud800", "x" * 513, "\u200b"]
)
def test_names_that_cannot_be_shown_or_typed_are_refused(check: Check, name: str) -> None:
    with pytest.raises(InvalidName) as caught:
        check(name)
    assert caught.value.exit_code is ExitCode.USAGE
    str(caught.value).encode()


@pytest.mark.parametrize("name", ["{a}", "a{", "a}b"])
def test_a_brace_in_a_queue_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="brace") as caught:
        names.check_queue(name)
    assert "hash tag" in caught.value.hint
    assert names.check_type(name) == name


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", [None, 1, b"default"])
def test_what_is_not_text_is_refused(check: Check, name: str) -> None:
    with pytest.raises(InvalidName, match="must be text"):
        check(name)
