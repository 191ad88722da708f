"""Who waits and who works: one readiness loop per worker process, shared by all its threads.

In reading order: ``poller`` (which sockets are ready), ``spool`` (where a request body is kept until it is whole),
``outbox`` (what a client has not taken yet), ``outlet`` and ``connection`` (one client: answers out, requests in),
``transport`` and ``secure`` (the same by TLS), ``acceptor`` (new clients), ``crew`` (which thread leads), ``engine``
(the loop).
"""
