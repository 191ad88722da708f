"""Makes of a generation that failed one that stands in for it and shows why; what it shows is ``broken``'s business."""

from __future__ import annotations

import json
from dataclasses import replace

from server_core.arbiter.boot import Boot, Failure
from server_core.gateway.loader import AppSpec


def stand_in(boot: Boot, failure: Failure) -> Boot:
    """``boot`` with an application of our own, which tells every client of ``failure``."""
    told = {
        "title": boot.title,
        "sentence": failure.sentence,
        "details": failure.details,
        "number": boot.generation,
    }
    spec = AppSpec(json.dumps(told), boot.title, "server_core.reload.broken:load")
    return replace(boot, spec=spec, failure=failure)
