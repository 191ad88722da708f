"""Files that are served beside an application: what HTTP asks of them, what is cached, and what is not served."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live import COMMAND, Answer, LiveServer, eventually
from projects import FLASK, MANAGE_SERVE, copy_of, edit, manage, run

from server_core.gateway.static import with_files

pytest.importorskip("whitenoise")

ANYWHERE = ("--bind", "127.0.0.1:0")
STYLE = b"body { color: black }\n" * 100
TEXT = "0123456789"

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the application"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An application, and files in two directories beside it."""
    folder = tmp_path_factory.mktemp("static")
    (folder / "mine.py").write_text(APP)
    (folder / "public" / "deep").mkdir(parents=True)
    (folder / "public" / "style.css").write_bytes(STYLE)
    (folder / "public" / "style.css.gz").write_bytes(gzip.compress(STYLE))
    (folder / "public" / "style.css.br").write_bytes(b"as if it were brotli")
    (folder / "public" / "deep" / "text.txt").write_text(TEXT)
    (folder / "public" / "a b.txt").write_text("with a space")
    (folder / "more").mkdir()
    (folder / "more" / "text.txt").write_text("more")
    (folder / "secret.txt").write_text("secret")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path, serve_for_all: Callable[..., LiveServer]) -> LiveServer:
    mounts = ("--static-mount", "/static/=public", "--static-mount", "/more=more")
    return serve_for_all("-w", "2", *mounts, "mine:app", cwd=folder)


def is_the_applications(answer: Answer) -> bool:
    return answer.text == "the application"


def test_a_file_is_sent_with_all_that_caches_want_to_know(server: LiveServer) -> None:
    answer = server.get("/static/deep/text.txt")
    assert (answer.status, answer.text) == (200, TEXT)
    assert answer.headers["content-type"] == 'text/plain; charset="utf-8"'
    assert answer.headers["content-length"] == "10"
    assert answer.headers["cache-control"] == "max-age=60, public", "its name does not change with its content"
    assert "GMT" in answer.headers["last-modified"]
    assert re.fullmatch('"[0-9a-f]+-a"', answer.headers["etag"])


def test_a_file_that_the_client_has_is_not_sent_again(server: LiveServer) -> None:
    first = server.get("/static/deep/text.txt").headers
    tag = first["etag"]
    tags = (tag, f"W/{tag}", f'"other", {tag}', f'W/"other",W/{tag} , "a, b"', "*")
    for fields in (*({"if_none_match": field} for field in tags), {"if_modified_since": first["last-modified"]}):
        answer = server.get("/static/deep/text.txt", **fields)
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["etag"] == first["etag"]
    others = ('"other"', tag.strip('"'), f'"x{tag[1:]}', '"*"', "")
    since = {"if_modified_since": "Thu, 01 Jan 1998 00:00:00 GMT"}
    for fields in (*({"if_none_match": field} for field in others), since):
        assert server.get("/static/deep/text.txt", **fields).status == 200


@pytest.mark.parametrize(
    ("asked", "got", "told"),
    [
        ("bytes=2-4", "234", "2-4"),
        ("bytes=7-", "789", "7-9"),
        ("bytes=-2", "89", "8-9"),
        ("bytes=5-99", "56789", "5-9"),
        ("bytes=0-0", "0", "0-0"),
        ("bytes=4-4", "4", "4-4"),
        ("bytes=9-", "9", "9-9"),
        ("bytes=-1", "9", "9-9"),
        ("bytes=-99", TEXT, "0-9"),
        ("Bytes=2-4", "234", "2-4"),
    ],
)
def test_a_part_of_a_file_can_be_asked_for(server: LiveServer, asked: str, got: str, told: str) -> None:
    answer = server.get("/static/deep/text.txt", range=asked)
    assert (answer.status, answer.text) == (206, got)
    assert answer.headers["content-range"] == f"bytes {told}/10"
    assert answer.headers["content-length"] == str(len(got))


@pytest.mark.parametrize("asked", ["bytes=10-20", "bytes=10-", "bytes=10-10", "bytes=-0"])
def test_a_part_that_is_not_there_is_416(server: LiveServer, asked: str) -> None:
    answer = server.get("/static/deep/text.txt", range=asked)
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["content-range"] == "bytes */10"


