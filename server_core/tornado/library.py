"""tornado's loop and its loggers, as a worker needs them; no request."""

from __future__ import annotations

import asyncio
import logging
from logging import Logger
from typing import Any

from tornado.ioloop import IOLoop
from tornado.platform.asyncio import BaseAsyncIOLoop


def new_loop(anew: bool) -> asyncio.AbstractEventLoop:
    """The loop that tornado uses in this process; ``anew`` where it has one that belongs to the process that forked us.

    Whatever is asyncio's loop is tornado's, too.
    """
    if not anew:
        loop = IOLoop.current()
        assert isinstance(loop, BaseAsyncIOLoop)
        return loop.asyncio_loop
    made = asyncio.new_event_loop()
    asyncio.set_event_loop(made)
    return made


def tell_errors(loop: asyncio.AbstractEventLoop, log: Logger) -> None:
    """Log what nobody has waited for.  That something was cancelled is no error: before 6.5 tornado took it for one."""

    def tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, asyncio.CancelledError):
            log.error("%s", context["message"], exc_info=error)

    loop.set_exception_handler(tell)


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
