"""Measures what a normal client feels while others attack (``make attack``).

A package, so that its modules may be called like those of ``tests/bench``.  What the benchmark knows of servers,
processes and memory is used from there.
"""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"  # nothing here attacks anybody else
BENCH = str(TESTS / "bench")

if BENCH not in sys.path:
    sys.path.append(BENCH)
