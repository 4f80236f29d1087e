"""What is freed goes back, where the system can; nothing happens where it cannot."""

import ctypes
import subprocess
import sys

import pytest

from mnv2_sweep.base import heap

FREE = """
import psutil, numpy as np
from mnv2_sweep.base.heap import trim_heap
parts = [np.ones(12_000) for _ in range(2000)]  # below the size from which glibc maps each by itself
keep = parts[-1]
full = psutil.Process().memory_info().rss
del parts
trim_heap()
print(full - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_freed_memory_goes_back_to_the_system():
    run = subprocess.run([sys.executable, "-c", FREE], capture_output=True, text=True, check=True)
    assert int(run.stdout) > 100 * 2**20  # of 183 MiB


def test_a_system_without_it_is_left_alone(monkeypatch):
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    heap.keep_heap()
    heap.trim_heap()
