"""Applications of tornado on the event loop of ``asgi``: their interface, and connections that they take over.

The only package that imports tornado.  Of its own HTTP nothing is used but the types of what it says to an application:
requests are read by ``http.guard`` and answered by ``gateway.calls``, as for everybody.
"""