def test_a_part_of_what_lies_compressed_is_a_part_of_that(server: LiveServer) -> None:
    answer = server.get("/static/style.css", range="bytes=0-0", accept_encoding="br")
    assert (answer.status, answer.body) == (206, b"a")
    assert answer.headers["content-range"] == "bytes 0-0/20"
    assert answer.headers["content-encoding"] == "br"


def test_parts_are_for_get_alone(server: LiveServer) -> None:
    for asked in ("bytes=2-4", "bytes=10-"):
        answer = server.get("/static/deep/text.txt", "HEAD", range=asked)
        assert (answer.status, answer.headers["content-length"]) == (200, "10")
        assert "content-range" not in answer.headers


def test_a_connection_goes_on_after_a_part(server: LiveServer) -> None:
    request = "GET /static/deep/text.txt HTTP/1.1\r\nHost: x\r\n{}\r\n"
    fields = ["Range: bytes=-1\r\n", "Range: bytes=10-\r\n", "Range: bytes=0-0\r\n", "Connection: close\r\n"]
    answers = server.raw("".join(map(request.format, fields)).encode())
    assert re.findall(rb"HTTP/1.1 ([0-9]+)", answers) == [b"206", b"416", b"206", b"200"]
    assert answers.endswith(TEXT.encode())


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=1-2,4-5",
        "lines=1-2",
        "bytes=a-b",
        "nonsense",
        "bytes=5-2",
        "bytes=--1",
        "bytes=-",
        "bytes=1",
        "bytes=+1-2",
    ],
)
def test_a_range_that_is_not_understood_gets_the_whole(server: LiveServer, asked: str) -> None:
    answer = server.get("/static/deep/text.txt", range=asked)
    assert (answer.status, answer.text) == (200, TEXT)


def test_a_part_of_what_may_be_another_file_by_now_is_the_whole(server: LiveServer) -> None:
    answer = server.get("/static/deep/text.txt", range="bytes=2-4", if_range='"another"')
    assert (answer.status, answer.text) == (200, TEXT)


