"""HTTP/1.1 as pure functions over bytes and values: no socket, no clock, no log.

In reading order: ``head`` (how a request head is spelt), ``fields`` (how field lines become one mapping), ``policy``
(which requests we accept), ``framing`` (how long a body is), ``forwarded`` (what a trusted proxy says about the
client), ``response`` (how an answer is spelt).
"""
