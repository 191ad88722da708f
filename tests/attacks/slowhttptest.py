"""Knows how Debian's slowhttptest is started for an attack of the catalogue, and how far it has come."""

from __future__ import annotations

import shutil
from pathlib import Path

from attacks import HOST
from attacks.catalogue import BIG, Attack

MISSING = "slowhttptest is not installed: apt-get install slowhttptest"
_SECONDS = 600  # longer than we let it run
_ESTABLISHED = "01"


def missing() -> str:
    """Why it cannot be used; empty if it can."""
    return "" if shutil.which("slowhttptest") else MISSING


def command(attack: Attack, port: int, count: int) -> list[str]:
    """The whole command line; all connections are made within a second or less."""
    path = BIG if "-X" in attack.tool else "/"
    common = [
        "-c",
        str(count),
        "-r",
        str(max(count, 1000)),
        "-l",
        str(_SECONDS),
        "-p",
        "5",
        "-u",
        f"http://{HOST}:{port}{path}",
    ]
    return ["slowhttptest", *attack.tool, *common]


def connections_to(port: int, table: str = "") -> int:
    """Established connections of this machine to the port, seen from the clients' side: what the kernel says of them,
    for the tool tells only every five seconds."""
    lines = (table or Path("/proc/net/tcp").read_text()).splitlines()[1:]
    wanted = f"0100007F:{port:04X}"
    return sum(1 for line in lines if line.split()[2] == wanted and line.split()[3] == _ESTABLISHED)
