"""Knows what to write here instead of an option that does not exist: of another server's, or misspelt; refuses none."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from server_core.config.schema import closest

FOREIGN: Mapping[str, str] = {
    # flask run
    "-h": "write --bind HOST:8000 (the help is --help)",
    "--host": "write --bind HOST:8000",
    "--port": "write --bind 127.0.0.1:PORT",
    "--debug": "write --profile development",
    "--extra-files": "write --reload-extra-file FILE",
    "--exclude-patterns": "write --reload-exclude PATTERN",
    "--with-threads": "write --threads 8",
    "--without-threads": "write --threads 1",
    # manage.py runserver
    "--addrport": "write --bind 127.0.0.1:8000",
    "--noreload": "write --no-reload",
    "--nostatic": "write --no-static",
    "--nothreading": "write --threads 1",
    "--insecure": "static files need no option here: in production STATIC_ROOT is served, run collectstatic",
    "-6": "write --bind [::1]:8000",
    "--ipv6": "write --bind [::1]:8000",
    # Gunicorn
    "--access-log": "write --access-logfile FILE, where - is standard output",
    "--error-log": "write --error-logfile FILE, where - is standard error",
    "-D": "it stays in the foreground: a service manager such as systemd puts it into the background",
    "--daemon": "it stays in the foreground: a service manager such as systemd puts it into the background",
    "-e": "set variables in the environment of the command",
    "--env": "set variables in the environment of the command",
    "--pythonpath": "write --chdir DIRECTORY, or set PYTHONPATH",
    "--proxy-allow-from": "write --proxy-allow-ips ADDRESSES",
    "--worker-tmp-dir": "nothing is needed: workers give their signs of life in memory",
    # Uvicorn, Waitress
    "--interface": "nothing is needed: --worker-class asgi is for ASGI, the others are for WSGI",
    "--lifespan": "write --asgi-lifespan auto, on or off",
    "--limit-concurrency": "write --worker-connections NUMBER --full-policy refuse",
    "--limit-max-requests": "write --max-requests NUMBER",
    "--loop": "write --asgi-loop auto, asyncio or uvloop",
    "--timeout-graceful-shutdown": "write --graceful-timeout SECONDS",
    "--timeout-keep-alive": "write --keep-alive SECONDS",
    "--ws-max-size": "write --websocket-max-message-size BYTES",
    "--factory": "write the application as module:factory()",
    "--listen": "write --bind HOST:PORT",
    "--log-config": "name a logger prefork_serve in the logging of the project",
    "--proxy-headers": "write --forwarded-allow-ips ADDRESSES",
    "--reload-dir": "write --reload-include DIRECTORY/",
    "--root-path": "write --script-name PATH",
    "--ssl-ca-certs": "write --ca-certs FILE",
    "--ssl-cert-reqs": "write --cert-reqs required",
    "--ssl-certfile": "write --certfile FILE",
    "--ssl-ciphers": "write --ciphers LIST",
    "--ssl-keyfile": "write --keyfile FILE",
    "--ssl-keyfile-password": "set SERVE_KEYFILE_PASSWORD in the environment",
    "--ssl-version": "write --ssl-minimum-version TLSv1.2 or TLSv1.3",
    "--uds": "write --bind unix:PATH",
    "--unix-socket": "write --bind unix:PATH",
}
"""Options of other servers, and what to do here."""


def hint(option: str, known: Collection[str]) -> str:
    """What to write instead of ``option`` (or ``--option=value``), which is none of the ``known``; "" if no idea."""
    option = option.partition("=")[0]
    if option in FOREIGN:
        return f"{FOREIGN[option][0].upper()}{FOREIGN[option][1:]}."
    names = [each.removeprefix("--") for each in known if each.startswith("--")]
    meant = closest(option.removeprefix("--"), names) if option.startswith("--") else ""
    return f"Did you mean --{meant}?" if meant else ""
