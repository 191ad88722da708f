"""The engine's counterpart on an event loop of asyncio: who waits for whom, when the application is a coroutine.

HTTP is read by ``http.guard`` and answered by ``gateway.asgi``, so that it means the same as everywhere here; lifespan
and websockets are uvicorn's (``asgi.library``).
"""
