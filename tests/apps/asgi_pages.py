"""An ASGI application with a page for each promise that the worker class asgi makes; its tests are in live_asgi."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Query = dict[str, str]

BLOCK = bytes(range(256)) * 256
TEXT = (b"content-type", b"text/plain")

seen: ContextVar[str] = ContextVar("seen", default="nothing")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """/NAME/ARGUMENT?key=value calls the page NAME; any other path says hello."""
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
        return
    name, _, argument = scope["path"].removeprefix(scope["root_path"]).strip("/").partition("/")
    query = dict(parse_qsl(scope["query_string"].decode()))
    pages = PAGES if scope["type"] == "http" else SOCKETS
    await pages.get(name, hello)(scope, receive, send, argument, query)


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """A line for each message in the file $LIFESPAN_NOTES; $LIFESPAN_FAILS says what fails, and how."""
    fails = os.environ.get("LIFESPAN_FAILS", "")
    while True:
        message = await receive()
        kind = message["type"].removeprefix("lifespan.")
        if notes := os.environ.get("LIFESPAN_NOTES"):
            with open(notes, "a") as file:
                file.write(f"{kind}\n")
        if fails == kind:
            raise RuntimeError("no database today")
        if fails == f"{kind} hangs":
            await asyncio.sleep(3600)
        if fails == f"{kind} says":
            await send({"type": f"lifespan.{kind}.failed", "message": "Traceback ...\nValueError: no database today"})
            return
        scope["state"]["started"] = "by the lifespan"
        await send({"type": f"lifespan.{kind}.complete"})
        if kind == "shutdown":
            return


async def answer(send: Send, body: bytes, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [TEXT, length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def body_of(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise OSError("the client is gone")
        body += message["body"]
        if not message["more_body"]:
            return body


async def hello(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    await answer(send, f"hello {scope['method']} {scope['path']}".encode())


async def account(scope: Scope, receive: Receive, send: Send) -> None:
    """What was understood of a request: for the corpus, whose targets name no pages."""
    assert scope["type"] == "http"
    told = {
        "method": scope["method"],
        "path": scope["raw_path"].decode("ascii"),
        "query": scope["query_string"].decode("ascii"),
        "body": (await body_of(receive)).decode("latin-1"),
    }
    await answer(send, json.dumps(told).encode())


async def told(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """The scope as JSON; then the application spoils it, as it may."""

    def plain(value: Any) -> Any:
        return value.decode("latin-1") if isinstance(value, bytes) else str(value)

    body = json.dumps(scope, default=plain).encode()
    scope["headers"].clear()
    scope["state"]["started"] = "spoilt"
    scope["client"] = scope["method"] = None
    await answer(send, body)


async def echo(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    await answer(send, await body_of(receive))


async def unread(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    await answer(send, b"I did not look")


async def stream(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """So many blocks without a length; ``pause`` seconds between them."""
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    for number in range(int(argument)):
        await send({"type": "http.response.body", "body": b"block %d\n" % number, "more_body": True})
        await asyncio.sleep(float(query.get("pause", 0)))
    await send({"type": "http.response.body", "body": b""})


async def big(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """So many bytes; how many of them have been sent stands in the file ``path``."""
    size = int(argument)
    length = (b"content-length", argument.encode())
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT, length]})
    while size > 0:
        block = BLOCK[:size]
        size -= len(block)
        await send({"type": "http.response.body", "body": block, "more_body": size > 0})
        if "path" in query:
            Path(query["path"]).write_text(str(int(argument) - size))


async def begun(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """Says status and headers, and nothing more until the file ``path`` is there."""
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    await appears(query["path"])
    await send({"type": "http.response.body", "body": b"at last"})


async def appears(path: str) -> None:
    while not os.path.exists(path):
        await asyncio.sleep(0.01)


async def gate(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """Waits until the file ``path`` is there."""
    await appears(query["path"])
    await answer(send, b"through the gate")


async def until_gone(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """Listens until the client is gone, and says so in the file ``path``."""
    await body_of(receive)
    message = await receive()
    Path(query["path"]).write_text(message["type"])


async def afterwards(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """Goes on after its answer until the file ``path`` is there, then leaves another."""
    await answer(send, b"more is done")
    await appears(query["path"])
    Path(query["path"] + ".done").write_text("done")


async def fails_afterwards(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """Fails after its answer, when it has heard that the request is over."""
    await answer(send, b"all is well")
    assert (await receive())["type"] == "http.disconnect"
    raise RuntimeError("this page fails when nobody looks")


async def variable(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """What a context variable holds; then it holds the argument."""
    found = seen.get()
    seen.set(argument)
    await body_of(receive)
    await answer(send, found.encode())


async def nap(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    await asyncio.sleep(float(argument))
    await answer(send, b"slept")


async def fail(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    raise RuntimeError("this page always fails")


async def late(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    await send({"type": "http.response.body", "body": b"so far so good", "more_body": True})
    raise RuntimeError("this page always fails too late")


async def overlong(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """More blocks than its length has room for; the last of them when the client's next request is there."""
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT, (b"content-length", b"5")]})
    for _ in range(3):
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        await asyncio.sleep(0.1)


