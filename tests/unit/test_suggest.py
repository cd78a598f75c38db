import pytest

from qd.suggest import did_you_mean

KEYS = ["concurrency", "processes", "shutdown_timeout"]


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("concurency", "concurrency"), ("PROCESSES", "processes"), ("shutdown", "shutdown_timeout")],
)
def test_the_nearest_name_is_suggested(word: str, nearest: str) -> None:
    assert did_you_mean(word, KEYS) == f' Did you mean "{nearest}"?'


def test_a_suggestion_keeps_the_case_of_the_name() -> None:
    assert did_you_mean("qd_confg", ["QD_CONFIG"]) == ' Did you mean "QD_CONFIG"?'


@pytest.mark.parametrize("word", ["xyz", ""])
def test_nothing_is_suggested_where_nothing_is_near(word: str) -> None:
    assert did_you_mean(word, KEYS) == ""


def test_nothing_is_suggested_without_candidates() -> None:
    assert did_you_mean("concurrency", []) == ""
