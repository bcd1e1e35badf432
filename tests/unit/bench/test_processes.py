"""A tree's processor time and memory, on real processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from bench.processes import MemoryPeaks, ProcessTree, resident_bytes, spent

# A child that burns 0.3 s and ends, one that stays with 60 MB, then a parent that waits.
_PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.3: pass"])
stay = "import sys; held = b'x' * 60_000_000; print('ready', flush=True); sys.stdin.read()"
child = subprocess.Popen([sys.executable, "-c", stay, "the-one-that-stays"], stdin=subprocess.PIPE)
sys.stdin.read()
child.communicate()
"""


@pytest.fixture
def tree() -> Iterator[ProcessTree]:
    process = subprocess.Popen([sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    # The parent's command line holds the child's whole text.
    yield ProcessTree(process.pid, (("import subprocess", "parent"), ("the-one-that-stays", "child")))
    process.communicate()


def test_ended_children_are_counted_with_their_parent(tree: ProcessTree) -> None:
    cpu_s = tree.cpu_s()
    assert set(cpu_s) == {"parent", "child"}
    assert cpu_s["parent"] >= 0.3


def test_memory_by_label(tree: ProcessTree) -> None:
    peaks = MemoryPeaks()
    peaks.note(tree.memory())
    peaks.note([("child", 1, 1)])
    child, parent = peaks.by_label["child"], peaks.by_label["parent"]
    assert child.pss_bytes >= 60_000_000
    assert child.rss_bytes == child.largest_rss_bytes >= child.pss_bytes
    assert (child.processes, parent.processes) == (1, 1)
    assert peaks.rss_bytes == child.rss_bytes + parent.rss_bytes


def test_peaks_of_a_label_and_of_the_whole_may_be_at_different_moments() -> None:
    peaks = MemoryPeaks()
    peaks.note([("web", 100, 50), ("web", 90, 40), ("redis", 10, 10)])
    peaks.note([("web", 120, 60), ("redis", 200, 150)])
    web = peaks.by_label["web"]
    assert (web.largest_rss_bytes, web.rss_bytes, web.pss_bytes, web.processes) == (120, 190, 90, 2)
    assert (peaks.rss_bytes, peaks.pss_bytes) == (320, 210)


def test_what_was_spent_is_told_for_processes_that_came_and_went() -> None:
    assert spent({"web": 1.0, "old": 2.0}, {"web": 1.5, "new": 0.25}) == {"web": 0.5, "old": -2.0, "new": 0.25}


def test_a_tree_that_is_gone_is_empty() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    tree = ProcessTree(process.pid)
    process.communicate(b"\n")
    assert tree.cpu_s() == {}
    assert tree.memory() == []


def test_shared_pages_make_the_proportional_size_smaller(tree: ProcessTree) -> None:
    rss_bytes, pss_bytes = resident_bytes(tree._root.pid)
    assert 0 < pss_bytes <= rss_bytes
