"""The page for broken code: what it shows of a failure, what it never shows, and how it asks for better news."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sys
import textwrap

import pytest
from failures import Page, all_forms, ask, fails, stand_in
from growth import TIMES, is_linear
from hypothesis import given, settings
from hypothesis import strategies as st

from server_core.config.bindings import Binding
from server_core.reload.broken_page import ASKED_AT
from server_core.reload.broken_report import seen
from server_core.reload.sources import LARGEST, library_of, read_source
from server_core.reload.tracebacks import Frame, failures_in
from server_core.settings import Paths, Settings, Sockets

NAME_ERROR = """\
import os


class Item:
    limit = maximum_items(os.sep)
    name = "item"
"""


def page_of(folder, source: str, **options) -> Page:
    _, sentence, details = fails(folder, source)
    return Page(ask(stand_in(sentence, details, **options)).text)


# --- tracebacks as text


def test_a_traceback_is_read_into_places_and_a_message(tmp_path):
    path, _, details = fails(tmp_path, NAME_ERROR)
    (failure,) = failures_in(details)
    assert failure.message == "NameError: name 'maximum_items' is not defined"
    assert [(frame.file, frame.line, frame.function) for frame in failure.frames] == [
        (str(path), 4, "<module>"),
        (str(path), 5, "Item"),
    ]
    assert failure.frames[-1].code == "limit = maximum_items(os.sep)"
    assert failure.frames[-1].carets == ((8, 21) if sys.version_info >= (3, 11) else None)


@pytest.mark.parametrize("indent", ["", "    ", "\t"])
def test_the_place_of_a_syntax_error_is_the_one_with_its_caret(tmp_path, indent):
    path, _, details = fails(tmp_path, f"if 1:\n{indent or ' '}x = (1,\n")
    (failure,) = failures_in(details)
    assert failure.frames == [Frame(str(path), 2, "", "x = (1,", (4, 5))]
    assert failure.message == "SyntaxError: '(' was never closed"


@pytest.mark.parametrize("link", ["from error", ""])
def test_exceptions_that_follow_from_others_are_read_in_order(tmp_path, link):
    source = f"try:\n    1 / 0\nexcept ArithmeticError as error:\n    raise ValueError('one\\n\\ntwo') {link}"
    first, second = failures_in(fails(tmp_path, source)[2])
    assert (first.message, first.cause) == ("ZeroDivisionError: division by zero", None)
    assert (second.message, second.cause) == ("ValueError: one\n\ntwo", link != "")
    assert [first.frames[0].line, second.frames[0].line] == [2, 4]


def test_what_python_leaves_out_of_a_recursion_is_told(tmp_path):
    (failure,) = failures_in(fails(tmp_path, "def f():\n    f()\n\n\nf()\n")[2])
    assert re.fullmatch(r"\[Previous line repeated \d+ more times\]", failure.frames[-1].note)


def test_a_group_of_exceptions_is_read_without_its_margin():
    details = textwrap.dedent("""\
          + Exception Group Traceback (most recent call last):
          |   File "/srv/a.py", line 3, in f
          |     g()
          | ExceptionGroup: two (2 sub-exceptions)
          +-+---------------- 1 ----------------
            | ValueError: a
            | b
            +---------------- 2 ----------------
            | Traceback (most recent call last):
            |   File "/srv/b.py", line 4, in h
            |     i()
            | TypeError: c
            +------------------------------------
        """)
    first, second = failures_in(details)
    assert first.frames == [Frame("/srv/a.py", 3, "f", "g()")]
    assert first.message == "ExceptionGroup: two (2 sub-exceptions)\n\nValueError: a\nb"
    assert second.frames == [Frame("/srv/b.py", 4, "h", "i()")]
    assert second.message == "TypeError: c"


def test_of_a_cut_traceback_both_ends_are_read_and_no_half_line():
    details = (
        'Traceback (most recent call last):\n  File "/a.py", line 1, in f\n    TOKEN = "hunt\n...\n'
        'er2"\n    x = 1\n  File "/b.py", line 2, in g\n    y = 1\nValueError: no\n'
    )
    (failure,) = failures_in(details)
    assert [frame.file for frame in failure.frames] == ["/a.py", "/b.py"]
    assert failure.message == "ValueError: no"


def test_a_message_that_was_cut_does_not_show_source_lines():
    details = 'ValueError: long\n...\nlong\n  File "/b.py", line 2, in g\n    TOKEN = "hunter2"\nTypeError: no\n'
    assert "hunter2" not in all_forms(stand_in("it fails", details))
    assert [failure.message for failure in failures_in(details)] == ["ValueError: long", "TypeError: no"]


def test_places_in_a_message_are_none():
    details = fails_at("/a.py", 1)[1] + '  File "/b.py", line 2, in g\n'
    (failure,) = failures_in(details)
    assert [frame.file for frame in failure.frames] == ["/a.py"]


@given(
    st.lists(st.sampled_from(["Traceback (most recent call last):", '  File "a", line 1', "    x", "    ^", "...", ""]))
)
def test_any_text_is_read(lines):
    for failure in failures_in("\n".join(lines)):
        assert failure.frames or failure.message


def test_no_traceback_takes_the_square_of_its_length():
    for piece in (
        "...\n",
        '  File "a", line 1, in f\n    x\n    ^\n',
        "Traceback (most recent call last):\nE: x\n",
        "  | ",
    ):
        assert is_linear(lambda times, piece=piece: failures_in(piece * times), 500, 500 * TIMES)


# --- files


@pytest.mark.parametrize(
    "data", [b"a = 1\r\nb = 2\r\n", b"a = 1\rb = 2\r", b"\xef\xbb\xbfa = 1\nb = 2", b"a = 1\nb = 2"]
)
def test_lines_are_counted_as_python_does(tmp_path, data):
    (tmp_path / "x.py").write_bytes(data)
    _, details = fails_at(tmp_path / "x.py", 2)
    assert Page(ask(stand_in("it fails", details)).text).one("here") == "2b = 2"


def fails_at(path, line: int, code: str = ""):
    code = f"    {code}\n" if code else ""
    return path, f'Traceback (most recent call last):\n  File "{path}", line {line}, in f\n{code}ValueError: no\n'


@pytest.mark.parametrize(
    "data", [b"# coding: x\n", b"x = '\xff'\n", b"\0\n", b"", "# coding: latin-1\nx = 'ü'".encode("latin-1")]
)
def test_a_file_of_any_bytes_can_be_read(tmp_path, data):
    (tmp_path / "x.py").write_bytes(data)
    assert "line 1" in ask(stand_in("it fails", fails_at(tmp_path / "x.py", 1)[1])).text


def test_only_python_files_of_some_size_are_read(tmp_path):
    for name in ("x.env", "pass.txt", "x.py.bak"):
        (tmp_path / name).write_text("x = 1\n")
        assert read_source(str(tmp_path / name)) is None
    (tmp_path / "x.py").write_bytes(b"#" * LARGEST)
    assert read_source(str(tmp_path / "x.py")) is not None
    (tmp_path / "x.py").write_bytes(b"#" * (LARGEST + 1))
    assert read_source(str(tmp_path / "x.py")) is None
    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")  # nobody writes to it
    for name in ("folder.py", "pipe.py", "none.py", "a\0.py"):
        assert read_source(str(tmp_path / name)) is None


def test_without_its_file_a_place_is_shown_without_source(tmp_path):
    path, sentence, details = fails(tmp_path, "TOKEN = 'hunter2+Zq7'; undefined\n")
    path.unlink()
    application = stand_in(sentence, details)
    page = Page(ask(application).text)
    assert path.name in page.one("h3")
    assert "cannot be shown" in page.one("gone")
    assert "hunter2" not in all_forms(application)


def test_source_that_has_changed_since_is_not_taken_for_what_failed(tmp_path):
    path, sentence, details = fails(tmp_path, "x = 1\nundefined\n")
    path.write_text("x = 2\ny = 3\n")
    assert "cannot be shown" in Page(ask(stand_in(sentence, details)).text).one("gone")


def test_files_of_libraries_are_known():
    assert library_of(os.__file__) == "Python"
    assert library_of("<frozen importlib._bootstrap>") == "Python"
    assert library_of(pytest.__file__) == "pytest"
    assert library_of("/srv/env/lib/python3/dist-packages/yaml/__init__.py") == "yaml"
    assert library_of("/srv/env/lib/python3/site-packages/six.py") == "six"
    assert library_of(sys.modules["server_core"].__file__) == "the server"
    assert library_of(__file__) == ""
    assert library_of("<string>") == ""
    assert library_of("/srv/shop/\0") == ""


# --- the page


def test_the_sentence_is_on_top_and_the_failing_line_is_marked(tmp_path):
    page = page_of(tmp_path, NAME_ERROR)
    assert page.one("h1") == "The application shop raised NameError: name 'maximum_items' is not defined on import."
    assert page.one("title") == "shop is broken"
    inner, outer = page.all("section")
    assert ".py, line 5, in Item" in inner
    assert ".py, line 4" in outer
    assert page.all("here") == ["5    limit = maximum_items(os.sep)", "4class Item:"]
    assert "6    name = " in inner
    assert page.all("carets") == (["            ^^^^^^^^^^^^^"] if sys.version_info >= (3, 11) else [])


def test_the_caret_of_a_syntax_error_is_shown_below_its_place(tmp_path):
    page = page_of(tmp_path, 'KEY = "hunter2+Zq7", f(\n')
    assert page.one("here") == '1KEY = "********", f('
    assert page.one("carets") == "                   ^"


def test_a_caret_below_a_secret_does_not_tell_its_length(tmp_path):
    for secret in ("a", "a" * 50):
        page = page_of(tmp_path, f'KEY = "{secret}\n')
        assert (page.one("here"), page.one("carets")) == ("1KEY = ********", "      ^")
        page = page_of(tmp_path, f'KEY = f(undefined, "{secret}")["{secret}"]\n')
        assert page.one("here") == '1KEY = f(undefined, "********")["********"]'


def test_a_caret_inside_a_secret_is_at_its_beginning(tmp_path):
    _, sentence, details = fails(tmp_path, "KEY = '0123456789', undefined\n")
    marked = re.sub(r"(?m)^ +[~^]+$\n", "", details).replace("undefined\n", "undefined\n" + " " * 16 + "^^^\n", 1)
    page = Page(ask(stand_in(sentence, marked)).text)
    assert page.all("here") == ["1KEY = '********', undefined"]
    assert page.one("carets") == "       ^"


def test_tabs_and_unseen_characters_do_not_move_the_caret(tmp_path):
    page = page_of(tmp_path, 'if 1:\n\tx = "\x1b", (\n')
    assert page.one("here") == '2\tx = "\\x1b", ('
    assert page.one("carets") == "\t            ^"


def test_calls_in_libraries_are_folded(tmp_path):
    page = page_of(tmp_path, "import json\n\njson.loads('{')\n")
    assert page.one("summary") == "3 calls in Python"
    assert page.one("details").count("line") >= 3
    assert ("details", {}) in page.elements
    assert page.all("here")[-1] == "3json.loads('{')"


def test_calls_in_libraries_are_open_when_there_are_no_others():
    _, details = fails_at(os.__file__, 1)
    assert ("details", {"open": None}) in Page(ask(stand_in("it fails", details)).text).elements


def test_the_cause_comes_below_what_it_caused(tmp_path):
    source = "try:\n    1 / 0\nexcept ArithmeticError as error:\n    raise ValueError('one') from error"
    page = page_of(tmp_path, source)
    assert page.one("h2") == "It was caused by"
    assert page.one("message") == "ZeroDivisionError: division by zero"
    assert [text[:1] for text in page.all("here")] == ["4", "2"]


def test_paths_are_shown_as_seen_from_the_folder_of_the_application(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    page = page_of(tmp_path / "shop", "undefined\n")
    assert page.one("h3").startswith("shop/file")
    monkeypatch.chdir(tmp_path / "shop")
    (tmp_path / "shopping").mkdir()
    assert page_of(tmp_path / "shopping", "undefined\n").one("h3").startswith(str(tmp_path / "shopping"))


HOSTILE = "</script><script>alert(1)</script><!-- \"'& \x00\x1b[31m\u202e\u2066\ud800 {{x}}"


def test_all_that_comes_from_outside_is_escaped(tmp_path):
    folder = tmp_path / "<b>\"'&\u202e<"
    folder.mkdir()
    path = folder / "script>.py"
    path.write_text(f"# {HOSTILE[:-9]}\nx\n", encoding="utf-8")
    details = (
        f'Traceback (most recent call last):\n  File "{path}", line 1, in {HOSTILE}\n'
        f'  File "{HOSTILE}", line 1, in f\nValueError: {HOSTILE}\n'
    )
    application = stand_in(f"it raised {HOSTILE}", details, title=HOSTILE)
    text = ask(application).text
    assert text.count("<script") == text.count("</script") == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e\u2066\ud800]", text)
    page = Page(text)
    visible = seen(HOSTILE)
    assert page.one("h1") == f"It raised {visible}."
    assert page.one("title") == f"{visible} is broken"
    assert any(visible in text for text in page.all("h3"))
    assert {tag for tag, _ in page.elements} <= set(
        "html meta title style main h1 h2 h3 p noscript section b span pre code i details summary script".split()
    )
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\u2066\ud800]", ask(application, "text/plain").text)
    assert HOSTILE in json.loads(ask(application, "application/json").text)["error"]


def test_the_policy_allows_the_style_and_the_script_of_the_page_and_nothing_else(tmp_path):
    _, sentence, details = fails(tmp_path, NAME_ERROR)
    reply = ask(stand_in(sentence, details))
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    for name in ("style", "script"):
        (text,) = re.findall(f"<{name}>(.*?)</{name}>", reply.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[f"{name}-src"] == f"'sha256-{digest}'"
    for tag, attributes in Page(reply.text).elements:
        assert not {"src", "href", "style"} & attributes.keys(), tag
        assert not [name for name in attributes if name.startswith("on")]
    assert "eval" not in reply.text


def test_the_page_knows_its_failure_and_whether_it_may_be_asked_for_again():
    application = stand_in("it fails", number=1234)
    for method, expected in (("GET", "GET"), ("POST", "POST"), ("PUT", "POST"), ("<x>", "POST")):
        (_, attributes), *_ = Page(ask(application, method=method).text).elements
        assert attributes == {"lang": "en", "data-number": "1234", "data-method": expected}


# --- secrets


@pytest.mark.parametrize(
    "failing", ["raise ValueError(PASSWORD)", "raise KeyError('x' + PASSWORD)", "f(PASSWORD", "undefined"]
)
def test_a_secret_of_a_file_on_the_way_is_in_no_form_of_the_page(tmp_path, failing):
    _, sentence, details = fails(tmp_path, f"PASSWORD = 'hunter<2>&' + 'Zq7\\'\\n\\u2713'\n{failing}\n")
    forms = all_forms(stand_in(sentence, details))
    assert "PASSWORD" in forms
    assert "hunter" not in forms
    assert "Zq7" not in forms


def test_a_secret_of_the_environment_is_in_no_form_of_the_page(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOP_TOKEN", "hunter2+Zq7")
    _, sentence, details = fails(tmp_path, "import os\nint(os.environ['SHOP_TOKEN'])\n")
    forms = all_forms(stand_in(sentence, details))
    assert "invalid literal for int() with base 10: '********'" in forms
    assert "hunter2" not in forms


def test_a_known_secret_of_several_lines_is_hidden_where_only_its_beginning_is_shown(tmp_path):
    _, sentence, details = fails(tmp_path, '}\nTOKEN = """Zq7\nx9Z"""\nprint("""Zq7\nx9Z""")\n')
    assert "Zq7" not in all_forms(stand_in(sentence, details))


def test_the_line_of_a_traceback_is_taken_from_the_file_for_it_may_be_the_inside_of_a_secret(tmp_path):
    source = 'TOKEN = f"""\none hunter2+Zq7\n{undefined} hunter2+Zq7\n"""\n'
    _, sentence, details = fails(tmp_path, source)
    assert "hunter2" not in all_forms(stand_in(sentence, details))


def test_the_text_of_what_was_evaluated_is_not_shown(tmp_path):
    _, sentence, details = fails(tmp_path, "import ast\n\nast.literal_eval(''.join(('hun', 'ter 2+Zq7')))\n")
    assert "hunter 2" in details
    assert "hunter 2" not in all_forms(stand_in(sentence, details))


def test_the_name_of_an_application_is_no_secret():
    application = stand_in("the application api:app raised TypeError: no on import", title="api:app")
    assert "the application api:app raised TypeError: no on import" in ask(application, "text/plain").text


def test_words_of_libraries_are_not_taken_for_secrets(tmp_path):
    library = tmp_path / "site-packages"
    library.mkdir()
    _, _, details = fails(library, "TOKEN = 'telephone'; raise ValueError('telephone')\n")
    forms = all_forms(stand_in("no telephone", details))
    assert "no telephone" in forms
    assert "TOKEN = '********'" in forms


WORDS = "API AUTH TOKEN KEY SECRET PASS SIGNATURE DSN CREDENTIAL".split()
NAMES = st.builds(
    lambda word, change, before, after: before + change(word) + after,
    st.sampled_from(WORDS),
    st.sampled_from([str.lower, str.upper, str.title]),
    st.sampled_from(["", "DB_", "my_", "the", "_", "Ünder"]),
    st.sampled_from(["", "_KEY", "s", "_1", "Phrase", "_of_x"]),
).filter(lambda name: name not in ("pass",))
SECRETS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).map(lambda text: f"Zq7{text}x9Z")
#: {n} is the name, {v} a literal of the secret
PLACES = [
    "{n} = {v}",
    "{n}: str = {v}",
    "{n} = ({v})",
    "{n} = (\n    {v}\n)",
    "{n} = [1, {v}]",
    "{n} = {v}.strip()",
    "{n} = b'' or {v}",
    "x = {n} = {v}",
    "class Config:\n    {n} = {v}",
    "CONFIG = {{'{n}': {v}, 'host': 'db'}}",
    'CONFIG = {{"a": {{"{n}": {v}}}}}',
    "x = dict(host='db', {n}={v})",
    "import os\nx = os.environ.get('{n}', {v})",
    'import os\nx = os.environ.get("{n}") or {v}',
    "import os\nos.environ.get('x', None), os.environ.get('{n}', {v})",
    "def f(a, {n}={v}):\n    pass",
    "import types\nx = types.SimpleNamespace()\nx.{n} = {v}",
    "x = {{}}\nx['{n}'] = {v}",
    "x = {{}}; x['{n}'] = {v}; y = 1",
]
HEADS = [
    "",
    "import os\n",
    "x = (1,\n",
    "def f(:\n",
    "}\n",
    "y = $\n",
    "y = 'no end\n",
    "'''No end.\n",
    '"""No end.\n',
    "# it's\n",
]
TAILS = [
    "undefined",
    "raise ValueError({v})",
    "raise ValueError('it is', {v})",
    "raise ValueError(repr({v}))",
    "def f(:",
    "x = (",
    "'",
    '"""\nundefined',
]


