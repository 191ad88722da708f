"""Knows how an application is named and found, and what is said when it is not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from server_core.config.values import without_arguments
from server_core.errors import AppLoadError
from server_core.gateway.loader import AppSpec, describe, load_target
from server_core.settings import Settings

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """``write(name, source)`` makes a module that can be imported as ``name`` during the test."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def make(name: str, source: str) -> None:
        file = tmp_path / (name.replace(".", "/") + ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(source), encoding="utf-8")

    yield make
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def shop(write: Write) -> None:
    write(
        "shop",
        """
        number = 7

        def app(environ, start_response):
            return [b"app"]

        def application(environ, start_response):
            return [b"application"]

        def make(*names, **options):
            def made(environ, start_response):
                return [repr((names, options)).encode()]
            return made

        def make_nothing():
            return None

        class web:
            app = staticmethod(application)
            class inner:
                @staticmethod
                def factory(name="x"):
                    return make(name)
        """,
    )


def body(target: str) -> str:
    return b"".join(load_target(target)({}, lambda *_: None)).decode()


def refusal(target: str) -> str:
    with pytest.raises(AppLoadError) as caught:
        load_target(target)
    assert caught.value.details == "", "a typo needs no traceback"
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.usefixtures("shop")
class TestNames:
    @pytest.mark.parametrize(
        ("target", "answer"),
        [
            ("shop:app", "app"),
            ("shop:application", "application"),
            ("shop:web.app", "application"),
            ("shop", "app"),
            ("shop:", "app"),
            ("shop:make()", "((), {})"),
            ("shop:make('a')", "(('a',), {})"),
            ('shop:make("a:b", 1, -2.5, None, True, b"x")', "(('a:b', 1, -2.5, None, True, b'x'), {})"),
            ("shop:make(debug=False, names=['a', ('b',)], more={'c': {1}})", None),
            ("shop:web.inner.factory()", "(('x',), {})"),
            ("shop:web.inner.factory(name='y')", "(('y',), {})"),
        ],
    )
    def test_what_can_be_named(self, target: str, answer: str | None):
        assert body(target) == (answer or "((), {'debug': False, 'names': ['a', ('b',)], 'more': {'c': {1}}})")

    def test_application_is_looked_for_after_app(self, write: Write):
        write("plain", "def application(environ, start_response): return [b'here']")
        assert body("plain") == "here"

    def test_a_module_in_a_package_is_named_with_dots(self, write: Write):
        write("house.web.entry", "def app(environ, start_response): return [b'deep']")
        assert body("house.web.entry:app") == "deep"


@pytest.mark.usefixtures("shop")
class TestRefusals:
    @pytest.mark.parametrize("target", ["", ":app", ":"])
    def test_no_module(self, target: str):
        assert "names no module" in refusal(target)
        assert "module:callable" in refusal(target)

    @pytest.mark.parametrize(
        ("target", "missing"),
        [
            ("shopp:app", "shopp"),
            ("shop.web:app", "shop.web"),
            ("nowhere.at.all:app", "nowhere"),
            ("a/shop.py:app", "a/shop"),
        ],
    )
    def test_a_module_that_is_not_there(self, target: str, missing: str):
        message = refusal(target)
        assert f"no module named {missing!r}" in message
        assert target in message
        assert "chdir" in message

    @pytest.mark.parametrize("target", [".shop:app", "..shop:app"])
    def test_a_relative_module(self, target: str):
        assert target in refusal(target)

    def test_a_name_that_is_not_there(self):
        assert "module 'shop' has no ap:" in refusal("shop:ap")
        assert "module 'shop' has no web.ap:" in refusal("shop:web.ap")
        assert "module 'shop' has no number.x:" in refusal("shop:number.x")

    def test_neither_app_nor_application(self, write: Write):
        write("empty", "")
        assert '"app" or "application"' in refusal("empty")

    @pytest.mark.parametrize(
        "target",
        [
            *(
                "shop:make(name)",
                "shop:make(1 + x)",
                "shop:make(open('x'))",
                "shop:make(*['a'])",
                "shop:make(**{'a': 1})",
            ),
            *(
                "shop:make()()",
                "shop:make().x",
                "shop:make(",
                "shop:1",
                "shop:a b",
                "shop:app;x",
                "shop:[app]",
                "shop:a-b",
            ),
            *(
                "shop:make(a=)",
                "shop: app",
                "shop:lambda: 0",
                "shop:'app'",
                "shop:make(f'{1}')",
                "shop:app:x",
                "shop:\x00",
            ),
            *("shop:make({[]: 1})", "shop:make({{}})"),
        ],
    )
    def test_what_is_neither_a_name_nor_a_call_with_literals(self, target: str):
        message = refusal(target)
        assert "neither module:callable nor module:factory" in message
        assert repr(without_arguments(target)) in message

    def test_what_is_not_callable(self):
        assert "is not callable: it is a int" in refusal("shop:number")
        assert "calls what is not callable: it is a int" in refusal("shop:number()")
        assert "is not callable: it is a NoneType" in refusal("shop:make_nothing()")


