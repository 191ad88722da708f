"""Knows the shop of ``example_projects`` with one thing added: every answer tells which process gave it.

The shop is found where the benchmark has put its copy, with a database of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

SHOP = Path(os.environ.get("BENCH_FILES", ".")) / "shop"
sys.path.insert(0, str(SHOP))

from shop_site.wsgi import application  # noqa: E402 - found only there


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        return start_response(status, [*headers, ("X-Process", str(os.getpid()))], *more)

    answer: Iterable[bytes] = application(environ, start)
    return answer