def long_literal(text: str) -> str:
    """A string of several lines."""
    return '"""' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("\0", "\\0") + '"""'


@settings(deadline=None, max_examples=300)
@given(
    NAMES,
    SECRETS,
    st.sampled_from([repr, ascii, json.dumps, long_literal]),
    st.sampled_from(PLACES),
    st.sampled_from(HEADS),
    st.sampled_from(TAILS),
)
def test_a_secret_that_a_name_tells_is_in_no_form_of_the_page(tmp_path_factory, name, secret, write, place, head, tail):
    literal = write(secret)
    source = f"{head}{place.format(n=name, v=literal)}\n{tail.format(v=literal)}\n"
    _, sentence, details = fails(tmp_path_factory.getbasetemp(), source)
    forms = all_forms(stand_in(sentence, details))
    for written in {secret, literal[1:-1], repr(secret)[1:-1], ascii(secret)[1:-1], seen(secret)}:
        assert written not in forms
    assert "Zq7" not in forms


# --- as an application


@pytest.fixture(scope="module")
def application(tmp_path_factory):
    _, sentence, details = fails(tmp_path_factory.mktemp("project"), NAME_ERROR)
    return stand_in(sentence, details, number=42)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", ["/", "/any/path", "", "*", ASKED_AT + "/", ASKED_AT.upper()])
