"""Draws the reference pages of the manual from the declarations they describe; declares nothing itself."""

from __future__ import annotations

import sys

from server_core.access_log import ATOMS
from server_core.arbiter.plan import SIGNALS, UNUSED_SIGNALS
from server_core.config.manual import settings_page
from server_core.gateway.findings import ANY, DJANGO, FINDINGS, FLASK
from server_core.workers import WORKER_CLASSES

_DRAWN = "<!-- Drawn by `make docs` from the declarations in the code: change those. -->"


def signals_page() -> str:
    """docs/reference/signals.md."""
    rows = [f"| `{number.name}` | {' '.join((change.__doc__ or '').split())} |" for number, change in SIGNALS.items()]
    return "\n".join(
        [
            _DRAWN,
            "# Signals",
            "",
            "Send them to the arbiter: the process whose number is in the start banner and in the pid file, and whose",
            "title begins with `prefork-serve: arbiter`. Workers and forkservers are told what to do by the arbiter.",
            "",
            "| signal | what happens |",
            "| --- | --- |",
            *rows,
            f"| {', '.join(f'`{number.name}`' for number in UNUSED_SIGNALS)} | Nothing, and a warning in the log. |",
            "",
        ]
    )


def access_log_page() -> str:
    """docs/reference/access-log.md."""
    rows = [f"| `%({name})s` | {meaning} |" for name, (meaning, _) in ATOMS.items()]
    return "\n".join(
        [
            _DRAWN,
            "# The access log's format",
            "",
            "`access_log_format` is a text with these atoms, which are Gunicorn's. Quotes, backslashes and control",
            "characters in a value are escaped, so that no client can forge a line.",
            "",
            "| atom | meaning |",
            "| --- | --- |",
            *rows,
            "| `%({name}i)s` | the request field of that name |",
            "| `%({name}o)s` | the response header of that name, as the application gave it |",
            "| `%({name}e)s` | the key of that name in the WSGI environ |",
            "",
        ]
    )


def worker_classes_page() -> str:
    """docs/reference/worker-classes.md."""
    rows = [f"| `{name}` | {found.summary} | {found.at_once} |" for name, found in WORKER_CLASSES.items()]
    return "\n".join(
        [
            _DRAWN,
            "# Worker classes",
            "",
            "A worker class decides how a worker waits for its clients. Requests are read, judged and answered by the",
            "same code in all of them, and a slow client never holds an application thread in any of them.",
            "",
            "| `worker_class` | how it works | several requests at once in one process |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


_APPLICATIONS = {DJANGO: "Django", FLASK: "Flask", ANY: "any"}


def findings_page() -> str:
    """docs/reference/findings.md."""
    rows = [
        f"| `{name}` | {found.what} | {', '.join(_APPLICATIONS[package] for package in found.of)} | {found.when} |"
        for name, found in FINDINGS.items()
    ]
    return "\n".join(
        [
            _DRAWN,
            "# Findings of the inspection",
            "",
            "What the inspection ([`checks`](settings.md#checks)) can find by itself. With Django it also tells the",
            "findings of `manage.py check`, and in production those of `manage.py check --deploy`, by the names that",
            "they have there. A finding whose name begins with `serve.E` refuses the start, as any error does; of the",
            "others [`strict`](settings.md#strict) makes a reason to refuse in production. Each can be silenced by its",
            "name ([`silenced_checks`](settings.md#silenced_checks)).",
            "",
            "| name | what it means | application | when |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


PAGES = {
    "settings.md": settings_page,
    "signals.md": signals_page,
    "access-log.md": access_log_page,
    "worker-classes.md": worker_classes_page,
    "findings.md": findings_page,
}


def main() -> None:
    """Write all pages into the directory that is named on the command line."""
    for name, draw in PAGES.items():
        with open(f"{sys.argv[1]}/{name}", "w", encoding="utf-8") as file:
            file.write(draw())


if __name__ == "__main__":
    main()
