"""One application for each kind of worker class, behind probes; its tests are in live_probes.

/spin/PATH writes a byte to PATH.reached and computes until the file PATH is there: nothing else goes on in that thread,
or on that loop.  Anything else says hello.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

if "WAIT_FOR" in os.environ:  # the second process that imports this waits there
    import select

    try:
        os.close(os.open(os.environ["WAIT_FOR"] + ".first", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        while not os.path.exists(os.environ["WAIT_FOR"]):
            select.select([], [], [], 0.02)


def page(path: str) -> bytes:
    if path.startswith("/spin/"):
        gate = path.removeprefix("/spin")
        with Path(gate + ".reached").open("ab") as file:
            file.write(b"x")
        while not os.path.exists(gate):
            pass
    return b"hello " + path.encode("latin-1")


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [page(environ["PATH_INFO"])]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": page(scope["path"])})


def tornado() -> Any:
    from tornado.web import Application, RequestHandler

    class Page(RequestHandler):
        def answer(self) -> None:
            self.finish(page(self.request.path))

        get = post = answer  # type: ignore[assignment]

    return Application([(".*", Page)])
