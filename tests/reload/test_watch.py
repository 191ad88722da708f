"""The arbiter's end of the watcher, with a real watcher process: what it tells, and places that are added meanwhile."""

from __future__ import annotations

import importlib.util
import logging
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live import PATIENCE, eventually

from server_core.errors import ConfigError
from server_core.reload.watch import Changes, Watch, wanted
from server_core.settings import Development

Start = Callable[..., Watch]


@pytest.fixture(params=["watchfiles", "poll"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "watchfiles" and not importlib.util.find_spec("watchfiles"):
        pytest.skip("watchfiles is not installed")
    return str(request.param)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def start(project: Path, engine: str) -> Iterator[Start]:
    """``start(reload_include=(...))`` watches the project."""
    started: list[Watch] = []

    def start(**settings: tuple[str, ...]) -> Watch:
        development = Development(reload_engine=engine, **settings)  # type: ignore[arg-type]
        origins = dict.fromkeys(("reload_include", "reload_exclude", "reload_extra_files"), "a test")
        started.append(Watch(wanted(development, [str(project)], origins), logging.getLogger("test")))
        return started[-1]

    yield start
    for watch in started:
        watch.end()


def told(watch: Watch, last: Path) -> list[str]:
    """All paths until ``last`` is among them."""
    paths: set[str] = set()
    deadline = time.monotonic() + PATIENCE
    while str(last) not in paths:
        assert select.select([watch.descriptor], [], [], max(0.0, deadline - time.monotonic()))[0], paths
        changes = watch.read()
        assert changes is not None
        assert list(changes.paths) == sorted(changes.paths)
        paths.update(changes.paths)
    return sorted(paths)


def all_told(watch: Watch, project: Path, last: Path | None = None) -> list[str]:
    """All paths until ``last`` is among them, and what else comes before a change that is made then is told."""
    paths = set(told(watch, last) if last is not None else ())
    mark = project / "mark.py"
    mark.write_text(str(time.monotonic_ns()))
    return sorted({*paths, *told(watch, mark)} - {str(mark)})


class Stopped:
    """While it lasts the watcher does nothing."""

    def __init__(self, watch: Watch) -> None:
        self._pid = watch._pid

    def __enter__(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)
        states = Path(f"/proc/{self._pid}/task").glob
        eventually(lambda: all(path.read_text().rpartition(")")[2].split()[0] == "T" for path in states("*/stat")))

    def __exit__(self, *error: object) -> None:
        os.kill(self._pid, signal.SIGCONT)


def test_what_has_changed_is_told_by_path_and_in_words(start: Start, project: Path) -> None:
    (project / "inner").mkdir()
    watch = start()
    assert watch.read() == Changes(())
    with Stopped(watch):  # so that it is seen in one look
        for name in ("b.py", "a.html", "inner/c.py", "d.py", "e.txt"):
            (project / name).write_text("")
    paths = [str(project / name) for name in ("a.html", "b.py", "d.py", "inner/c.py")]
    assert told(watch, project / "d.py") == paths
    assert Changes(tuple(paths)).sentence == "a.html, b.py, d.py and 1 more changed"
    assert Changes(()).sentence == ""


def test_patterns_add_files_and_take_files_away(start: Start, project: Path) -> None:
    watch = start(reload_include=("*.txt", ".github/"), reload_exclude=("generated/", "*.html"))
    for name in ("a.txt", "a.html", "generated/a.py", ".github/a.yml", "z.py"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("")
    assert told(watch, project / "z.py") == [str(project / name) for name in (".github/a.yml", "a.txt", "z.py")]


def test_a_directory_outside_of_the_project_is_watched_when_a_pattern_names_it(
    start: Start, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "shared" / "inner").mkdir(parents=True)
    watch = start(reload_include=("../shared/**/*.json",))
    (tmp_path / "shared" / "a.py").write_text("")
    (tmp_path / "shared" / "inner" / "b.json").write_text("")
    assert told(watch, tmp_path / "shared" / "inner" / "b.json") == [str(tmp_path / "shared" / "inner" / "b.json")]


def test_a_package_that_comes_goes_or_is_renamed_is_noticed_file_by_file(
    start: Start, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "new" / "deep").mkdir(parents=True)
    (tmp_path / "new" / "deep" / "a.py").write_text("")
    watch = start()
    (tmp_path / "new").rename(project / "new")
    assert told(watch, project / "new" / "deep" / "a.py") == [str(project / "new" / "deep" / "a.py")]
    (project / "new").rename(project / "other")
    both = [str(project / "new" / "deep" / "a.py"), str(project / "other" / "deep" / "a.py")]
    assert told(watch, project / "other" / "deep" / "a.py") == both
    (project / "other").rename(tmp_path / "gone")
    assert told(watch, project / "other" / "deep" / "a.py") == both[1:]


def test_what_leaves_a_file_as_it_was_is_no_change(start: Start, project: Path) -> None:
    (project / "a.py").write_text("")
    watch = start()
    (project / "a.py").chmod(0o600)
    (project / "a.py").read_text()
    (project / "b.py").write_text("")
    (project / "b.py").unlink()
    with Stopped(watch):  # came and went between two looks
        (project / "c.py").write_text("")
        (project / "c.py").unlink()
    assert set(all_told(watch, project)) <= {str(project / "b.py")}


def test_a_file_has_one_name_whatever_links_lead_to_its_directory(start: Start, project: Path) -> None:
    """Of several names of a directory the system tells one, and which one is chance: so there are several of them."""
    packages = [project / f"package{number}" for number in range(6)]
    for package in packages:
        package.mkdir()
        (package / "a.py").write_text("")
        (project / package.name.replace("package", "link")).symlink_to(package.name)
    hidden = project / ".env" / "lib"
    hidden.mkdir(parents=True)
    for number in range(6):
        (hidden.parent / f"lib{number}").symlink_to("lib")
    watch = start(reload_include=(".env/lib/",))
    files = [*(package / "a.py" for package in packages), hidden / "b.txt"]
    for file in files:
        file.write_text("changed")
        assert all_told(watch, project, file) == [str(file)]


def test_an_extra_file_is_watched_through_being_replaced_removed_and_made_anew(
    start: Start, project: Path, tmp_path: Path
) -> None:
    extra = tmp_path / "words.txt"
    watch = start(reload_extra_files=("../words.txt",))
    for text in ("a", "ab"):
        (tmp_path / "other").write_text(text)
        (tmp_path / "other").rename(extra)
        assert told(watch, extra) == [str(extra)]
    extra.unlink()
    assert told(watch, extra) == [str(extra)]
    extra.write_text("abc")
    assert told(watch, extra) == [str(extra)]


# -- places that are added


def test_a_place_can_be_added_to_a_running_watcher(start: Start, project: Path, tmp_path: Path) -> None:
    inside = project / "environment" / "lib" / "site-packages" / "app" / "templates"
    outside = tmp_path / "locale"
    for directory in (inside, outside / "de"):
        directory.mkdir(parents=True)
    (project / "environment" / "pyvenv.cfg").write_text("")
    watch = start()
    watch.add([(str(inside), "**/*"), (str(outside), "**/*.mo")])
    for path in (inside / "a.css", outside / "de" / "a.po", outside / "de" / "a.mo", inside.parent / "b.py"):
        path.write_text("")
    expected = sorted([str(inside / "a.css"), str(outside / "de" / "a.mo")])
    assert all_told(watch, project, outside / "de" / "a.mo") == expected
    (outside / "de" / "a.mo").write_text("more")
    assert told(watch, outside / "de" / "a.mo") == [str(outside / "de" / "a.mo")]


def test_no_change_is_missed_between_the_call_and_the_moment_when_the_watcher_hears_of_it(
    start: Start, project: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    names = ("untouched", "changed", "older", "deleted/x", "deleted/y", "replaced")
    for name in (*names, "../moved"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("")
    watch = start()
    time.sleep(0.05)  # so that the clock of the file system has gone on
    with Stopped(watch):
        watch.add([(str(place), "**/*")])
        (place / "new").write_text("")
        (place / "changed").write_text("x")
        os.utime(place / "older", (1_000_000_000, 1_000_000_000))
        (place / "deleted" / "x").unlink()
        (tmp_path / "moved").rename(place / "replaced")
    expected = [str(place / name) for name in ("changed", "deleted", "new", "older", "replaced")]
    assert all_told(watch, project, place / "replaced") == expected


def test_what_was_changed_since_the_application_was_started_is_told_too_and_once(
    start: Start, project: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "before").write_text("")
    watch = start()
    time.sleep(0.05)
    since = time.time_ns()
    (place / "after").write_text("")
    watch.add([(str(place), "*")], since)
    assert told(watch, place / "after") == [str(place / "after")]
    watch.add([(str(place), "*"), (f"{place}/", "*")], since)  # known already
    assert all_told(watch, project) == []


def test_a_change_of_the_project_is_told_although_places_are_added_at_that_moment(
    start: Start, project: Path, tmp_path: Path
) -> None:
    (project / "a.py").write_text("")
    watch = start()
    with Stopped(watch):
        (project / "a.py").write_text("x")
        (project / "b.py").write_text("x")
        (project / "c.txt").write_text("x")
        time.sleep(0.05)  # all of it is before what the place is asked for
        watch.add([(str(project), "*.txt"), (str(tmp_path / "place"), "*")])
    assert all_told(watch, project, project / "a.py") == [str(project / "a.py"), str(project / "b.py")]


def test_a_place_may_come_and_go(start: Start, project: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    watch = start()
    watch.add([(str(place), "**/*")])
    assert all_told(watch, project) == []
    for _ in range(2):
        place.mkdir()
        (place / "a.txt").write_text("")
        told(watch, place / "a.txt")
        all_told(watch, project)  # by now it is watched again
        shutil.rmtree(place)
        told(watch, place / "a.txt")
        all_told(watch, project)


def test_places_and_pauses_outlive_a_watcher_that_dies_again_and_again(
    start: Start, project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = start()
    (tmp_path / "far").mkdir()
    watch.add([(str(tmp_path / "far"), "*.txt")])
    for pause in (0.5, 1):
        os.kill(watch._pid, signal.SIGKILL)
        os.waitpid(watch._pid, 0)
        eventually(lambda: watch.read() and watch.descriptor == -1)
        assert caplog.messages[-1].endswith(f"until a new one is there, in {pause:g}s.")
        assert not watch.keep_up()
        eventually(watch.keep_up)
    file = tmp_path / "far" / "words.txt"
    file.write_text("changed")
    told(watch, file)


def test_many_places_do_not_make_the_arbiter_wait_for_a_watcher_that_does_not_read(
    start: Start, tmp_path: Path
) -> None:
    watch = start()
    watch.add([(str(tmp_path / f"place-{number}"), "**/*") for number in range(2000)])  # more than a pipe holds
    (tmp_path / "place-1999").mkdir()
    (tmp_path / "place-1999" / "a").write_text("")
    assert told(watch, tmp_path / "place-1999" / "a") == [str(tmp_path / "place-1999" / "a")]


def test_the_whole_file_system_is_no_place(start: Start, project: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch = start()
    watch.add([("/", "**/*.txt")])
    assert "The application asks for / to be watched, which is too large" in caplog.text
    assert all_told(watch, project) == []


# -- many at once


def test_a_checkout_of_many_files_is_told_at_once_or_nearly_so(start: Start, project: Path, engine: str) -> None:
    def git(*arguments: str) -> None:
        command = ["git", "-c", "user.name=x", "-c", "user.email=x", "-c", "init.defaultBranch=main", *arguments]
        subprocess.run(command, cwd=project, check=True, capture_output=True)

    git("init")
    for text in ("one", "two"):
        for number in range(200):
            (project / f"package{number % 10}").mkdir(exist_ok=True)
            (project / f"package{number % 10}" / f"module{number}.py").write_text(text)
        git("add", ".")
        git("commit", "-m", text)
    watch = start()
    paths: set[str] = set()
    times = 0
    with subprocess.Popen(["git", "checkout", "-q", "HEAD~1"], cwd=project):
        while len(paths) < 200:
            assert select.select([watch.descriptor], [], [], PATIENCE)[0]
            changes = watch.read()  # as soon as it is told, as the arbiter does
            assert changes is not None
            paths.update(changes.paths)
            times += bool(changes.paths)
    # Once, by polling twice at the most, where the machine is idle.  Where git itself is slow, each of its pauses of
    # 200 ms parts what is told; never is it told file by file.
    assert times <= 10


# -- what is refused

BEGINS = "a path inside of the project begins without a slash."
EXTRA = "name it with reload_extra_files."


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"reload_include": ("/no-such/*.txt",)},
            'reload_include: "/no-such/*.txt" (a test) means nothing: there is no /no-such; ' + BEGINS,
        ),
        (
            {"reload_exclude": ("/docs/",)},
            'reload_exclude: "/docs/" (a test) means nothing: there is no /docs; ' + BEGINS,
        ),
        (
            {"reload_include": ("/**/*.txt",)},
            'reload_include: "/**/*.txt" (a test) means the whole file system, which is too large to be watched.',
        ),
        (
            {"reload_include": ("/etc/passwd",)},
            'reload_include: "/etc/passwd" (a test) is a single file outside of the project: ' + EXTRA,
        ),
        (
            {"reload_extra_files": ("/etc",)},
            'reload_extra_files: "/etc" (a test) is a directory: name it with reload_include.',
        ),
    ],
)
def test_what_can_mean_nothing_is_refused_in_one_sentence(
    start: Start, settings: dict[str, tuple[str, ...]], sentence: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        start(**settings)
    assert str(refused.value) == sentence


def test_exclude_may_mean_what_comes_later(start: Start, project: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    watch = start(reload_exclude=(f"{place}/**/*.css", f"{project}/not-yet/*.py"))
    watch.add([(str(place), "**/*")])
    for name in ("a.css", "a.html"):
        (place / name).write_text("")
    told = all_told(watch, project, place / "a.html")
    assert str(place / "a.html") in told
    assert str(place / "a.css") not in told
