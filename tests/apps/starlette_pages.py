"""A Starlette application as people write them: routes, a lifespan, streams, a websocket, a task after the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
    yield {"database": "connected"}


async def home(request: Request) -> Response:
    return JSONResponse(
        {"database": request.state.database, "url": str(request.url), "root": request.scope["root_path"]}
    )


async def echo(request: Request) -> Response:
    return JSONResponse(await request.json())


async def upload(request: Request) -> Response:
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return PlainTextResponse(str(size))


async def events(request: Request) -> Response:
    """Goes on until the client is gone, and leaves a word then."""
    path = Path(request.query_params["path"])

    async def stream() -> AsyncIterator[str]:
        try:
            for number in range(100_000):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0.01)
        finally:
            path.write_text("ended")

    return StreamingResponse(stream(), media_type="text/event-stream")


async def later(request: Request) -> Response:
    path = Path(request.query_params["path"])
    return PlainTextResponse("soon", background=BackgroundTask(path.write_text, "done"))


def blocking(request: Request) -> Response:
    """A function, which Starlette calls in a thread."""
    return PlainTextResponse("from a thread")


async def file(request: Request) -> Response:
    return FileResponse(__file__)


async def fail(request: Request) -> Response:
    raise RuntimeError("this page always fails")


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    async for word in websocket.iter_text():
        await websocket.send_text(f"{websocket.state.database} {word}")


async def pass_on(request: Request, call_next):  # type: ignore[no-untyped-def]
    response = await call_next(request)
    response.headers["X-Middleware"] = "yes"
    return response


app = Starlette(
    routes=[
        Route("/", home),
        Route("/echo", echo, methods=["POST"]),
        Route("/upload", upload, methods=["POST"]),
        Route("/events", events),
        Route("/later", later),
        Route("/blocking", blocking),
        Route("/file", file),
        Route("/fail", fail),
        WebSocketRoute("/socket", socket),
        Mount("/files", StaticFiles(directory=Path(__file__).parent)),
    ],
    middleware=[Middleware(BaseHTTPMiddleware, dispatch=pass_on)],
    lifespan=lifespan,
)
