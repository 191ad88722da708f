"""Decides what follows from changed files: the running application takes them up, or it is loaded anew; does neither.

Frameworks keep templates and translations in memory and can renew them.  So files that are no code are told to the
workers, and only when one of them cannot take a file up does the application have to be loaded anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from logging import Logger
from typing import TYPE_CHECKING, Protocol

from server_core.process import Terminal

if TYPE_CHECKING:
    from server_core.arbiter.children import Worker

#: code and what configures it: no running application takes these up
CODE = (".py", ".toml", ".env", ".flaskenv")


class Change(Protocol):
    """Files that have changed."""

    @property
    def paths(self) -> Sequence[str]:
        """All of them; none when there is nothing to tell yet."""

    @property
    def sentence(self) -> str:
        """Which, in words."""


class Watching(Protocol):
    """What tells of changed files; ``descriptor`` can be read when there is something, -1 while nobody watches."""

    descriptor: int

    def read(self) -> Change:
        """What has changed."""

    def keep_up(self) -> bool:
        """Replace a watcher that has died, when it is time for it; is there one now?"""

    def add(self, places: Iterable[tuple[str, str]]) -> None:
        """Watch further places too: directories, each with a pattern for the files below it."""


class Autoreload:
    """``descriptor`` can be read when files have changed."""

    def __init__(self, watching: Watching, log: Logger) -> None:
        self._log = log
        self._watching = watching
        self._told = 0  # how often workers have been told of a change
        self._heeded = 0  # the last of these that has led to a reload
        self._unanswered: dict[int, str] = {}  # of each the sentence, until a worker has answered
        self._terminal = Terminal()

    @property
    def descriptor(self) -> int:
        """-1 while nobody watches."""
        return self._watching.descriptor

    def keep_watching(self) -> bool:
        """Is there somebody who watches?  One that has died is replaced after a pause."""
        return self._watching.keep_up()

    def is_left_alone(self) -> bool:
        """Has whoever develops closed the terminal?  Nobody would look at reloads any more, or could end the server."""
        return self._terminal.is_closed()

    def watch(self, directory: str, pattern: str) -> None:
        """The framework wants these files to be watched too."""
        self._watching.add([(directory, pattern)])

    def heed(self, workers: Iterable[Worker]) -> str:
        """Read what has changed; why the application has to be loaded anew, in words, or "".

        ``workers`` are those who may take it up, none when nobody serves or others are about to.
        """
        change = self._watching.read()
        who = list(workers)
        if not change.paths or not who or any(path.endswith(CODE) for path in change.paths):
            return change.sentence
        self._told += 1
        told = [worker.reports.send(changed=list(change.paths), number=self._told) for worker in who]
        if not all(told):
            return change.sentence
        self._unanswered[self._told] = change.sentence
        return ""

    def stale(self, path: str, number: int) -> str:
        """A worker cannot take a change up, or has taken up all of it when ``path`` is "": why the application has to
        be loaded anew, "" for no reason or when another has said so."""
        if number <= self._heeded or number > self._told:
            return ""
        if not path:
            sentence = self._unanswered.pop(number, "")
            if sentence:  # this is the first worker that says so
                self._log.info("%s: the running application takes it up.", sentence)
            return ""
        self._heeded = self._told  # what has been told since is taken up by the same reload
        self._unanswered.clear()
        return f"{for_people(path)} changed"


def for_people(path: str) -> str:
    """A path as seen from the working directory, on one line; whole when that directory has been deleted."""
    with suppress(FileNotFoundError):
        path = os.path.relpath(path)
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in path)