def test_every_path_and_method_is_answered_with_500(application, method, path):
    reply = ask(application, "text/html", method, path)
    assert reply.status == "500 Internal Server Error"
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Content-Length"] == str(len(reply.body))
    assert "maximum_items" in reply.text


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("application/json, text/plain, */*", "application/json"),
        ("application/problem+json", "application/problem+json"),
        ("*/*", "text/plain; charset=utf-8"),
        ("", "text/plain; charset=utf-8"),
    ],
)
def test_the_form_is_the_one_that_the_client_likes_best(application, accept, media_type):
    assert ask(application, accept).headers["Content-Type"] == media_type


def test_programs_get_the_sentence_and_the_traceback_as_json(application):
    told = json.loads(ask(application, "application/json").text)
    assert (told["status"], told["title"]) == (500, "Internal Server Error")
    assert told["error"] == "the application shop raised NameError: name 'maximum_items' is not defined on import"
    assert told["traceback"][0] == "Traceback (most recent call last):"
    assert told["traceback"][-1] == "NameError: name 'maximum_items' is not defined"
    assert "    limit = maximum_items(os.sep)" in told["traceback"]


def test_the_traceback_reads_as_python_prints_it(tmp_path):
    source = "try:\n    1 / 0\nexcept ArithmeticError as error:\n    raise ValueError('one\\n\\ntwo') from error\n"
    for broken in (source, source.replace(" from error", ""), "if 1:\n    f(x)\n", "def f():\n\tx = (1,\n"):
        _, sentence, details = fails(tmp_path, broken)
        text = ask(stand_in(sentence, details), "text/plain").text
        expected = f"500 Internal Server Error\n\n{sentence}\n\n{details}"
        # Not what is around the part at fault, and no indentation.
        expected = re.sub(r"(?m)~(?=[~^]*$)", "", re.sub(r"(?m)~(?=~*\^)", " ", expected)).replace("\t", "")
        assert text == expected


