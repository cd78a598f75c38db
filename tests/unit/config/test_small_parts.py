"""Sizes, dotted keys, and the count of CPUs."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qd.config.cpus import usable_cpus
from qd.config.given import dotted, split_key
from qd.config.sizes import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1MiB", 1 << 20),
        ("512KiB", 512 << 10),
        ("2GiB", 2 << 30),
        ("1.5KiB", 1536),
        ("1MB", 1_000_000),
        ("10 kB", 10_000),
        ("100B", 100),
        ("2048", 2048),
        ("0", 0),
    ],
)
def test_a_size_is_read_as_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "1.5", "-1", "1TB", "KiB", "1 MiB x", "1k"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=1 << 50))
def test_a_size_that_is_shown_is_read_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.lists(st.text(min_size=1).filter(lambda name: '"' not in name), min_size=1))
def test_a_dotted_key_is_split_where_it_was_joined(names: list[str]) -> None:
    assert split_key(dotted(tuple(names))) == tuple(names)


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", 'a."b', 'a"b"'])
def test_what_is_no_key_has_no_parts(text: str) -> None:
    assert split_key(text) == ()


AFFINITY = len(os.sched_getaffinity(0))


@pytest.fixture
def membership(tmp_path: Path) -> Path:
    return tmp_path / "cgroup"


def quota_v2(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [("50000 100000", 1), ("100000 100000", 1), ("110000 100000", 2), ("max 100000", 10**6)],
)
def test_a_quota_limits_the_cpus(tmp_path: Path, membership: Path, quota: str, cpus: int) -> None:
    membership.write_text("0::/system.slice/qd.service\n")
    quota_v2(tmp_path / "mount" / "system.slice" / "qd.service", quota)
    assert usable_cpus(membership, tmp_path / "mount") == min(cpus, AFFINITY)


def test_the_tightest_quota_above_the_process_counts(tmp_path: Path, membership: Path) -> None:
    membership.write_text("0::/a/b\n")
    quota_v2(tmp_path / "mount" / "a", "100000 100000")
    quota_v2(tmp_path / "mount" / "a" / "b", "max 100000")
    assert usable_cpus(membership, tmp_path / "mount") == 1


def test_the_mount_itself_counts_where_the_path_is_the_hosts(
    tmp_path: Path, membership: Path
) -> None:
    """So it is in a container with its own mount but without its own namespace."""
    membership.write_text("0::/kubepods/pod1\n")
    quota_v2(tmp_path / "mount", "20000 100000")
    assert usable_cpus(membership, tmp_path / "mount") == 1


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
def test_a_quota_of_version_1_limits_the_cpus(
    tmp_path: Path, membership: Path, controllers: str
) -> None:
    membership.write_text(f"5:memory:/docker/x\n4:{controllers}:/docker/x\n")
    folder = tmp_path / "mount" / controllers / "docker" / "x"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("100000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cpus(membership, tmp_path / "mount") == 1
    (folder / "cpu.cfs_quota_us").write_text("-1\n")
    assert usable_cpus(membership, tmp_path / "mount") == AFFINITY


@pytest.mark.parametrize("text", ["", "nonsense", "100000 0", "0::/x"])
def test_what_cannot_be_read_sets_no_limit(tmp_path: Path, membership: Path, text: str) -> None:
    membership.write_text("0::/\n")
    quota_v2(tmp_path / "mount", text)
    assert usable_cpus(membership, tmp_path / "mount") == AFFINITY
    assert usable_cpus(tmp_path / "gone", tmp_path / "mount") == AFFINITY


def test_this_machine_has_at_least_one_cpu() -> None:
    assert 1 <= usable_cpus() <= AFFINITY
