"""Opens the address of a server in the browser of whoever develops; waits for nothing and knows no browser."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from logging import Logger

from server_core.listeners import Listener

#: The browser's own words are of no use here.  What is said when none could be started is ours.
_OPEN = """
import os, sys, webbrowser
ours = os.dup(2)
os.dup2(1, 2)
if not webbrowser.open_new_tab(sys.argv[1]):
    os.write(ours, sys.argv[2].encode())
"""


def address_for_people(listeners: Iterable[Listener]) -> str:
    """The URL of the first listener that a browser can reach, "" when there is none."""
    for listener in listeners:
        if listener.binding.kind != "unix" and not listener.url.startswith("unix:"):
            # These stand for all addresses of the machine, and are no address to go to.
            return listener.url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    return ""


def open_browser(listeners: Iterable[Listener], script_name: str, log: Logger) -> None:
    """Let Python's own module choose the browser (BROWSER names one), in a process of its own, which tells on standard
    error when there is none."""
    url = address_for_people(listeners)
    if not url:
        log.warning("No browser was opened (open_browser): it cannot reach a unix socket.")
        return
    if script_name:
        url += f"{script_name}/"
    failure = f"No browser was opened (open_browser): open {url} yourself, or name one in the variable BROWSER.\n"
    # Its end is noticed by whoever reaps our children.
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        files = [(os.POSIX_SPAWN_DUP2, nowhere, number) for number in (0, 1)]
        command = [sys.executable, "-c", _OPEN, url, failure]
        os.posix_spawn(command[0], command, os.environ, file_actions=files, setpgroup=0)
    except OSError as error:
        log.warning("No browser was opened (open_browser): %s.", error.strerror)
    finally:
        os.close(nowhere)