def test_head_has_the_length_of_the_page_and_no_body(application):
    reply = ask(application, "text/html", "HEAD")
    assert reply.body == b""
    assert reply.headers["Content-Length"] == str(len(ask(application).body))


FORMS = ("text/html", "application/json", "text/plain")


@pytest.fixture(scope="module")
def bound():
    """One at addresses of a name, and with hosts that are allowed."""
    return stand_in(
        "the application shop raised NameError: name 'maximum_items' is not defined on import",
        settings=Settings(
            sockets=Sockets(bind=(Binding("tcp", "devbox", 8000),)), paths=Paths(allowed_hosts=(".shop.test",))
        ),
    )


@pytest.mark.parametrize("accept", FORMS)
@pytest.mark.parametrize(
    "host",
    ["localhost:8000", "shop.localhost", "127.0.0.1:8000", "[::1]:8000", "192.0.2.7", "DevBox:8000", "a.shop.test"],
)
def test_who_asks_by_a_name_of_this_machine_is_told_what_is_wrong(bound, accept, host):
    assert "maximum_items" in ask(bound, accept, HTTP_HOST=host).text


@pytest.mark.parametrize("accept", FORMS)
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "[::x]", "%"])
def test_a_page_of_the_web_that_has_its_name_point_here_reads_nothing(bound, accept, host):
    for method in ("GET", "POST"):
        reply = ask(bound, accept, method, HTTP_HOST=host)
        assert reply.status == "500 Internal Server Error"
        assert "maximum_items" not in reply.text
        assert "allowed_hosts" in reply.text