class TestFaultsOfTheApplication:
    """What the application's own code raises is told with a traceback that begins in that code."""

    def failure(self, target: str, **options: str) -> AppLoadError:
        with pytest.raises(AppLoadError) as caught:
            AppSpec(target, **options).load(Settings())  # type: ignore[arg-type]
        return caught.value

    def frames(self, error: AppLoadError) -> list[str]:
        """Of each frame of the traceback the file."""
        return [line.split('"')[1] for line in error.details.splitlines() if line.startswith("  File ")]

    def test_an_exception_while_importing(self, write: Write, tmp_path: Path):
        write("broken", "import helper_of_broken")
        write("helper_of_broken", "1 / 0")
        error = self.failure("broken:app")
        assert str(error) == "broken:app raised ZeroDivisionError: division by zero on import"
        assert self.frames(error) == [str(tmp_path / "broken.py"), str(tmp_path / "helper_of_broken.py")]
        assert error.details.startswith("Traceback (most recent call last):\n")
        assert error.details.endswith("ZeroDivisionError: division by zero\n")

    def test_a_syntax_error(self, write: Write, tmp_path: Path):
        write("unfinished", "def app(:")
        error = self.failure("unfinished:app")
        assert "raised SyntaxError" in str(error)
        assert self.frames(error) == [str(tmp_path / "unfinished.py")]

    @pytest.mark.parametrize("name", ["flask_server", "importlib_of_mine", "django_served", "server_core_app"])
    def test_a_module_whose_name_begins_like_ours_is_the_applications(self, write: Write, tmp_path: Path, name: str):
        write(name, "def fail():\n    raise RuntimeError\nfail()")
        assert self.frames(self.failure(f"{name}:app")) == [str(tmp_path / f"{name}.py")] * 2

    def test_a_module_that_is_missing_inside_the_application(self, write: Write):
        write("needy", "import something_that_is_not_there")
        error = self.failure("needy:app")
        assert "raised ModuleNotFoundError: No module named 'something_that_is_not_there'" in str(error)
        assert "needy.py" in error.details

    def test_a_module_that_is_missing_inside_its_own_package(self, write: Write):
        write("family.__init__", "")
        write("family.web", "import family.missing")
        error = self.failure("family.web:app")
        assert "No module named 'family.missing'" in str(error)
        assert "web.py" in error.details

    @pytest.mark.parametrize(
        "statement", ["raise SystemExit(0)", "raise KeyboardInterrupt", "import sys; sys.exit('x')"]
    )
    def test_an_exit_while_importing_is_a_failure_like_any_other(self, write: Write, statement: str):
        write("quitter", statement)
        assert self.failure("quitter:app").exit_code == 4

    def test_an_exception_in_a_factory(self, write: Write, tmp_path: Path):
        write("factory", "def make(name):\n    raise ValueError('no ' + name)")
        error = self.failure("factory:make('x')")
        assert "raised ValueError: no x" in str(error)
        assert self.frames(error) == [str(tmp_path / "factory.py")]

    def test_wrong_arguments_of_a_factory(self, write: Write):
        write("strict", "def make(name): pass")
        assert "missing 1 required positional argument" in str(self.failure("strict:make()"))

    def test_the_message_names_the_application_by_its_title(self, write: Write):
        write("titled", "1 / 0")
        assert str(self.failure("titled:app", title="my shop")).startswith("my shop raised ZeroDivisionError")


class TestSpec:
    def test_the_path_is_searched_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(sys, "path", list(sys.path))
        (tmp_path / "only_here_by_path.py").write_text("def app(environ, start_response): return [b'found']")
        spec = AppSpec("only_here_by_path:app", path=(str(tmp_path),))
        assert spec.load(Settings()).application({}, None) == [b"found"]
        spec.load(Settings())
        assert sys.path.count(str(tmp_path)) == 1
        assert sys.path[0] == str(tmp_path)

    def test_another_loader_is_called_with_the_target(self, write: Write):
        write(
            "loaders",
            """
            from server_core.gateway.loader import Loaded
            def load(target, settings):
                return Loaded(lambda environ, start_response: [target.encode()])
            """,
        )
        loaded = AppSpec("whatever", loader="loaders:load").load(Settings())
        assert loaded.application({}, None) == [b"whatever"]

    def test_a_loader_may_refuse_in_its_own_words(self, write: Write):
        write(
            "refusing",
            """
            from server_core.errors import AppLoadError
            def load(target, settings):
                raise AppLoadError("there is no such shop")
            """,
        )
        with pytest.raises(AppLoadError, match=r"^there is no such shop$"):
            AppSpec("x", loader="refusing:load").load(Settings())

    def test_what_a_loader_returns_is_called(self, write: Write):
        write(
            "wrong", "from server_core.gateway.loader import Loaded\ndef load(target, settings):\n    return Loaded(7)"
        )
        with pytest.raises(AppLoadError, match="x is not callable: it is a int"):
            AppSpec("x", loader="wrong:load").load(Settings())


def test_an_exception_is_described_in_one_line():
    assert describe(ValueError("a\nb")).startswith("ValueError: a")
    assert describe(KeyError("x")) == "KeyError: 'x'"
    assert describe(SystemExit()) == "SystemExit"