def test_head_is_told_the_same_without_the_file(server: LiveServer) -> None:
    whole, head = server.get("/static/style.css"), server.get("/static/style.css", "HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("content-length", "etag", "last-modified", "cache-control", "content-type"):
        assert head.headers[name] == whole.headers[name]


def test_files_cannot_be_written(server: LiveServer) -> None:
    answer = server.get("/static/style.css", "POST", b"mine")
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"


def test_what_lies_compressed_beside_a_file_is_sent_to_those_who_understand_it(server: LiveServer) -> None:
    plain = server.get("/static/style.css")
    assert (plain.body, plain.headers["vary"]) == (STYLE, "Accept-Encoding")
    assert "content-encoding" not in plain.headers
    packed = server.get("/static/style.css", accept_encoding="gzip, deflate")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == STYLE
    smallest = server.get("/static/style.css", accept_encoding="gzip, deflate, br")
    assert (smallest.headers["content-encoding"], smallest.body) == ("br", b"as if it were brotli")
    for answer in (packed, smallest):
        assert answer.headers["content-type"] == 'text/css; charset="utf-8"'
        assert answer.headers["content-length"] == str(len(answer.body))
        assert answer.headers["vary"] == "Accept-Encoding"
    assert is_the_applications(server.get("/static/style.css.gz")), "it is no file of its own"


def test_a_name_may_have_a_space(server: LiveServer) -> None:
    assert server.get("/static/a%20b.txt").text == "with a space"


def test_each_mount_has_its_own_directory(server: LiveServer) -> None:
    assert server.get("/more/text.txt").text == "more"
    for path in ("/more/style.css", "/static/text.txt", "/moretext.txt", "/text.txt"):
        assert is_the_applications(server.get(path)), path


ESCAPES = """
/static/../secret.txt
/static/deep/../../secret.txt
/static/%2e%2e/secret.txt
/static/%2E%2E%2Fsecret.txt
/static/..%2fsecret.txt
/static/.%2e/secret.txt
/static/deep/%2e%2e/%2e%2e/secret.txt
/static/%252e%252e/secret.txt
/static//etc/passwd
/static/%2fetc/passwd
/static/..%5csecret.txt
/static/%00/../secret.txt
/static/deep/..%00/secret.txt
/static/./style.css/../../secret.txt
/static
/static/
/static/deep
/static/deep/
""".split()


@pytest.mark.parametrize("fresh", [False, True], ids=["production", "development"])
def test_nothing_beside_the_directory_is_served(
    server: LiveServer, folder: Path, serve_for_all: Callable[..., LiveServer], fresh: bool
) -> None:
    if fresh:
        mount = ("--static-mount", "/static/=public", "--profile", "development", "--no-reload")
        server = serve_for_all(*mount, "mine:app", cwd=folder)
    for path in ESCAPES:
        answer = server.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 200 OK"), path
        assert b"the application" in answer, path
        assert b"secret" not in answer


def test_a_link_out_of_the_directory_is_the_deployers_own_wish(tmp_path: Path, serve: Any) -> None:
    (tmp_path / "mine.py").write_text(APP)
    (tmp_path / "public").mkdir()
    (tmp_path / "elsewhere.txt").write_text("elsewhere")
    (tmp_path / "public" / "link.txt").symlink_to(tmp_path / "elsewhere.txt")
    server = serve("--static-mount", "/static/=public", "mine:app", cwd=tmp_path)
    assert server.get("/static/link.txt").text == "elsewhere"


@pytest.mark.parametrize(("profile", "is_found"), [("production", False), ("development", True)])
def test_a_file_that_is_added_later_is_served_in_development(
    tmp_path: Path, serve: Any, profile: str, is_found: bool
) -> None:
    (tmp_path / "mine.py").write_text(APP)
    (tmp_path / "public").mkdir()
    arguments = ("--profile", profile, "--no-reload", "--static-mount", "/static/=public")
    server = serve(*arguments, "mine:app", cwd=tmp_path)
    (tmp_path / "public" / "new.txt").write_text("new")
    assert server.get("/static/new.txt").text == ("new" if is_found else "the application")
    (tmp_path / "public" / "new.txt").write_text("newer")
    assert server.get("/static/new.txt").text == ("newer" if is_found else "the application")


@pytest.mark.parametrize("profile", ["production", "development"])
def test_a_file_that_has_gone_is_the_applications(tmp_path: Path, serve: Any, profile: str) -> None:
    (tmp_path / "mine.py").write_text(APP)
    (tmp_path / "public" / "deep").mkdir(parents=True)
    files = [tmp_path / "public" / "a.txt", tmp_path / "public" / "deep" / "b.txt", tmp_path / "public" / "c.txt"]
    for file in files:
        file.write_text(TEXT)
    arguments = ("-w", "1", "--profile", profile, "--no-reload", "--static-mount", "/static/=public")
    server = serve(*arguments, "mine:app", cwd=tmp_path)
    paths = ["/static/a.txt", "/static/deep/b.txt", "/static/c.txt"]
    assert [server.get(path).text for path in paths] == [TEXT] * 3
    files[0].unlink()
    shutil.rmtree(files[1].parent)
    files[1].parent.write_text("a file by now")
    files[2].unlink()
    files[2].mkdir()
    for path in paths:
        assert is_the_applications(server.get(path)), path
        assert is_the_applications(server.get(path, range="bytes=1-2")), path
        assert server.get(path, "HEAD").headers["content-type"] == "text/plain", "GET has it from the application"
    assert "Error" not in server.text


def test_what_lay_compressed_beside_a_file_may_go(tmp_path: Path, serve: Any) -> None:
    (tmp_path / "mine.py").write_text(APP)
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "a.txt").write_text(TEXT)
    (tmp_path / "public" / "a.txt.gz").write_bytes(b"gz")
    server = serve("--static-mount", "/static/=public", "mine:app", cwd=tmp_path)
    assert server.get("/static/a.txt", accept_encoding="gzip").body == b"gz"
    (tmp_path / "public" / "a.txt.gz").unlink()
    answer = server.get("/static/a.txt", accept_encoding="gzip", range="bytes=1-2")
    assert (answer.status, answer.text) == (206, "12")
    assert "content-encoding" not in answer.headers


