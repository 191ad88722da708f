"""Applications of tornado on its event loop; WSGI applications in threads, as ``gthread`` serves them.

A WSGI application could run on the loop only by holding up everybody there, and nothing in it would know of the loop.
"""

from __future__ import annotations

from typing import Any

from server_core.errors import AppLoadError
from server_core.gateway.interface import speaks_tornado
from server_core.workers import gthread
from server_core.workers.post import Post


def prepare() -> None:
    """Import the libraries, whose memory all workers then share."""
    from server_core.asgi import service  # noqa: F401
    from server_core.tornado import call, library  # noqa: F401


def run(post: Post) -> None:
    """Serve until drained.  Code that holds up the loop shows no sign of life, so ``timeout`` is its limit."""
    assert post.loaded is not None
    application: Any = post.loaded.application
    if not speaks_tornado(application):
        gthread.run(post)
        return
    # Not before a worker is of this class: asyncio and tornado need memory.
    from server_core.asgi.service import Service, run_on
    from server_core.tornado.call import Tornado, fail_for
    from server_core.tornado.library import cancel_rest, new_loop, share_log, tell_errors
    from server_core.tornado.stream import Streams

    settings = post.settings
    paths = settings.paths
    if settings.application.warmup:
        raise AppLoadError("warmup: an application of tornado cannot be asked before it serves: leave the setting out")
    if settings.workers.threads > 1 and post.is_first:
        post.log.info("threads means nothing for an application of tornado: a worker has one, and many requests in it.")
    share_log(post.log)
    access_log = post.access_log()
    # What the application has put on a loop while it was imported runs, if it was imported in this process.
    loop = new_loop(anew=settings.workers.preload_app)
    tell_errors(loop, post.log)
    streams = Streams()

    async def serve() -> None:
        service = Service(
            loop,
            Tornado(application, paths.script_name, streams),
            post.sites(concurrent=True),
            settings.limits,
            settings.timeouts,
            settings.proxy,
            post.log,
            server=settings.responses.server_header,
            hosts=paths.allowed_hosts if paths.check_hosts else (),
            worker_connections=post.connections(),
            share=post.scoreboard.share(post.slot),
            screen=post.screen(),
            record=access_log.record if access_log else None,
            flush=access_log.flush if access_log else None,
            beat=post.beat,
            max_requests=post.most_requests(),
            limit_reached=post.recycle,
            websockets=streams,
        )
        service.start()
        post.attend(service)
        await service.end()
        await cancel_rest()

    try:
        run_on(loop, serve(), post.log, fail_for)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
