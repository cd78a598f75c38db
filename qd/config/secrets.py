"""Values that must not be shown: the type that hides them, and passwords inside URLs."""

from __future__ import annotations

import re

MASK = "***"

# From "://user:" to the last "@" before a blank: a password that was not escaped may hold "@", "/",
# "," or even "://", and it is better to hide too much than to show its end.
_URL_PASSWORD = re.compile(r"(?P<head>\w[\w+.-]*://[^/?#:@\s]*:)\S*(?P<tail>@)")
_QUERY_PASSWORD = re.compile(r"(?i)(?P<head>[?&](?:[\w.-]*password|token)=)[^&#\s]*")


class Secret:
    """
    A text that shows as `***` wherever it is printed, logged or formatted.

    `reveal()` is the only way to the text. Two secrets with the same text are equal; an empty one
    is false.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, for the one place that sends it."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __str__(self) -> str:
        return MASK if self._text else ""

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"


def mask_url(text: str) -> str:
    """
    Return `text` with the passwords of the URLs in it replaced by `***`; other text as it is.

    URLs that nothing but a comma divides may lose more than their passwords.
    """
    masked = _URL_PASSWORD.sub(rf"\g<head>{MASK}\g<tail>", text)
    return _QUERY_PASSWORD.sub(rf"\g<head>{MASK}", masked)


class SecretUrl(str):
    """An address that hides its password in `repr`, and so wherever settings are printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(mask_url(self))