def test_a_directory_that_is_not_there_is_told_and_the_others_are_served(folder: Path, serve: Any) -> None:
    mounts = ("--static-mount", "/none/=nowhere", "--static-mount", "/static/=public")
    server = serve("-w", "2", "--no-preload", *mounts, "mine:app", cwd=folder)
    assert server.text.count("serve.W011: There is no directory nowhere (static_mounts), so nothing is served") == 1
    assert server.get("/static/deep/text.txt").text == TEXT
    assert is_the_applications(server.get("/none/a.txt"))


#: who cannot read everything
SOMEBODY = ("--user", "nobody") if os.geteuid() == 0 else ()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """An application, and a file beside it, that every user can read; the directories of pytest are closed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        (folder / "mine.py").write_text(APP)
        (folder / "public" / "deep").mkdir(parents=True)
        (folder / "public" / "deep" / "text.txt").write_text(TEXT)
        yield folder


def test_a_directory_that_cannot_be_read_is_one_sentence(open_folder: Path) -> None:
    (open_folder / "public").chmod(0o311)
    status, text = run([*COMMAND, *SOMEBODY, "--static-mount", "/static/=public", "mine:app"], open_folder)
    (open_folder / "public").chmod(0o755)
    assert status == 4
    assert re.search(rf"Error: static_mounts: {open_folder}/public/ cannot be read: Permission denied\n$", text), text


def test_what_cannot_be_read_is_left_out_and_told(open_folder: Path, serve: Any) -> None:
    public = open_folder / "public"
    (public / "broken.css").symlink_to(public / "nowhere")
    (public / "endless").symlink_to(public / "endless")
    (public / "mine.txt").write_text("nobody else's")
    (public / "mine.txt").chmod(0)
    (public / "locked").mkdir()
    (public / "locked").chmod(0)
    (public / "deep" / "up").symlink_to(public)
    (public / "deep" / "again").symlink_to(public)
    arguments = (*SOMEBODY, "-w", "1", "--static-mount", "/static/=public")
    try:
        server = serve(*arguments, "mine:app", cwd=open_folder)
        status, text = run([*COMMAND, *arguments, "--strict", "--check-config", "mine:app"], open_folder)
    finally:
        (public / "locked").chmod(0o755)
    words = (
        "serve.W013: Files to be served (static_mounts) that cannot be read are left out: "
        f"'{public}/broken.css' (No such file or directory), '{public}/deep/again' (it leads to a directory that holds "
        f"it), '{public}/deep/up' (it leads to a directory that holds it), '{public}/endless' (Too many levels of "
        f"symbolic links), '{public}/locked' (Permission denied) and 1 more. Mend or remove them, and reload.\n"
    )
    assert server.text.count(words) == 1, server.text
    assert (status, words in text) == (4, True), "strict refuses"
    assert server.get("/static/deep/text.txt").text == TEXT
    for path in ("broken.css", "mine.txt", "endless", "deep/up/deep/text.txt"):
        assert is_the_applications(server.get(f"/static/{path}")), path


def test_what_is_no_file_is_left_out(tmp_path: Path, serve: Any) -> None:
    (tmp_path / "mine.py").write_text(APP)
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "a.txt").write_text(TEXT)
    os.mkfifo(tmp_path / "public" / "pipe.txt")
    server = serve("--static-mount", "/static/=public", "mine:app", cwd=tmp_path)
    assert (
        "serve.W013: Files to be served (static_mounts) that cannot be read are left out: "
        f"'{tmp_path}/public/pipe.txt' (it is neither file nor directory). Mend" in server.text
    )
    assert server.get("/static/a.txt").text == TEXT


def test_what_is_no_file_is_the_applications_in_development(tmp_path: Path, serve: Any) -> None:
    (tmp_path / "mine.py").write_text(APP)
    (tmp_path / "public").mkdir()
    os.mkfifo(tmp_path / "public" / "pipe.txt")
    (tmp_path / "public" / "null.txt").symlink_to("/dev/null")
    (tmp_path / "public" / "loop.txt").symlink_to("loop.txt")
    arguments = ("--profile", "development", "--no-reload", "--static-mount", "/static/=public")
    server = serve(*arguments, "mine:app", cwd=tmp_path)
    for name in ("pipe.txt", "null.txt", "loop.txt"):
        assert is_the_applications(server.get(f"/static/{name}")), name


@pytest.mark.parametrize("size", [3, 3000])
def test_a_file_that_is_written_anew_is_whole(tmp_path: Path, serve: Any, size: int) -> None:
    """As when files are collected before the reload: what is larger by then must not be cut at the old length."""
    (tmp_path / "mine.py").write_text(APP)
    (tmp_path / "public").mkdir()
    for name in ("style.css", "style.css.gz"):
        (tmp_path / "public" / name).write_bytes(b"a" * 100)
    server = serve("-w", "1", "--static-mount", "/static/=public", "mine:app", cwd=tmp_path)
    before = server.get("/static/style.css")
    assert before.body == b"a" * 100
    (tmp_path / "public" / "style.css").write_bytes(b"b" * size)
    (tmp_path / "public" / "style.css.gz").write_bytes(b"c" * (size - 1))
    after = server.get("/static/style.css")
    assert (after.status, after.body) == (200, b"b" * size)
    assert after.headers["etag"] != before.headers["etag"]
    assert server.get("/static/style.css", range=f"bytes={size - 1}-").body == b"b"
    assert server.get("/static/style.css", "HEAD").headers["content-length"] == str(size)
    assert server.get("/static/style.css", accept_encoding="gzip").body == b"c" * (size - 1)
    assert "Error" not in server.text


def test_a_directory_may_be_reached_in_two_ways(tmp_path: Path, serve: Any) -> None:
    (tmp_path / "mine.py").write_text(APP)
    (tmp_path / "public" / "deep").mkdir(parents=True)
    (tmp_path / "public" / "deep" / "a.txt").write_text(TEXT)
    (tmp_path / "public" / "too").symlink_to(tmp_path / "public" / "deep")
    server = serve("--static-mount", "/static/=public", "mine:app", cwd=tmp_path)
    assert server.get("/static/deep/a.txt").text == server.get("/static/too/a.txt").text == TEXT
    assert "serve.W013" not in server.text


def test_without_mounts_nothing_is_called_in_between(tmp_path: Path) -> None:
    def app(environ: object, start_response: object) -> list[bytes]:
        return []

    for mounts in ([], [("/static/", str(tmp_path / "nowhere"))]):
        assert with_files(app, mounts, fresh=False, is_immutable=None) == (app, [])


def test_without_whitenoise_a_mount_is_refused_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text('import sys\nsys.modules["whitenoise"] = None\n')
    command = [*COMMAND, "--static-mount", "/static/=public", "mine:app"]
    status, text = run(command, folder, PYTHONPATH=str(tmp_path))
    sentence = 'Error: static_mounts (--static-mount) needs whitenoise: pip install "prefork-serve[static]"\n'
    assert (status, text) == (2, sentence)
    status, text = run([*command, "--no-static", "--check-config"], folder, PYTHONPATH=str(tmp_path))
    assert status == 0, text


def test_files_can_be_left_to_others(folder: Path, serve: Any) -> None:
    server = serve("--static-mount", "/static/=public", "--no-static", "mine:app", cwd=folder)
    assert is_the_applications(server.get("/static/style.css"))


@pytest.mark.parametrize(
    "written", ["static/=public", "/static/", "=public", "/static/=", "https://x/=public", "/a?b=c"]
)
def test_what_is_no_mount_is_refused_in_one_sentence(folder: Path, written: str) -> None:
    status, text = run([*COMMAND, "--static-mount", written, "mine:app"], folder)
    assert status == 2
    assert f'"{written}" (--static-mount) is no mount: write /static/=DIRECTORY.' in text
    assert text.count("\n") == 1


def test_mounts_may_be_a_table_in_a_file(folder: Path, tmp_path: Path, serve: Any) -> None:
    (tmp_path / "serve.toml").write_text('[static_mounts]\n"/static/" = "public"\n"/more/" = "more"\n')
    server = serve("-c", str(tmp_path / "serve.toml"), "mine:app", cwd=folder)
    assert server.get("/static/deep/text.txt").text == TEXT
    assert server.get("/more/text.txt").text == "more"


# --- Django

MANIFEST = """
STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A copy of the shop, which has no address of its own for static files."""
    pytest.importorskip("django")
    return copy_of("django_shop", tmp_path)


def configure(project: Path, text: str) -> None:
    with (project / "shop_site" / "settings.py").open("a") as file:
        file.write(text + "\n")


def collect(project: Path) -> None:
    status, text = manage(project, "collectstatic", "--no-input", "--verbosity", "0")
    assert status == 0, text


def test_only_names_in_djangos_manifest_are_cached_for_ever(shop: Path, serve: Any) -> None:
    configure(shop, MANIFEST)
    collect(shop)
    hashed = json.loads((shop / "staticfiles" / "staticfiles.json").read_text())["paths"]["shop/shop.css"]
    (shop / "staticfiles" / "looks.0123456789ab.css").write_text("hashed by somebody else")
    server = serve(*ANYWHERE, command=MANAGE_SERVE, cwd=shop)
    for_ever = server.get(f"/static/{hashed}")
    assert for_ever.headers["cache-control"] == "max-age=315360000, public, immutable"
    for path in ("/static/shop/shop.css", "/static/looks.0123456789ab.css", "/static/staticfiles.json"):
        answer = server.get(path)
        assert answer.status == 200
        assert answer.headers["cache-control"] == "max-age=60, public", path
    assert f'href="/static/{hashed}"' in server.get("/basket/").text


def test_without_a_manifest_nothing_is_for_ever(shop: Path, serve: Any) -> None:
    collect(shop)
    server = serve(*ANYWHERE, command=MANAGE_SERVE, cwd=shop)
    assert server.get("/static/shop/shop.css").headers["cache-control"] == "max-age=60, public"


def test_files_that_are_collected_later_are_served_after_a_reload(shop: Path, serve: Any) -> None:
    server = serve(*ANYWHERE, command=MANAGE_SERVE, cwd=shop)
    assert "serve.W005" in server.text
    assert "serve.W011" not in server.text, "it is said once"
    assert server.get("/static/shop/shop.css").status == 404
    collect(shop)
    server.signal(signal.SIGHUP)
    server.read_until("Generation 2 has taken over")
    eventually(lambda: server.get("/static/shop/shop.css").status == 200)


def test_the_projects_own_whitenoise_is_left_alone(shop: Path, serve: Any) -> None:
    configure(shop, 'MIDDLEWARE.insert(1, "whitenoise.middleware.WhiteNoiseMiddleware")\nWHITENOISE_MAX_AGE = 7')
    collect(shop)
    server = serve(*ANYWHERE, command=MANAGE_SERVE, cwd=shop)
    assert server.get("/static/shop/shop.css").headers["cache-control"] == "max-age=7, public"


def test_django_files_can_be_left_to_others(shop: Path, serve: Any) -> None:
    collect(shop)
    server = serve(*ANYWHERE, "--no-static", command=MANAGE_SERVE, cwd=shop)
    assert server.get("/static/shop/shop.css").status == 404
    assert "serve.W0" not in re.sub(r"serve\.W003.*", "", server.text)


def test_in_development_files_need_not_be_collected_and_can_be_switched_off(shop: Path, serve: Any) -> None:
    debug = {"DJANGO_DEBUG": "1"}
    server = serve(*ANYWHERE, "--no-reload", command=MANAGE_SERVE, cwd=shop, env=debug)
    assert server.get("/static/shop/shop.css").status == 200
    assert server.get("/static/admin/css/base.css").status == 200
    edit(shop / "shop" / "static" / "shop" / "shop.css", "Dresses", "Adorns")
    assert "Adorns the whole shop" in server.get("/static/shop/shop.css").text
    server = serve(*ANYWHERE, "--no-reload", "--no-static", command=MANAGE_SERVE, cwd=shop, env=debug)
    assert server.get("/static/shop/shop.css").status == 404


def test_developing_without_debug_mode_serves_what_was_collected(shop: Path, serve: Any) -> None:
    collect(shop)
    command = [*MANAGE_SERVE, *ANYWHERE, "--no-reload", "--profile", "development"]
    server = serve(command=command, cwd=shop)
    assert server.get("/static/shop/shop.css").status == 200


def test_a_project_in_debug_mode_without_a_static_url_is_served(shop: Path, serve: Any) -> None:
    configure(shop, "STATIC_URL = None")
    server = serve(*ANYWHERE, "--no-reload", command=MANAGE_SERVE, cwd=shop, env={"DJANGO_DEBUG": "1"})
    assert server.get("/healthz/").text == "ok\n"


@pytest.mark.parametrize("way", ['MEDIA_URL = "/media/"', 'MEDIA_URL = "media/"\nSERVE = {"script_name": "/media"}'])
def test_uploaded_files_are_served_in_development(shop: Path, serve: Any, way: str) -> None:
    configure(shop, way)
    (shop / "media" / "deep").mkdir(parents=True)
    (shop / "media" / "deep" / "photo.txt").write_text(TEXT)
    (shop / "beside.txt").write_text("nobody's business")
    mount = "/media" if "SERVE" in way else ""
    server = serve(*ANYWHERE, "--no-reload", command=MANAGE_SERVE, cwd=shop, env={"DJANGO_DEBUG": "1"})
    answer = server.get(f"{mount}/media/deep/photo.txt")
    assert (answer.status, answer.text) == (200, TEXT)
    since = answer.headers["last-modified"]
    assert server.get(f"{mount}/media/deep/photo.txt", if_modified_since=since).status == 304
    for path, status in {"nothing.txt": 404, "deep/": 404, "../beside.txt": 400, "%2e%2e/beside.txt": 400}.items():
        answer = server.get(f"{mount}/media/{path}")
        assert answer.status == status, path
        assert "nobody's business" not in answer.text
    assert server.get(f"{mount}/healthz/").text == "ok\n"


def test_uploaded_files_are_not_served_in_production(shop: Path, serve: Any) -> None:
    configure(shop, 'MEDIA_URL = "/media/"')
    (shop / "media").mkdir()
    (shop / "media" / "photo.txt").write_text(TEXT)
    assert serve(*ANYWHERE, command=MANAGE_SERVE, cwd=shop).get("/media/photo.txt").status == 404
    command = [*MANAGE_SERVE, *ANYWHERE, "--profile", "development", "--no-reload"]
    assert serve(command=command, cwd=shop).get("/media/photo.txt").status == 404, "DEBUG is off"


# --- Flask

FLASK_APP = """
from flask import Flask, abort, request

