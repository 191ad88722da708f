"""A floor, not a server: ``python bare_loop.py PORT`` takes whatever comes for a request, and always answers the same.

What an event loop in Python reaches that calls the system as rarely as can be, and does nothing else.
"""

import select
import socket
import sys

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n"
    b"Date: Mon, 23 Nov 2026 12:00:00 GMT\r\nServer: bare\r\n\r\nHello, World!"
)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=2048)
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    clients: dict[int, socket.socket] = {}
    while True:
        answers = []
        for descriptor, _ in epoll.poll():
            client = clients.get(descriptor)
            if client is None:
                client = listener.accept()[0]
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                clients[client.fileno()] = client
                epoll.register(client, select.EPOLLIN | select.EPOLLET)
                continue
            try:
                if client.recv(65536):
                    answers.append(client)
                    continue
            except ConnectionResetError:
                pass
            del clients[descriptor]
            client.close()
        for client in answers:  # together, as the engine sends them
            client.send(ANSWER)


if __name__ == "__main__":
    main()
