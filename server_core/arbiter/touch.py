"""Watches files that somebody touches to have the application loaded anew (touch_reload); looks once a second."""

from __future__ import annotations

import os

#: what tells that a file has been touched, or another has taken its name; None where there is none
State = tuple[int, int] | None


class Touch:
    """``paths`` are the files; one that does not exist yet counts when it is made."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        self._seen = {os.path.abspath(path): _state(path) for path in paths}

    def reason(self) -> str:
        """Which files were touched since the last time, as a sentence; "" for none.  One that is gone is no reason."""
        touched = []
        for path, before in self._seen.items():
            now = self._seen[path] = _state(path)
            if now not in (before, None):
                touched.append(path)
        return (
            f"{' and '.join(touched)} {'were' if len(touched) > 1 else 'was'} touched (touch_reload)" if touched else ""
        )


def _state(path: str) -> State:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino
