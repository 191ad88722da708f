"""What is a secret in code and in prose, and what is none."""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path
from time import process_time

import django
import flask
import pytest
import werkzeug
from growth import TIMES, is_linear
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import server_core
from server_core.reload.code_masking import Secrets
from server_core.reload.masking import MASK, Known, hide, secrets_in_text, secrets_of, sounds_secret
from server_core.reload.sources import LARGEST

SECRET = "hunter2+Zq7"


def shown(source: str) -> str:
    return hide(source, Secrets(source).ranges)


def told(text: str) -> str:
    return hide(text, secrets_in_text(text))


@pytest.mark.parametrize(
    "source",
    [
        'SECRET_KEY = "hunter2+Zq7"',
        "password='hunter2+Zq7'",
        'apiKey: str = "hunter2+Zq7"',
        'DEBUG, TOKEN = True, "hunter2+Zq7"',
        'TOKEN = b"hunter2+Zq7"',
        'TOKEN = rb"hunter2+Zq7"',
        'TOKEN = f"hunter2+Zq7{x}"',
        'token = f"{ "hunter2+Zq7" }"',
        'TOKEN = f"{a["b"]}hunter2+Zq7"',
        'TOKEN = "a" "hunter2+Zq7"',
        'TOKEN = "a" + \\\n    "hunter2+Zq7"',
        'TOKEN = (\n    "a"\n    "hunter2+Zq7"\n)',
        'TOKEN = """\nhunter2+Zq7\n"""',
        "TOKEN = '''a\nhunter2+Zq7",
        'TOKEN = base64.b64decode("hunter2+Zq7")',
        'TOKEN = "a" if DEBUG else "hunter2+Zq7"',
        'if password == "hunter2+Zq7": pass',
        'if "hunter2+Zq7" == password: pass',
        'TOKENS = ["a", ("hunter2+Zq7",), {"b": "hunter2+Zq7"}]',
        'TOKENS = {"hunter2+Zq7": "somebody"}',
        'CONFIG = {"HOST": "db", "PASSWORD": "hunter2+Zq7"}',
        'CONFIG = {"a": {"b": [{"PASS" "WORD": "hunter2+Zq7"}]}}',
        'CONFIG = {"PASSW\\x4frd": "hunter2+Zq7"}',
        'CONFIG = {("a", "password"): "hunter2+Zq7"}',
        'headers = {"Authorization": "Bearer hunter2+Zq7"}',
        'connect(host="db", password="hunter2+Zq7")',
        'def f(a, password="hunter2+Zq7"): pass',
        'f(password, "hunter2+Zq7")',
        'f("--password", "hunter2+Zq7")',
        'run(["--password", "hunter2+Zq7", "--verbose"])',
        'pairs = [("host", "db"), ("password", "hunter2+Zq7")]',
        'pair = "password", "hunter2+Zq7"',
        'dict(zip(("user", "password"), ("bob", "hunter2+Zq7")))',
        'os.environ.get("SECRET_KEY", "hunter2+Zq7")',
        'x = os.environ.get("SECRET_KEY") or "hunter2+Zq7"',
        'x = os.environ["SECRET_KEY"] if y else decode("hunter2+Zq7")',
        'x = config("SECRET_KEY", cast=str, default="hunter2+Zq7")',
        'x = getattr(settings, "API_KEY", "hunter2+Zq7")',
        'setattr(settings, "API_KEY", "hunter2+Zq7")',
        'os.environ["SECRET_KEY"] = "hunter2+Zq7"',
        'x["a"]["password"]["b"] = "hunter2+Zq7"',
        'Field("hunter2+Zq7", alias="API_KEY")',
        'Field(alias="API_KEY", default="hunter2+Zq7")',
        'def get_secret():\n    return "hunter2+Zq7"',
        'async def get_secret():\n    return "hunter2+Zq7"',
        'class Secrets:\n    class db:\n        x = 1\n\n        y = "hunter2+Zq7"',
        'url = "postgres://user:hunter2+Zq7@host/db"',
        'url = "postgres://user:a@b/hunter2+Zq7@host/db"',
        'url = "postgres://user:123/a@hunter2+Zq7@host/db"',
        'url = "postgres://user:a hunter2+Zq7@host/db"',
        'url = "https://hunter2+Zq7@sentry.io/1"',
        'url = ("postgres://user:"\n       "hunter2+Zq7@host/db")',
        'url = "postgres://user:" + "hunter2+Zq7" + "@host/db"',
        'url = "postgres://{}:{}@host/db".format("user", "hunter2+Zq7")',
        'x = "password=%s" % "hunter2+Zq7"',
        'log("password: %s", "hunter2+Zq7")',
        'x = "password=" + "hunter2+Zq7"',
        'x = """\n[db]\npassword = hunter2+Zq7\n"""',
        'x = \'{"password": "hunter2+Zq7"}\'',
        'x = "{\\"password\\": \\"hunter2+Zq7\\"}"',
        'x = """-----BEGIN PRIVATE KEY-----\nhunter2+Zq7\n-----END PRIVATE KEY-----"""',
        "x = 1  # the password: hunter2+Zq7",
        "TOKEN = load()  # hunter2+Zq7",
        "TOKENS = [\n    # hunter2+Zq7\n]",
        "# The password\n# is hunter2+Zq7\nx = 1",
        'ＰＡＳＳＷＯＲＤ = "hunter2+Zq7"',
        'x = 1; TOKEN = "hunter2+Zq7"; y = 2',
        'if x: TOKEN = "hunter2+Zq7"',
        'x = (TOKEN := "hunter2+Zq7")',
        'x = lambda token="hunter2+Zq7": 1',
        'match x:\n    case "password": y = "hunter2+Zq7"',
    ],
)
def test_a_secret_in_code_is_hidden(source: str):
    assert SECRET in source
    assert "hunter2" not in shown(source)
    assert "Zq7" not in shown(source)


