"""Ids are random UUIDs, never the same twice, not even in a child process."""

from __future__ import annotations

import os
import uuid

from qd.client.ids import new_id


def test_ids_are_version_4_uuids_as_go_writes_them() -> None:
    made = {new_id() for _ in range(2000)}
    assert len(made) == 2000
    for one in made:
        parsed = uuid.UUID(one)
        assert str(parsed) == one
        assert parsed.version == 4
        assert parsed.variant == uuid.RFC_4122


def test_all_four_variants_come_about_equally_often() -> None:
    found = [new_id()[19] for _ in range(8000)]
    assert all(1800 < found.count(letter) < 2200 for letter in "89ab")


def test_a_child_process_makes_other_ids_than_its_parent() -> None:
    new_id()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, "".join(new_id() for _ in range(50)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 65536).decode()
    os.close(read)
    os.close(write)
    assert len(theirs) == 50 * 36
    assert not any(new_id() in theirs for _ in range(255))
