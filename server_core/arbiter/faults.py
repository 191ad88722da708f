"""Tells of faults: each once with all its details, however often it comes back in a row; not what is done about it."""

from __future__ import annotations

from logging import Logger

from server_core.arbiter.boot import Failure
from server_core.arbiter.children import Worker
from server_core.arbiter.plan import Backoff


class Faults:
    """``backoff`` counts the failures in a row."""

    def __init__(self, log: Logger) -> None:
        self.backoff = Backoff()
        self._log = log
        self._told: set[tuple[str, str]] = set()
        self._findings: set[str] = set()

    def tell(self, sentence: str, details: str, fault: tuple[str, str], then: str) -> None:
        """``details`` is a traceback or "", ``fault`` is what makes two faults the same, ``then`` what happens now."""
        sentence = sentence.removesuffix(".")  # those of a ConfigError have one
        if self.backoff.failures <= 1:
            self._told.clear()
        again = fault in self._told
        self._told.add(fault)
        if again and details:
            self._log.error("%s (the same error as before, failure %d). %s", sentence, self.backoff.failures, then)
        else:
            self._log.error("%s. %s%s", sentence, then, indented(details))

    def tell_lost(self, worker: Worker, failure: Failure, status: str, pause: float, life: str) -> None:
        """A worker that should live is dead; ``status`` is what is the same whenever it dies so, ``pause`` in seconds
        until there is a new one, ``life`` what else is known of it."""
        self.tell(
            f"Worker {worker.slot} (pid {worker.pid}) was lost: {failure.sentence}",
            failure.details,
            (failure.sentence, failure.details) if worker.failure else (status, ""),
            (f"A new one starts in {pause:g}s." if pause else "A new one starts.") + life,
        )

    def tell_finding(self, text: str) -> None:
        """What an inspection has found, once however many generations and workers say it."""
        if text not in self._findings:
            self._findings.add(text)
            self._log.warning("%s", text)


def indented(details: str) -> str:
    """A text of several lines as it stands under a message."""
    text = details.strip("\n")
    return "\n" + "\n".join("    " + line for line in text.splitlines()) if text else ""