async def silent(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """Returns without a word."""


async def header(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """Says a header, as it is in the query."""
    await answer(send, b"", 200, (query["name"].encode("latin-1"), query["value"].encode("latin-1")))


async def status(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    await answer(send, b"a body nevertheless", int(argument))


async def pid(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    await answer(send, str(os.getpid()).encode())


async def reply(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """A websocket that says again what it hears, with the path that it was opened with in front of it."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": f"{scope['path']} {message.get('text')}"})
    if "path" in query:
        Path(query["path"]).write_text(str(message["code"]))


async def scope_of(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """A websocket that says its scope."""
    await receive()
    await send({"type": "websocket.accept"})
    headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
    told = {key: scope[key] for key in ("client", "scheme", "path", "root_path", "state")} | {"headers": headers}
    await send({"type": "websocket.send", "text": json.dumps(told)})
    await send({"type": "websocket.close"})


async def unwanted(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """A websocket that is refused."""
    await receive()
    await send({"type": "websocket.close"})


async def hints(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """An early hint before the answer."""
    await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
    await answer(send, b"hinted")


async def same_list(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """So many bytes; the length is written into the list that was said the last time."""
    SAME[0][1] = argument.encode()
    await send({"type": "http.response.start", "status": 200, "headers": SAME})
    await send({"type": "http.response.body", "body": b"x" * int(argument)})


async def begins_and_reads(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """Says status and headers at once, then reads the body."""
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    await body_of(receive)
    await send({"type": "http.response.body", "body": b"read"})


async def hold_up(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """Holds up the loop."""
    time.sleep(float(argument))
    await answer(send, b"held up")


async def endless(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """Sends for ever, and waits for nothing else."""
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    while True:
        await send({"type": "http.response.body", "body": BLOCK, "more_body": True})


async def task_exits(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """Starts a task that wants to end the process."""

    async def leave() -> None:
        raise SystemExit(3)

    task = asyncio.get_running_loop().create_task(leave())
    await asyncio.wait([task])
    await answer(send, b"started")


async def strict(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """A websocket that takes the end of its client, and some words, for an error, as the loops of frameworks do."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["text"] == "fail":
            raise ValueError("on purpose")
        await send({"type": "websocket.send", "text": message["text"]})
    raise RuntimeError("the client has gone")


async def pour(scope: Scope, receive: Receive, send: Send, argument: str, query: Query) -> None:
    """A websocket that sends for ever."""
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        await send({"type": "websocket.send", "bytes": BLOCK})


SAME = [[b"content-length", b"0"]]
PAGES: dict[str, Callable[..., Awaitable[None]]] = {
    page.__name__: page
    for page in (
        *(
            told,
            hints,
            echo,
            unread,
            stream,
            big,
            begun,
            gate,
            until_gone,
            afterwards,
            fails_afterwards,
            variable,
            nap,
            fail,
            late,
            overlong,
            silent,
        ),
        *(header, status, pid, same_list, begins_and_reads, hold_up, endless, task_exits),
    )
}
SOCKETS: dict[str, Callable[..., Awaitable[None]]] = {
    "reply": reply,
    "scope": scope_of,
    "unwanted": unwanted,
    "pour": pour,
    "strict": strict,
}


def make(greeting: str) -> Callable[..., Awaitable[None]]:
    """A factory."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await answer(send, greeting.encode())

    return app