@pytest.mark.parametrize(
    "source",
    [
        'TOKEN = "hunter2+Zq7',
        "TOKEN = hunter2+Zq7",
        "TOKEN = hunter2+Zq7$",
        "token = “hunter2+Zq7”",
        "token = a? hunter2+Zq7",
        'TOKEN =\n    "hunter2+Zq7"',
        'TOKEN = \\ \n    "hunter2+Zq7"',
        'TOKEN = f(\n    "hunter2+Zq7"\nx = 1\n',
        'TOKENS = {"a": "b")}\n}\nTOKEN = "hunter2+Zq7"',
        'TOKENS = {\n    "a": "b"),\n    "c": "hunter2+Zq7",\n}',
        'TOKENS = {\n    "a": ("b",\n    "c": "hunter2+Zq7",\n}',
        'TOKENS = {\n    "a": ("b"},\n    "c": "hunter2+Zq7",\n}',
        'TOKENS = dict(\na="b"\nc = "hunter2+Zq7"',
        '"PASSWORD":\n    "hunter2+Zq7",',
        '"PASSWORD": hunter2+Zq7,',
        'x = f(1, 2\nTOKEN = "hunter2+Zq7"',
        'x = f(1, 2\nTOKEN: str = "hunter2+Zq7"',
        'x = """\nTOKEN = "hunter2+Zq7"\n',
        "x = '''\nTOKEN = '''hunter2+Zq7'''\n",
        'x = """\nTOKEN = """\nhunter2+Zq7\n"""\nx = 1',
        'x = \'\nTOKEN = "hunter2+Zq7"',
        "x = '''it's\nTOKEN = 'it\\'s hunter2+Zq7'",
        "(" * 500 + 'TOKEN = "hunter2+Zq7"',
        'TOKEN = "hunter2+Zq7"' + ")" * 500,
    ],
)
def test_a_secret_in_broken_code_is_hidden(source: str):
    with pytest.raises((SyntaxError, NameError, MemoryError)):
        exec(compile(source, "x", "exec"), {})
    assert "hunter2" not in shown(source)
    assert "Zq7" not in shown(source)


@pytest.mark.parametrize(
    "source",
    [
        'INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "shop"]',
        'urlpatterns = [path("login/", login), path("x/", include("api.urls"))]',
        "from api.auth import keys, Tokens as T",
        'shop = models.ForeignKey("shop.Category", related_name="items", primary_key=True)',
        'raise KeyError("name")',
        'except KeyError: x = "y"',
        'AUTH_USER_MODEL = "accounts.User"',
        'AUTH_PASSWORD_VALIDATORS = [{"NAME": "django.contrib.auth.password_validation.Length"}]',
        'SECRET_KEY = ""',
        'SECRET_KEY = os.environ["SECRET_KEY"]',
        "API_KEY = config.API_KEY\nimport config",
        "API_KEY = undefined(config)",
        "password = undefined",
        'API_KEY = "" + undefined',
        "TOKEN = None",
        'if x: pass\ny = "z"',
        'class Keys: pass\nx = "y"',
        'f(x, 1\ny = "z"\nx = None\n',
        'raise ValueError(f"no such name: {name}")',
        'DATABASES = {\n    "HOST": "db",\n    "PASSWORD": environ["DB_PASSWORD"],\n}',
        'TOKEN = None\nx = "y"  # not told',
        '"""How to get in.\n\nOnly by the door.\n"""',
    ],
)
def test_code_without_a_secret_stays_as_it_is(source: str):
    assert shown(source) == source


def test_a_statement_is_hidden_from_the_line_of_its_first_secret_on():
    source = 'DB = {\n    "HOST": "db",\n    "PASSWORD": "x y",\n    "PORT": 5432,  # here\n}\nTIMES = [10]'
    expected = source.replace("x y", MASK).replace('"PORT": 5432', f'"{MASK}": {MASK}').replace("# here", MASK)
    assert shown(source) == expected
    assert shown('password = """a\nb\n"""\nx = "y"') == f'password = """{MASK}"""\nx = "y"'


def test_in_what_is_no_python_all_is_hidden_behind_the_name():
    assert shown("token = a? b\nx = 1") == f"token = {MASK}\nx = 1"


@pytest.mark.parametrize(
    "text",
    [
        "ValueError: password=hunter2+Zq7",
        "ValueError: bad password: a hunter2+Zq7",
        "ValueError: bad password 'hunter2+Zq7'",
        "ValueError: the password is 'hunter2+Zq7'",
        "ValueError: password:\n    hunter2+Zq7",
        "Config(api_key='hunter2+Zq7', host='db')",
        "Config(api_key='it\\'s hunter2+Zq7', host='db')",
        "{'api_key': 'a\\', hunter2+Zq7', 'b': 1}",
        "ValueError: keys = [\n  'a',\n  'hunter2+Zq7',\n]",
        "ValueError: keys = [\n  'a[',\n  'hunter2+Zq7',\n]",
        "ValueError: keys = [\n  'a]',\n  'hunter2+Zq7',\n]",
        "ValueError: keys = [\n  'a',\n  'hunter2+Zq7',\n",
        "Config(api_key='it's hunter2+Zq7', host='db')",
        '{"SECRET_KEY": "hunter2+Zq7", "HOST": "db"}',
        '"{\\"SECRET_KEY\\": \\"hunter2+Zq7\\"}"',
        "{'SECRET_KEY': b'hunter2+Zq7'}",
        "[('SECRET_KEY', 'hunter2+Zq7')]",
        "{'keys': ['a', 'hunter2+Zq7']}",
        "X-Api-Key: hunter2+Zq7",
        "Authorization: Bearer hunter2+Zq7",
        "mysql --password hunter2+Zq7",
        "http://host/?token=hunter2+Zq7&x=y",
        "cannot connect to postgres://user:hunter2+Zq7@host/db",
        "cannot connect to redis://:hunter2+Zq7@host",
        "git+https://hunter2+Zq7@host/x",
        "x://a/b,postgres://user:hunter2+Zq7@host/db",
        "host=db password=hunter2+Zq7 dbname=x",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2+Zq7\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2+Zq7",
        "1 validation error\napi_key\n  Not good [input_value='hunter2+Zq7', input_type=str]",
        "1 validation error\ndb -> password\n  Not good [input_value='hunter2+Zq7', input_type=str]",
        "InvalidToken: token: hunter2+Zq7",
    ],
)
def test_a_secret_in_a_message_is_hidden(text: str):
    assert SECRET in text
    assert "hunter2" not in told(text)
    assert "Zq7" not in told(text)


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'SECRET_KEY'",
        "KeyError: 'name'",
        "django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.",
        "NameError: name 'api_key' is not defined. Did you mean: 'api_keys'?",
        "TypeError: f() got an unexpected keyword argument 'timeout'",
        "ImportError: cannot import name 'keys' from 'shop.api' (/srv/shop/api.py)",
        "AttributeError: module 'api' has no attribute 'x'",
        "ModuleNotFoundError: No module named 'auth'",
        "cryptography.fernet.InvalidToken: it has expired",
        "the application x raised jwt.BadSignature: it is too short on import",
        "ValueError: http://localhost:8000/ is not for bob@example.org",
        "Config(api_key=None, host='db')",
        "password",
        "",
    ],
)
def test_a_message_without_a_secret_stays_as_it_is(text: str):
    assert told(text) == text


def test_a_message_is_hidden_from_its_secret_to_the_end_of_the_line():
    assert told("Config(host='db', api_key='x y', port=1)\nIt is down.") == (
        f"Config(host='db', api_key={MASK}\nIt is down."
    )
    assert told("postgres://user:x@y@host/db is down") == f"postgres://user:{MASK}@host/db is down"


@pytest.mark.parametrize(
    "name", "API_KEY auth Token monkey SECRETS userPass PASSWD dsn signature credentials pwd".split()
)
def test_names_sound_secret_as_they_do_to_django(name: str):
    assert sounds_secret(name)
    assert sounds_secret(f"my_{name.lower()}_1")
    assert not sounds_secret(f"My{name.title()}Error")


@pytest.mark.parametrize("value", ['it\'s "quoted" \\ 5', "tab\tand\nline", "schlüssel✓", "<&>' &", "a b/c?d"])
def test_a_known_secret_is_found_however_it_is_written(value: str):
    known = Known([value])
    for written in (value, repr(value), ascii(value), json.dumps(value), urllib.parse.quote(value, safe="")):
        text = f"see: {written}!"
        hidden = hide(text, known.ranges(text))
        assert MASK in hidden
        assert not any(line.strip() in hidden for line in value.splitlines())


def test_a_short_known_secret_is_found_as_a_word_only():
    known = Known(["items"])
    text = "items of maximum_items in /items/"
    assert hide(text, known.ranges(text)) == f"{MASK} of maximum_items in /{MASK}/"
    long = Known(["correcthorsebattery"])
    assert hide("xcorrecthorsebatteryx", long.ranges("xcorrecthorsebatteryx")) == f"x{MASK}x"
    assert not Known(["db", "localhost"]).ranges("db localhost")


def test_secrets_of_the_environment_are_known():
    environ = {
        "DB_PASSWORD": "one",
        "URL": "postgres://a:two@b",
        "PWD": "/home",
        "HOME": "/root",
        "DSN": "host=x pwd=y",
    }
    assert set(secrets_of(environ)) == {"one", "two", "host=x pwd=y", "y"}


def test_what_a_doubtful_name_holds_is_known_only_if_it_looks_like_a_secret():
    assert "price" not in Secrets('sorted(x, key="price")').values
    assert "pr1ce" in Secrets('sorted(x, key="pr1ce")').values
    assert "price" in Secrets('password = "price"').values
    assert "price" in Secrets('api_key = "price"').values
    assert "price" in Secrets('KEY = "price"').values


def test_a_plain_word_beside_a_secret_is_not_known():
    source = 'DB = {\n    "PASSWORD": "price",\n    "NAME": "shop",\n    "HOST": "db1.example.org",\n}'
    assert Secrets(source).values >= {"price", "db1.example.org"}
    assert "shop" not in Secrets(source).values


@pytest.mark.parametrize("package", [server_core, django, flask, werkzeug])
def test_of_ordinary_code_nearly_all_is_shown(package):
    lines = hidden = 0
    for path in Path(package.__file__).parent.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        found = Secrets(source).ranges
        lines += source.count("\n")
        hidden += len({number for start, end in found for number in line_numbers(source, start, end)})
    assert 0 < hidden < lines / 20


