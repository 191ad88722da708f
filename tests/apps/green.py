"""Applications that wait for others, and notice when that keeps nobody else from going on."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from greenlet import getcurrent

#: what the application found when it was imported
SOCKET = f"{socket.socket.__module__}.{socket.socket.__name__}"
BEGAN = {"background": 0}


def tick_along():
    while True:
        time.sleep(0.05)
        BEGAN["background"] += 1


threading.Thread(target=tick_along, daemon=True).start()


def app(environ, start_response):
    kind, _, argument = environ["PATH_INFO"].strip("/").partition("/")
    if kind == "sleep":
        time.sleep(float(argument))
        text = "slept"
    elif kind == "ask":  # another server, or this one
        with urllib.request.urlopen(environ["QUERY_STRING"], timeout=20) as reply:
            text = reply.read().decode()
    elif kind == "ask-in-threads":
        with ThreadPoolExecutor(4) as pool:
            urls = [environ["QUERY_STRING"]] * 4
            text = "".join(pool.map(lambda url: urllib.request.urlopen(url, timeout=20).read().decode(), urls))
    elif kind == "run":
        text = subprocess.run(["sh", "-c", f"sleep {argument}; echo ran"], capture_output=True, text=True).stdout
    elif kind == "compute":
        until = time.perf_counter() + float(argument)
        while time.perf_counter() < until:
            pass
        text = "computed"
    elif kind in ("leave-timeout", "leave-kill"):  # for this greenlet, when the request is over
        leave_behind(kind, float(argument))
        text = "left"
    elif kind == "spawn-exit":
        import gevent

        gevent.spawn(sys.exit, 3).join()
        text = "spawned"
    elif kind == "background":
        text = str(BEGAN["background"])
    elif kind == "local":
        text = str(getattr(LOCAL, "name", None))
        LOCAL.name = argument
        time.sleep(0.2)
        text = str(LOCAL.name)
    else:
        text = SOCKET
    body = text.encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def leave_behind(kind, seconds):
    me = getcurrent()
    if socket.socket.__module__.startswith("gevent"):
        import gevent

        if kind == "leave-timeout":
            gevent.Timeout(seconds).start()
        else:
            gevent.spawn_later(seconds, gevent.kill, me)
    else:
        import eventlet

        if kind == "leave-timeout":
            KEPT.append(eventlet.Timeout(seconds))
        else:
            eventlet.spawn_after(seconds, eventlet.kill, me)


KEPT = []
LOCAL = threading.local()
