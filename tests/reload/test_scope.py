"""Which files of a project count: by suffix, pattern and place, and never what editors and Python leave behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from server_core.reload.scope import Request, Scope

Seen = Callable[..., list[str]]


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    """``seen("a.txt", "b/", include=["*.txt"])`` makes files and tells which of them count, as sorted names.

    ``places`` are relative to the project, ``far`` and ``files`` are paths.
    """
    project = tmp_path / "project"

    def seen(
        *names: str,
        places: Sequence[tuple[str, str]] = (),
        roots: Sequence[str] = (".",),
        **lists: list[str],
    ) -> list[str]:
        for name in names:
            path = project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        given = {"far": [], "files": [], "include": [], "exclude": []} | lists
        tops = [os.path.normpath(project / root) for root in roots]
        scope = Scope(Request(str(project), tops, **given))  # type: ignore[arg-type]
        scope.add([(os.path.normpath(project / directory), pattern) for directory, pattern in places])
        found = scope.look()
        # Whoever is told of a change by its path must come to the same result.
        for directory, _, inner in os.walk(tmp_path):
            for name in inner:
                path = os.path.join(directory, name)
                assert scope.counts(path) == (path in found), path
                if path in found and path not in given["files"]:
                    assert scope.enters(directory)
        return sorted(os.path.relpath(path, project) for path in found)

    return seen


def test_code_and_what_configures_it_counts_but_no_data(seen: Seen) -> None:
    assert seen("a.py", "b.txt", "c/d.html", "db.sqlite3", "x.po", "x.mo", ".env", ".flaskenv", ".hidden.py") == [
        ".env",
        ".flaskenv",
        "a.py",
        "c/d.html",
        "x.mo",
    ]


FOREIGN = ("v/pyvenv.cfg", "v/lib/a.py", ".hidden/a.py", "node_modules/a.py", "__pycache__/a.py", "site-packages/a.py")


def test_directories_in_which_nobody_edits_do_not_count(seen: Seen) -> None:
    assert seen("a.py", *FOREIGN) == ["a.py"]


@pytest.mark.parametrize(
    ("include", "names"),
    [
        ("*.txt", ["a.txt", "docs/a.txt", "docs/b/c.txt"]),
        ("a.*", ["a.json", "a.txt", "docs/a.txt"]),
        ("docs", ["docs/a.txt", "docs/b/c.txt", "docs/x"]),
        ("docs/", ["docs/a.txt", "docs/b/c.txt", "docs/x"]),
        ("b/", ["docs/b/c.txt"]),
        ("./b/", []),
        ("./*.txt", ["a.txt"]),
        ("docs/*", ["docs/a.txt", "docs/b/c.txt", "docs/x"]),
        ("docs/*.txt", ["docs/a.txt"]),
        ("docs/**/*.txt", ["docs/a.txt", "docs/b/c.txt"]),
        ("a.txt/", []),
    ],
)
def test_a_pattern_of_reload_include_adds_files(seen: Seen, include: str, names: list[str]) -> None:
    files = ("a.txt", "a.json", "docs/a.txt", "docs/b/c.txt", "docs/x", "docs/.x", "docs/x~", ".h/a.txt")
    assert seen(*files, "code.py", include=[include]) == sorted(["code.py", *names])


def test_an_absolute_pattern_means_the_same_wherever_the_server_is_started(seen: Seen, tmp_path: Path) -> None:
    files = ("docs/a.txt", "a.txt")
    assert seen(*files, include=[f"{tmp_path}/project/docs/"]) == ["docs/a.txt"]
    assert seen(*files, include=["../project/*.txt"]) == ["a.txt"]
    assert seen(*files, include=[f"{tmp_path}/project/"]) == ["a.txt", "docs/a.txt"]
    (tmp_path / "link").symlink_to("project")
    assert seen(*files, include=[f"{tmp_path}/link/docs/*.txt"]) == ["docs/a.txt"]


def test_a_relative_path_leads_from_the_working_directory_and_from_each_watched_one(seen: Seen) -> None:
    files = ("data/a.json", "src/data/a.json", "src/x/data/a.json")
    assert seen(*files, include=["data/*.json"], roots=["src"]) == ["src/data/a.json"]
    assert seen(*files, include=["src/data/*.json"], roots=["src"]) == ["src/data/a.json"]
    assert seen(*files, include=["data/*.json"], roots=["src", "data"]) == ["data/a.json", "src/data/a.json"]


@pytest.mark.parametrize(
    ("include", "names"),
    [
        (".github/", [".github/a.yml", ".github/b/c.yml"]),
        (".github/*.yml", [".github/a.yml"]),
        (".github/**/*.yml", [".github/a.yml", ".github/b/c.yml"]),
        ("./.github/b/", [".github/b/c.yml"]),
        (".*/", []),
        ("*", []),
        ("**/*.yml", []),
        (".github", []),  # .env is mostly a file, sometimes a virtual environment
        ("node_modules/mine/*.js", ["node_modules/mine/a.js"]),
        ("node_modules/mine/", ["node_modules/mine/a.js"]),
        ("v/lib/", ["v/lib/a.py"]),
        ("__pycache__/", []),  # never: Python itself writes there
    ],
)
def test_an_ignored_directory_counts_only_when_it_is_named_in_full(seen: Seen, include: str, names: list[str]) -> None:
    files = (
        *(".github/a.yml", ".github/b/c.yml", ".github/.x", ".github/node_modules/x.yml", "v/pyvenv.cfg", "v/lib/a.py"),
        *("node_modules/mine/a.js", "node_modules/other/a.js", "node_modules/other/a.py", "node_modules/a.yml"),
        "__pycache__/a.txt",
    )
    assert seen(*files, include=[include]) == names


def test_a_virtual_environment_called_like_the_file_of_settings_does_not_count(seen: Seen) -> None:
    files = (".env/pyvenv.cfg", ".env/lib/a.py", "conf/.env")
    assert seen(*files, include=[".env", "./.env", "*.env"]) == ["conf/.env"]


@pytest.mark.parametrize("include", [".secret", "./.secret", ".s*", "**/.secret"])
def test_a_hidden_file_counts_when_the_pattern_has_its_dot(seen: Seen, include: str) -> None:
    assert seen(".secret", ".other", include=[include, "*"]) == [".secret"]


@pytest.mark.parametrize(
    ("exclude", "names"),
    [
        ("b.py", ["a.py", "docs/a.txt"]),
        ("*.py", ["docs/a.txt"]),
        ("docs", ["a.py", "b.py", "lib/b.py"]),
        ("docs/", ["a.py", "b.py", "lib/b.py"]),
        ("lib/*", ["a.py", "b.py", "docs/a.txt"]),
        ("./*.py", ["docs/a.txt", "lib/b.py"]),
        ("lib/**", ["a.py", "b.py", "docs/a.txt"]),
        ("**/a.*", ["b.py", "lib/b.py"]),
        ("*", []),
        ("project", ["a.py", "b.py", "docs/a.txt", "lib/b.py"]),  # the names above the project are nobody's business
    ],
)
def test_exclude_wins_over_the_suffixes_and_over_include(seen: Seen, exclude: str, names: list[str]) -> None:
    assert seen("a.py", "b.py", "docs/a.txt", "lib/b.py", include=["docs/"], exclude=[exclude]) == names


def test_exclude_means_hidden_files_too_and_may_mean_everything(seen: Seen, tmp_path: Path) -> None:
    assert seen(".env", "prod.env", "a.py", exclude=["*.env"]) == ["a.py"]
    assert seen(exclude=[f"{tmp_path}/project"]) == []


def test_files_that_are_named_one_by_one_count_whatever_is_excluded(seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "words.txt").touch()
    extra = [str(tmp_path / "words.txt"), str(tmp_path / "project" / "a.txt")]
    assert seen("a.txt", "b.txt", "c.py", files=extra, exclude=["*"]) == ["../words.txt", "a.txt"]


def test_a_place_counts_whatever_the_suffix_and_wherever_it_is(seen: Seen) -> None:
    inside = "v/lib/site-packages/app/templates"
    files = ("v/pyvenv.cfg", f"{inside}/a.css", f"{inside}/b/c", "v/lib/site-packages/app/a.py", "../far/x/a.mo")
    assert seen(*files, "../far/a.py", places=[(inside, "**/*"), ("../far", "**/*.mo")]) == [
        "../far/x/a.mo",
        f"{inside}/a.css",
        f"{inside}/b/c",
    ]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("**/*", ["t/a.txt", "t/b/c.txt"]),
        ("**", ["t/a.txt", "t/b/c.txt"]),
        ("", ["t/a.txt", "t/b/c.txt"]),
        ("*", ["t/a.txt"]),
        ("b/*.txt", ["t/b/c.txt"]),
        ("./*.txt", ["t/a.txt"]),
        ("a.txt", ["t/a.txt"]),
        ("b", []),
        ("[", []),
    ],
)
def test_the_pattern_of_a_place_is_about_files_from_its_directory_on(
    seen: Seen, pattern: str, names: list[str]
) -> None:
    assert seen("a.txt", "t/a.txt", "t/b/c.txt", places=[("t", pattern)]) == names


LITTER = (
    *("4913", ".a.swp", "a.swp", "a.html~", ".#a", "#a#", "a.pyc", "a___jb_tmp___", ".hidden", ".d/a", "v/pyvenv.cfg"),
    *("v/a", "__pycache__/a"),
)


def test_what_editors_and_python_leave_behind_counts_nowhere(seen: Seen) -> None:
    litter = [f"{where}/{name}" for where in ("t", "docs", "../far/t") for name in LITTER]
    assert seen(*litter, "t/a", include=["docs/", "*"], places=[("t", "**/*"), ("../far", "**/*")]) == ["t/a"]


def test_exclude_wins_over_places(seen: Seen) -> None:
    files = ("t/a.txt", "t/b.css", "t/node/c.txt")
    assert seen(*files, places=[("t", "**/*")], exclude=["*.css", "node/"]) == ["t/a.txt"]


def test_patterns_that_are_names_do_not_leak_into_places(seen: Seen) -> None:
    files = ("../far/a.txt", "../far/a.mo", "../far/docs/a", "b.txt", "docs/b")
    assert seen(*files, include=["*.txt", "docs/"], places=[("../far", "*.mo")]) == ["../far/a.mo", "b.txt", "docs/b"]


def test_an_ignored_directory_is_looked_into_no_further_than_a_path_leads(seen: Seen, tmp_path: Path) -> None:
    project = str(tmp_path / "project")
    scope = Scope(Request(project, [project], [], [], ["node_modules/mine/dist/*.js"], []))
    for name in ("node_modules", "node_modules/mine", "node_modules/mine/dist", "node_modules/mine/dist/x", "src"):
        assert scope.enters(f"{project}/{name}")
    for name in ("node_modules/other", "node_modules/mine/src", "node_modules/min", ".git"):
        assert not scope.enters(f"{project}/{name}")


def test_a_place_that_is_in_another_or_does_not_exist_yet_is_no_further_directory(tmp_path: Path) -> None:
    scope = Scope(Request("/p", ["/p"], [], ["/p/x.txt", "/etc/hosts"], [], []))
    scope.add([("/p/templates", "**/*"), ("/q/r", "*"), ("/q", "*"), ("/q/r/s", "*"), ("/p-q", "*")])
    assert scope.directories == ["/etc/hosts", "/p", "/p-q", "/q"]


def test_files_that_were_known_are_seen_again_though_a_link_hides_them(seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.py").touch()
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "link").symlink_to("../elsewhere")
    scope = Scope(Request(str(tmp_path), [str(tmp_path / "project")], [], [], [], []))
    path = str(tmp_path / "project" / "link" / "a.py")
    assert scope.counts(path)
    assert list(scope.look()) == []
    assert list(scope.look([path])) == [path]
    (tmp_path / "elsewhere" / "a.py").unlink()
    assert list(scope.look([path])) == []
