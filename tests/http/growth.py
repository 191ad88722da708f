"""Tells whether a function takes time in proportion to its input, or in proportion to the square of it."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from typing import Any

TIMES = 16


def is_linear(function: Callable[[Any], object], small: Any, large: Any) -> bool:
    """``large`` is ``TIMES`` as much as ``small``: is the time that ``function`` takes far from TIMES squared?

    The best of several tries is taken, and the line is drawn in the middle (by ratio) between the two, so that a busy
    machine is not mistaken for a slow function.
    """

    def best(data: Any) -> float:
        seconds = []
        for _ in range(5):
            started = process_time()
            function(data)
            seconds.append(process_time() - started)
            if sum(seconds) > 1.0:
                break
        return min(seconds)

    function(small)  # whatever is made once is made now
    return best(large) < max(best(small), 0.0002) * TIMES * 4