def test_the_question_whether_it_is_still_broken_is_answered_with_the_number(application):
    for method in ("GET", "POST", "HEAD"):
        reply = ask(application, "text/html", method, ASKED_AT)
        assert (reply.status, reply.headers["Content-Type"]) == ("200 OK", "application/json")
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.body == (b"" if method == "HEAD" else b'{"number": 42}')


def test_a_sentence_that_begins_with_a_name_keeps_it() -> None:
    page = Page(ask(stand_in("shop.wsgi:app raised NameError: x on import", title="shop.wsgi:app")).text)
    assert page.one("h1") == "shop.wsgi:app raised NameError: x on import."


def test_a_failure_without_a_traceback_is_its_sentence():
    application = stand_in("no module named 'x', so the application 'x:app' cannot be imported", title="")
    assert ask(application, "text/plain").text == (
        "500 Internal Server Error\n\nno module named 'x', so the application 'x:app' cannot be imported\n"
    )
    page = Page(ask(application).text)
    assert page.one("h1") == "No module named 'x', so the application 'x:app' cannot be imported."
    assert page.one("title") == "The application is broken"
    assert json.loads(ask(application, "application/json").text)["traceback"] == []


def test_a_long_traceback_has_the_source_of_its_innermost_places(tmp_path):
    source = "def a(n):\n    b(n)\n\n\ndef b(n):\n    a(n - 1) if n else undefined()\n\n\na(60)\n"
    page = page_of(tmp_path, source)
    assert len(page.all("section")) > 100
    assert len(page.all("here")) == 40
    assert page.all("here")[0].endswith("else undefined()")


