"""Makes of a generation that failed one that stands in for it and shows why; what it shows is ``broken``'s business."""

from __future__ import annotations

import json
from dataclasses import replace

from server_core.arbiter.boot import Boot, Failure
from server_core.gateway.loader import AppSpec
from server_core.workers import calls_asgi


def stand_in(boot: Boot, failure: Failure) -> Boot:
    """``boot`` with an application of our own, which tells every client of ``failure``; its requests are not logged."""
    told = {
        "title": boot.title,
        "sentence": failure.sentence,
        "details": failure.details,
        "number": boot.generation,
    }
    spec = AppSpec(json.dumps(told), boot.title, "server_core.reload.broken:load")
    # The page asks again and again: a line for each would hide what the console has to say.
    logs = replace(boot.settings.logs, accesslog=None, syslog=False)
    workers = boot.settings.workers
    if calls_asgi(workers.worker_class):  # our application is WSGI
        workers = replace(workers, worker_class="sync")
    return replace(boot, spec=spec, settings=replace(boot.settings, logs=logs, workers=workers), failure=failure)
