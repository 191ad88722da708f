"""Knows the server's own answers: one short page for each status, which says nothing of the request and nothing of us.

The page is plain text, HTML or JSON, whichever the client likes best (RFC 9110, 12.5.1); for one that names none of
them, as for a request that could not be read, it is plain text.  So is advice to a client that has lost its way.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from http import HTTPStatus

from server_core.http.response import CLOSE

# RFC 9110, 15.5.14 and 15.5.15: newer phrases than those of older Pythons.
_PHRASES = {413: "Content Too Large", 414: "URI Too Long"}
#: seconds after which it is worth trying again (RFC 9110, 10.2.3)
_RETRY_AFTER = {503: 5}

_HTML = '<!doctype html><html lang="en"><meta charset="utf-8"><title>{0}</title><h1>{0}</h1></html>\n'
#: media ranges of an Accept field -> media type of the page
_RANGES = {
    "*/*": "text/plain",
    "text/*": "text/plain",
    "text/plain": "text/plain",
    "text/html": "text/html",
    "application/xhtml+xml": "text/html",
    "application/*": "application/json",
    "application/json": "application/json",
    "application/problem+json": "application/problem+json",
}
_MAX_RANGES = 32
_match_weight = re.compile(r"[^;]*;[ \t]*[Qq]=([01](?:\.[0-9]{0,3})?)[ \t]*").fullmatch


def error_page(
    status: int, date: bytes, *, accept: str = "", head_only: bool = False, advice: str = "", location: str = ""
) -> bytes:
    """A whole answer, the last one on its connection; ``date`` is what the server adds to every head.

    ``accept`` is the value of the Accept field, ``head_only`` says that the request was HEAD, ``advice`` is a sentence,
    ``location`` a URL where to go.
    """
    head, body = _page(status, "text/plain", advice) if advice else _page(status, liked_best(accept))
    where = f"Location: {location}\r\n".encode("ascii") if location else b""
    return b"".join((head, where, date, CLOSE, b"\r\n", b"" if head_only else body))


@lru_cache(maxsize=256)
def _page(status: int, media_type: str, advice: str = "") -> tuple[bytes, bytes]:
    phrase = _PHRASES.get(status) or HTTPStatus(status).phrase
    title = f"{status} {phrase}"
    if media_type == "text/html":
        body = _HTML.format(title)
    elif media_type.endswith("json"):
        body = json.dumps({"status": status, "title": phrase}) + "\n"  # RFC 9457 has the same names
    else:
        body = f"{title}: {advice}\n" if advice else title + "\n"
    charset = "; charset=utf-8" if media_type.startswith("text/") else ""
    head = f"HTTP/1.1 {title}\r\nContent-Type: {media_type}{charset}\r\nContent-Length: {len(body)}\r\n"
    if status in _RETRY_AFTER:
        head += f"Retry-After: {_RETRY_AFTER[status]}\r\n"
    return head.encode("ascii"), body.encode("ascii")


@lru_cache(maxsize=64)
def liked_best(accept: str) -> str:
    """The media type of a page for this Accept field: one of those in ``_RANGES``, text/plain when it names none."""
    best, best_weight = "text/plain", 0.0
    for item in accept.split(",", _MAX_RANGES)[:_MAX_RANGES]:
        media_type = _RANGES.get(item.partition(";")[0].strip(" \t").lower())
        found = _match_weight(item)
        weight = float(found[1]) if found else 1.0
        if media_type is not None and weight > best_weight:
            best, best_weight = media_type, weight
    return best