# --- live


@pytest.fixture
def live(serve, tmp_path):
    _, sentence, details = fails(tmp_path, NAME_ERROR)
    told = {"title": "shop", "sentence": sentence, "details": details, "number": 3}
    (tmp_path / "told.json").write_text(json.dumps(told))
    return serve("stand_in:app", "--workers", "2", env={"STAND_IN_FOR": str(tmp_path / "told.json")})


def test_a_server_serves_it_to_browsers_programs_and_people_with_curl(live):
    browser = live.get("/cart", Accept="text/html,*/*;q=0.8")
    assert browser.status == 500
    assert browser.headers["content-type"] == "text/html; charset=utf-8"
    assert browser.headers["cache-control"] == "no-store"
    assert "maximum_items" in Page(browser.text).one("h1")
    program = live.get("/api", "POST", b"x" * 100_000, Accept="application/json", Content_Type="text/plain")
    assert json.loads(program.text)["status"] == program.status == 500
    assert live.get("/", Accept="*/*").text.startswith("500 Internal Server Error\n\nthe application shop raised")


def test_a_server_answers_the_page_and_head_on_one_connection(live):
    request = f"GET {ASKED_AT} HTTP/1.1\r\nHost: x\r\n\r\nHEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    first, second = live.raw(request.encode()).split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200 OK\r\n")
    assert first.endswith(b'\r\n\r\n{"number": 3}')
    assert second.startswith(b"500 Internal Server Error\r\n")
    assert second.endswith(b"\r\n\r\n")
    assert live.text.count("[ERROR]") == 0
