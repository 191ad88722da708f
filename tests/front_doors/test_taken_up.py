"""Files that the running application takes up, while all threads of a worker wait for events."""

from __future__ import annotations

import signal
from threading import Event, Thread

from live import eventually
from projects import MANAGE_SERVE, edit, shop_with_goods


def test_no_thread_is_lost_when_files_are_taken_up_under_load(serve, tmp_path):
    """Several threads are woken for the same words of the arbiter; one of them finds the words."""
    shop = shop_with_goods(tmp_path)
    server = serve("--bind", "127.0.0.1:0", command=MANAGE_SERVE, cwd=shop, env={"DJANGO_DEBUG": "1"})
    page = shop / "shop" / "templates" / "shop" / "base.html"
    enough = Event()

    def visit() -> None:
        while not enough.is_set():
            server.get("/")

    visitors = [Thread(target=visit) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    try:
        for number in range(1, 6):
            edit(page, "<body>" if number == 1 else f'<body class="{number - 1}">', f'<body class="{number}">')
            server.read_until(r"base\.html changed: the running application takes it up")
            eventually(lambda number=number: f'<body class="{number}">' in server.get("/").text)
    finally:
        enough.set()
        for visitor in visitors:
            visitor.join()
    server.signal(signal.SIGTERM)
    assert server.wait(10) == 0  # graceful_timeout is 30 seconds
    assert "killed" not in server.text
