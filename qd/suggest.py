"""The "did you mean" of every message about a wrong name."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """
    Return ` Did you mean "x"?` for the candidate nearest to `word`, or "" when none is near.

    The result begins with a blank, so that it can be put behind any sentence. Upper and lower
    case are not told apart.
    """
    # Only wrong names need it, and every command would pay for the import.
    from difflib import get_close_matches

    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    nearest = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f' Did you mean "{by_folded[nearest[0]]}"?' if nearest else ""