app = Flask(__name__)
{}
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    pytest.importorskip("flask")
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "a.txt").write_text(TEXT)
    (tmp_path / "app.py").write_text(FLASK_APP.format(""))
    return tmp_path


def test_the_static_folder_of_a_plain_flask_application_is_served(notes: Path, serve: Any) -> None:
    server = serve(command=[*FLASK, "serve", *ANYWHERE], cwd=notes)
    answer = server.get("/static/a.txt")
    assert (answer.status, answer.text) == (200, TEXT)
    assert answer.headers["cache-control"] == "max-age=60, public"
    missing = server.get("/static/nothing.txt")
    assert missing.status == 404
    assert "Not Found" in missing.text, "Flask's own page"


LOGIN = "@app.before_request\ndef login():\n    if not request.args.get('user'):\n        abort(401)\n"
STAMP = "@app.after_request\ndef stamp(response):\n    response.headers['Stamp'] = 'seen'\n    return response\n"


def test_a_login_is_not_passed_by(notes: Path, serve: Any) -> None:
    (notes / "app.py").write_text(FLASK_APP.format(LOGIN))
    server = serve(command=[*FLASK, "serve", *ANYWHERE], cwd=notes)
    assert server.get("/static/a.txt").status == 401
    assert server.get("/static/a.txt?user=me").text == TEXT


def test_headers_of_the_application_are_not_left_out(notes: Path, serve: Any) -> None:
    (notes / "app.py").write_text(FLASK_APP.format(STAMP))
    server = serve(command=[*FLASK, "serve", *ANYWHERE], cwd=notes)
    assert server.get("/static/a.txt").headers["stamp"] == "seen"
