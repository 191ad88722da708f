"""tornado's loop and its loggers, as a worker needs them; no request."""

from __future__ import annotations

import asyncio
import logging
from logging import Logger

from tornado.ioloop import IOLoop
from tornado.platform.asyncio import BaseAsyncIOLoop


def new_loop(anew: bool) -> asyncio.AbstractEventLoop:
    """tornado's current loop, as asyncio's; ``anew`` where the present one belongs to the process that forked us."""
    loop = IOLoop(make_current=True) if anew else IOLoop.current()
    assert isinstance(loop, BaseAsyncIOLoop)
    return loop.asyncio_loop


def share_log(log: Logger) -> None:
    """What tornado has to say goes to our log, unless the project has asked for it elsewhere; requests have a line."""
    for name in ("tornado.application", "tornado.general", "tornado.access"):
        logger = logging.getLogger(name)
        if not logger.hasHandlers():
            logger.handlers = [logging.NullHandler()] if name == "tornado.access" else log.handlers
            logger.propagate = False


async def cancel_rest() -> None:
    """Whatever still runs when all has been answered; it may say farewell."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
