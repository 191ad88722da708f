"""Lets the tests of greenlets make certificates as those of TLS do."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "live_tls"))