def line_numbers(source: str, start: int, end: int) -> range:
    first = source.count("\n", 0, start)
    return range(first, first + source.count("\n", start, end) + 1)


# --- whatever is broken

NAMES = "TOKEN api_key SECRET_KEY DB_PASSWORD theAuth password".split()
WAYS = [
    "{n} = {v}",
    "{n}: str = {v}",
    "{n} = (\n    {v}\n)",
    "{n} = [1, {v}]",
    "{n} = x or {v}.strip()",
    "if {n} == {v}:\n    pass",
    "class Config:\n    {n} = {v}",
    "class {n}s:\n    x = 'a'\n    y = {v}",
    "CONFIG = {{'{n}': {v}, 'host': 'db'}}",
    'CONFIG = {{\n    "a": {{\n        "{n}": {v},\n    }},\n}}',
    "x = dict(host='db', {n}={v})",
    "x = os.environ.get('{n}', {v})",
    'x = os.environ.get("{n}") or {v}',
    "def f(a, {n}={v}):\n    pass",
    "x['{n}'] = {v}",
    "x = {{}}; x.{n} = {v}; y = 1",
]
AROUND = [
    "import os\n",
    "x = [1, 2]\n",
    'CONFIG = {"a": [1]}\n',
    "# it's\n",
    "y = 'no end\n",
    "y = (1,\n",
    "y = $\n",
    "}\n",
    "def f(:\n",
    '"""Documentation."""\n',
    "def g():\n    '''It's\n    long.\n    '''\n",
    '"""No end.\n',
]
TEXTS = st.text("ab 1'\"\\(){}[]#,=:$\nü/@%", max_size=12).map(lambda text: f"Zq7{text}x9Z")


@settings(deadline=None, max_examples=600)
@given(
    st.sampled_from(NAMES),
    TEXTS,
    st.sampled_from([repr, json.dumps]),
    st.sampled_from(WAYS),
    st.lists(st.sampled_from(AROUND), max_size=2),
    st.lists(st.sampled_from(AROUND), max_size=1),
    st.sampled_from(["whole", "cut", "without a quote or bracket"]),
    st.integers(min_value=0),
)
def test_a_secret_is_hidden_whatever_is_broken(name, text, write, way, before, after, breakage, number):
    head, value = "".join(before), write(text)
    source = head + way.format(n=name, v=value) + "\n" + "".join(after)
    first = source.index(value, len(head))
    if breakage == "cut":
        source = source[: number % len(source)]
    elif breakage != "whole":
        inside = range(first + 1, first + len(value))  # its closing quote may go, but no other of its characters
        places = [
            at for at, each in enumerate(source) if each in "'\"()[]{}" and (at not in inside or at == inside[-1])
        ]
        at = places[number % len(places)]
        assume(at != first or "#" not in text)  # what was a secret would be a comment now
        source = source[:at] + source[at + 1 :]
    assert "Zq7" not in shown(source)
    assert "x9Z" not in shown(source)


# --- how long it takes


def test_the_largest_file_takes_a_second_at_most():
    for line in ('KEY = "abcdefgh!"\n', 'x = f(y, "text", [1, 2])\n', '"""The key: value\n    of it."""\n', "x = (\n"):
        source = line * (LARGEST // len(line))
        took = []
        for _ in range(3):  # the least of them: a busy machine makes the same work longer
            started = process_time()
            Secrets(source)
            took.append(process_time() - started)
            if took[-1] < 1:
                break
        assert min(took) < 2  # for a slow machine


@pytest.mark.parametrize(
    "piece",
    (
        "( ' \" ''' key= 'a', {'key': SECRET=[ \\ # :// ://a:b@ key('x', key\n f'{ %s ) key, (\na -----BEGIN "
        "'key'+ --key; @ KEY:\\' a.Ab. “ x; \"\"\"\\ 'a\"\" 'a'b {'key': environ['key'] KEY=a\n"
    ).split(" "),
)
def test_no_text_takes_the_square_of_its_length(piece: str):
    def both(size: int) -> None:
        text = piece * (size // len(piece))
        Secrets(text)
        secrets_in_text(text)

    assert is_linear(both, 1000, 1000 * TIMES)
