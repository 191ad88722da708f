"""Opens the address of a server in the browser of whoever develops; waits for nothing and knows no browser."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from logging import Logger

from server_core.listeners import Listener


def address_for_people(listeners: Iterable[Listener]) -> str:
    """The URL of the first listener that a browser can reach, "" when there is none."""
    for listener in listeners:
        if listener.binding.kind != "unix" and not listener.url.startswith("unix:"):
            # These stand for all addresses of the machine, and are no address to go to.
            return listener.url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    return ""


def open_browser(listeners: Iterable[Listener], log: Logger) -> None:
    """Let Python's own module choose the browser (BROWSER names one), in a process of its own."""
    url = address_for_people(listeners)
    if not url:
        log.warning("No browser was opened (open_browser): it cannot reach a unix socket.")
        return
    # What the browser says is of no use here; its end is noticed by whoever reaps our children.
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        files = [(os.POSIX_SPAWN_DUP2, nowhere, number) for number in (0, 1, 2)]
        command = [sys.executable, "-m", "webbrowser", "-t", url]
        os.posix_spawn(command[0], command, os.environ, file_actions=files, setpgroup=0)
    except OSError as error:
        log.warning("No browser was opened (open_browser): %s.", error.strerror)
    finally:
        os.close(nowhere)
