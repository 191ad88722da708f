"""Many requests at once on an event loop, for ASGI applications (coroutines), with lifespan and websockets."""

from __future__ import annotations

from server_core.workers.post import Post

#: a startup that takes longer is told
LONG_SECONDS = 5.0


def prepare() -> None:
    """Import the libraries, whose memory all workers then share."""
    from server_core.asgi import library, service  # noqa: F401


def run(post: Post) -> None:
    """Serve until drained.  Code that holds up the loop shows no sign of life, so ``timeout`` is its limit.

    Raises AppLoadError when the application says that it cannot serve.
    """
    # Not before a worker is of this class: asyncio and uvicorn need memory.
    from server_core.asgi.library import Lifespan, Websockets, configure, new_loop, share_log
    from server_core.asgi.service import Service, run_on
    from server_core.gateway.asgi import ASGI
    from server_core.gateway.warmup_asgi import warm_up

    settings = post.settings
    asgi, paths = settings.asgi, settings.paths
    assert post.loaded is not None
    application = post.loaded.application
    share_log(post.log)
    config = configure(application, asgi.asgi_lifespan, asgi.websocket_max_message_size)
    lifespan = Lifespan(config, application, post.log)
    access_log = post.access_log()
    loop = new_loop(asgi.asgi_loop)
    loop.set_exception_handler(
        lambda loop, context: post.log.error("%s", context["message"], exc_info=context.get("exception"))
    )

    def tell_long() -> None:
        words = (
            "Worker %d still waits for the application's startup (lifespan) after %gs; boot_timeout (%gs) ends that."
        )
        post.log.warning(words, post.slot, LONG_SECONDS, settings.timeouts.boot_timeout)

    async def serve() -> None:
        timer = loop.call_later(LONG_SECONDS, tell_long)
        await lifespan.startup()
        timer.cancel()
        sites = post.sites(concurrent=True)
        if settings.application.warmup:
            targets = settings.application.warmup
            await warm_up(
                application, sites[0].environ, paths.allowed_hosts, targets, paths.script_name, lifespan.state
            )
        interface = ASGI(application, paths.script_name, lifespan.state)
        service = Service(
            loop,
            interface,
            sites,
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
            websockets=Websockets(config, interface, access_log.record if access_log else None),
        )
        service.start()
        post.attend(service)
        await service.end()
        await lifespan.shutdown()

    try:
        run_on(loop, serve(), post.log)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
