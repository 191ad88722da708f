"""Draws the page that a browser shows while the code is broken; knows what is shown, and nothing of where it is from.

Style and script are in the page and are the same in each, so a hash names them in the Content-Security-Policy, and
nothing else would run, should the escaping ever fail.
"""

from __future__ import annotations

import base64
import hashlib
import html
from itertools import groupby

from server_core.reload.broken_report import Place, Report, Told, carets, seen
from server_core.reload.sources import Line

#: where the page asks whether the code is still broken
ASKED_AT = "/.prefork-serve/broken"

_STYLE = """
:root { color-scheme: light dark; --ground: #f6f6f3; --card: #ffffff; --ink: #23262b; --soft: #646b78;
  --edge: #dedfd9; --here: #fdf0d5; --fault: #b3400f; }
@media (prefers-color-scheme: dark) { :root { --ground: #17181b; --card: #1f2125; --ink: #e4e4e1; --soft: #9aa1ac;
  --edge: #34373d; --here: #3b2f1c; --fault: #f2a36b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
h1 { margin: 0 0 .75rem; font-size: 1.375rem; line-height: 1.4; font-weight: 600; overflow-wrap: anywhere;
  white-space: pre-line; border-left: .25rem solid var(--fault); padding-left: 1rem; }
h1.long { font-size: 1.125rem; font-weight: 500; }
h2 { margin: 2.5rem 0 .5rem; font-size: 1.0625rem; font-weight: 600; }
h3 { margin: 0; padding: .625rem 1rem; font-size: .9375rem; font-weight: 400; overflow-wrap: anywhere; }
h3 b { font-weight: 600; }
p.hint, h3 span, summary, p.gone { color: var(--soft); }
p.hint { margin: 0 0 1.75rem; font-size: .9375rem; }
p.gone { margin: 0; padding: 0 1rem .625rem; font-size: .875rem; }
section, details { margin: 0 0 .875rem; background: var(--card); border: 1px solid var(--edge); border-radius: .5rem; }
section, section pre { overflow: hidden; }
details section { margin: 0; border-width: 1px 0 0; border-radius: 0; background: none; }
summary { padding: .5rem 1rem; font-size: .9375rem; cursor: pointer; overflow-wrap: anywhere; }
pre { margin: 0; font: .8125rem/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  tab-size: 4; }
pre.message { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 .875rem; }
section pre { overflow-x: auto; border-top: 1px solid var(--edge); padding: .5rem 0; }
code { display: block; min-width: max-content; font: inherit; }
code > span { display: block; padding: 0 1rem 0 0; border-left: .25rem solid transparent; }
code i { display: inline-block; width: 3.75rem; padding-right: 1rem; font-style: normal; text-align: right;
  color: var(--soft); user-select: none; }
code > .here { background: var(--here); border-color: var(--fault); }
code > .here i, code > .carets { color: var(--fault); font-weight: 600; }
@media (max-width: 40rem) { main { padding: 1.25rem .75rem; } code i { width: 2.75rem; padding-right: .75rem; } }
"""

# An answer with this very number: still broken.  No answer, or one of a proxy that got none: nobody knows.  Any other:
# the code has been mended, or is broken in another way.  While workers are replaced, one of the old ones may give this
# page again, and behind a proxy the question may never reach us: so each time it waits longer before it reloads.
_SCRIPT = """
"use strict";
(() => {
  const { number, method } = document.documentElement.dataset;
  const NAME = "prefork-serve broken";
  let timer = 0;

  async function hasChanged() {
    try {
      const answer = await fetch("@ASKED_AT@", {
        cache: "no-store", redirect: "manual", signal: AbortSignal.timeout(10000),
      });
      if (answer.status === 502 || answer.status === 504) return false;
      return answer.status !== 200 || String((await answer.json())?.number) !== number;
    } catch (error) {
      return error instanceof SyntaxError;
    }
  }

  function reloads() {
    try {
      const [last, times] = (sessionStorage.getItem(NAME) || "").split(" ");
      const count = last === number ? Number(times) + 1 : 0;
      sessionStorage.setItem(NAME, number + " " + count);
      return count;
    } catch {
      return 4;
    }
  }

  function reload() {
    if (method === "GET") location.reload();
    else location.replace(location.href.split("#")[0]);
  }

  async function ask() {
    timer = 0;
    if (await hasChanged()) {
      const before = reloads();
      setTimeout(reload, before && Math.min(250 * 2 ** before, 10000));
    } else {
      timer = setTimeout(ask, document.hidden ? 5000 : 500);
    }
  }

  document.addEventListener("visibilitychange", () => {
    if (timer && !document.hidden) {
      clearTimeout(timer);
      ask();
    }
  });
  timer = setTimeout(ask, 500);
})();
""".replace("@ASKED_AT@", ASKED_AT)


