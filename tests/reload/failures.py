"""Makes real failures, and asks the application that stands in while the code is broken."""

from __future__ import annotations

import html
import itertools
import json
import traceback
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from server_core.gateway.loader import describe
from server_core.reload.broken import load
from server_core.settings import Settings

_names = itertools.count()


def fails(folder: Path, source: str, name: str = "") -> tuple[Path, str, str]:
    """Run ``source`` as a file of its own: the file, the sentence about its failure, the traceback.

    As the loader would have it: without the frames of who has called.
    """
    path = folder / (name or f"file{next(_names)}.py")
    path.write_text(source, encoding="utf-8", newline="")
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), {"__name__": "failing"})
    except BaseException as error:
        frames = error.__traceback__.tb_next if error.__traceback__ else None
        text = "".join(traceback.format_exception(type(error), error, frames))
        if not text.startswith("Traceback") and frames is None and error.__cause__ is None:
            text = "Traceback (most recent call last):\n" + text
        return path, f"the application shop raised {describe(error)} on import", text
    raise AssertionError("the source does not fail")


def stand_in(
    sentence: str, details: str = "", title: str = "shop", number: int = 7, settings: Settings | None = None
) -> Any:
    told = {"title": title, "sentence": sentence, "details": details, "number": number}
    return load(json.dumps(told), settings or Settings()).application


class Input:
    """A body that nobody may read."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError("the body was touched")


class Reply:
    def __init__(self, application: Any, accept: str, method: str, path: str, **fields: str) -> None:
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_ACCEPT": accept, "wsgi.input": Input(), **fields}
        said: list[Any] = []
        body = application(environ, lambda *arguments: said.extend(arguments))
        self.body = b"".join(body)
        self.status = said[0]
        self.headers = dict(said[1])
        assert len(self.headers) == len(said[1])

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")


def ask(application: Any, accept: str = "text/html", method: str = "GET", path: str = "/", **fields: str) -> Reply:
    return Reply(application, accept, method, path, **fields)


def all_forms(application: Any) -> str:
    """All that the application ever says, also with every escape undone."""
    pages = [ask(application, "text/html", method).text for method in ("GET", "POST")]
    told = ask(application, "application/json").text
    return "\n".join(
        [
            *pages,
            *map(html.unescape, pages),
            told,
            "\n".join([json.loads(told)["error"], *json.loads(told)["traceback"]]),
            ask(application, "text/plain").text,
        ]
    )


class Page(HTMLParser):
    """What a browser sees: ``text`` by the class or name of the element that it is in, and all elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            name = dict(attrs).get("class") or tag
            self._open.append((tag, name))
            self.texts.setdefault(name, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for name in {name for _, name in self._open}:
            self.texts[name][-1] += data

    def all(self, name: str) -> list[str]:
        return self.texts.get(name, [])

    def one(self, name: str) -> str:
        (text,) = self.all(name)
        return text
