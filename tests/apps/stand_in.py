"""The application that stands in for broken code; what is wrong stands in the file that STAND_IN_FOR names."""

from __future__ import annotations

import os
from pathlib import Path

from server_core.reload.broken import load
from server_core.settings import Settings

app = load(Path(os.environ["STAND_IN_FOR"]).read_text(encoding="utf-8"), Settings()).application