def _source_hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii") + "'"


#: a header for the page
POLICY = (
    f"default-src 'none'; script-src {_source_hash(_SCRIPT)}; style-src {_source_hash(_STYLE)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


def draw(report: Report, method: str) -> str:
    """The page as HTML.  ``method`` is "GET" when the browser may repeat the request; for any other it comes with GET
    the next time."""
    title = f"{report.title} is broken" if report.title else "The application is broken"
    return (
        f'<!doctype html>\n<html lang="en" data-number="{report.number}" data-method="{_text(method)}">\n'
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n<main>\n"
        f"{_draw_sentence(report.sentence, report.title)}\n"
        '<p class="hint">Mend the code, and this page reloads by itself.'
        "<noscript> (Not without JavaScript: reload it.)</noscript></p>\n"
        f"{_draw_told(report)}</main>\n<script>{_SCRIPT}</script>\n</html>\n"
    )


def _text(text: str) -> str:
    return html.escape(seen(text))


def _draw_sentence(text: str, title: str) -> str:
    kind = ' class="long"' if len(text) > 200 else ""
    if not (title and text.startswith(title)):  # a name is written as it is
        text = text[:1].upper() + text[1:]
    return f"<h1{kind}>{_text(text + ('' if text.endswith(('.', '!', '?')) else '.'))}</h1>"


def _draw_told(report: Report) -> str:
    """The last exception first, for that is the one that the sentence tells."""
    parts: list[str] = []
    link: bool | None = None
    for each in reversed(report.told):
        if parts:
            parts.append(
                "<h2>Also</h2>\n"
                if link is None
                else "<h2>It was caused by</h2>\n"
                if link
                else "<h2>It was raised while this was handled</h2>\n"
            )
        if parts or each.message not in report.sentence:
            parts.append(f'<pre class="message">{_text(each.message)}</pre>\n')
        parts.append(_draw_places(each, main=each is report.told[-1]))
        link = each.cause
    return "".join(parts)


def _draw_places(told: Told, main: bool) -> str:
    """The innermost place first.  Those of libraries are folded, unless the main exception has no others."""
    parts = []
    opened = " open" if main and all(place.library for place in told.places) else ""
    for foreign, run in groupby(reversed(told.places), key=lambda place: bool(place.library)):
        places = list(run)
        drawn = "".join(map(_draw_place, places))
        if foreign:
            names = ", ".join(dict.fromkeys(place.library for place in places))
            count = "1 call" if len(places) == 1 else f"{len(places)} calls"
            drawn = f"<details{opened}><summary>{count} in {_text(names)}</summary>\n{drawn}</details>\n"
        parts.append(drawn)
    return "".join(parts)


def _draw_place(place: Place) -> str:
    frame = place.frame
    # in <module> says nothing to most people
    function = f", in {_text(frame.function)}" if frame.function not in ("", "<module>") else ""
    note = f'<p class="gone">{_text(frame.note)}</p>\n' if frame.note else ""
    lines = place.lines if not place.library else [place.here] if place.here else []
    code = "".join(_draw_line(line, place) for line in lines)
    if not code and frame.code and not note:
        note = '<p class="gone">The source cannot be shown: the file is gone or has changed.</p>\n'
    return (
        f'<section><h3 title="{_text(frame.file)}"><b>{_text(place.path)}</b>, line {frame.line}'
        f"<span>{function}</span></h3>\n{note}" + (f"<pre><code>{code}</code></pre>" if code else "") + "</section>\n"
    )


def _draw_line(line: Line, place: Place) -> str:
    if line is not place.here:
        return f"<span><i>{line.number}</i>{_text(line.text)}</span>"
    drawn = f'<span class="here"><i>{line.number}</i>{_text(line.text)}</span>'
    if place.marks:
        marks = len(seen(line.text[: place.marks[0]])), len(seen(line.text[: place.marks[1]]))
        marks = marks[0], max(marks[1], marks[0] + 1)
        drawn += f'<span class="carets"><i></i>{_text(carets(seen(line.text), marks))}</span>'
    return drawn
