"""Scratch memory kept between calls: of the last size, one per thread at most, and none that is large."""

import os

import pytest

from stemtwin.twin.physics.engine.kernels.spare import SPARE_BYTES, Spare


def test_scratch_serves_the_next_call_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was put is taken again, each once; another size, large scratch and more than threads use are not kept."""
    monkeypatch.setenv("STEMTWIN_THREADS", "2")
    kept: Spare[object] = Spare()
    made = [object() for _ in range(4)]
    for each in made[:3]:
        kept.put("small", each, 100)
    kept.put("small", made[3], SPARE_BYTES + 1)
    assert {id(kept.take("small", object)) for _ in range(2)} == {id(each) for each in made[:2]}
    new = object()
    assert kept.take("small", lambda: new) is new
    kept.put("small", made[0], 100)
    assert kept.take("other", lambda: new) is new
    kept.put("other", made[1], 100)
    assert kept.take("small", lambda: new) is new


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_fork_begins_with_none() -> None:
    """A forked child has neither scratch memory of its parent nor a lock held by a thread of the parent."""
    kept: Spare[object] = Spare()
    kept.put("small", "parent", 1)
    with kept._lock:
        child = os.fork()
        if not child:
            os._exit(0 if kept.take("small", lambda: "own") == "own" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
