"""What becomes of findings: told, or a refusal; and that an inspection which fails is a finding itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server_core.config.bindings import parse_binding
from server_core.errors import AppLoadError
from server_core.gateway.inspection import Finding, is_public, judge
from server_core.gateway.loader import Loaded
from server_core.gateway.static import missing
from server_core.settings import Profile

PRODUCTION, STRICT = Profile(), Profile(strict=True)
DEVELOPMENT, STRICT_DEVELOPMENT = Profile("development"), Profile("development", strict=True)
WARNINGS = [Finding("shop.W001", "The shelf is empty."), Finding("shop.W002", "The door is open.")]
ERROR = Finding("shop.E001", "There is no door.", is_error=True)


def app(environ: object, start_response: object) -> list[bytes]:
    return []


@pytest.mark.parametrize("profile", [PRODUCTION, STRICT, DEVELOPMENT])
def test_nothing_found_is_nothing_told(profile: Profile) -> None:
    assert judge([], profile) == ""


def test_what_is_found_is_told_with_the_remedy_for_those_who_want_more() -> None:
    assert judge(WARNINGS, PRODUCTION) == (
        "The inspection (checks; strict would refuse to serve) found 2 things:\n"
        "    shop.W001: The shelf is empty.\n"
        "    shop.W002: The door is open."
    )
    assert judge(WARNINGS[:1], PRODUCTION).startswith("The inspection (checks; strict would refuse to serve) found 1 t")


@pytest.mark.parametrize("profile", [DEVELOPMENT, STRICT_DEVELOPMENT])
def test_strict_says_nothing_in_development(profile: Profile) -> None:
    assert judge(WARNINGS[:1], profile) == "The inspection (checks) found 1 thing:\n    shop.W001: The shelf is empty."


def test_strict_refuses_whatever_is_found() -> None:
    with pytest.raises(AppLoadError) as caught:
        judge(iter(WARNINGS[:1]), STRICT)
    assert str(caught.value) == "the inspection (checks) found 1 thing, and strict is set"
    assert caught.value.details == "    shop.W001: The shelf is empty."


@pytest.mark.parametrize("profile", [PRODUCTION, STRICT, DEVELOPMENT, STRICT_DEVELOPMENT])
def test_an_error_refuses_everywhere_and_is_told_alone(profile: Profile) -> None:
    with pytest.raises(AppLoadError) as caught:
        judge([*WARNINGS, ERROR], profile)
    assert str(caught.value) == "the inspection (checks) found 1 error"
    assert caught.value.details == "    shop.E001: There is no door."
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("kind", ["production", "development"])
def test_what_is_silenced_is_neither_told_nor_a_reason_to_refuse(kind: str) -> None:
    silent = Profile(kind, strict=True, silenced_checks=("shop.W001", "shop.W002", "shop.E001", "shop.W099"))
    assert judge([*WARNINGS, ERROR], silent) == ""
    with pytest.raises(AppLoadError, match="found 1 thing"):
        judge(WARNINGS, Profile(strict=True, silenced_checks=("shop.W002",)))


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("127.0.0.1:8000", False),
        ("127.1.2.3:8000", False),
        ("[::1]:8000", False),
        ("localhost:8000", False),
        ("unix:/run/app.sock", False),
        ("fd://3", False),
        (":8000", True),
        ("0.0.0.0:8000", True),
        ("[::]:8000", True),
        ("10.0.0.1:8000", True),
        ("shop.example:8000", True),
    ],
)
def test_only_what_another_machine_can_reach_is_public(address: str, public: bool) -> None:
    assert is_public(parse_binding(address)) is public


def test_an_application_of_no_framework_has_nothing_to_say() -> None:
    assert Loaded(app).findings() == []


@pytest.mark.parametrize("error", [RuntimeError("no\nluck"), SystemExit(3), ZeroDivisionError()])
def test_an_inspection_that_fails_is_a_finding_beside_what_it_had_found(error: BaseException) -> None:
    def inspect() -> Iterator[Finding]:
        yield WARNINGS[0]
        raise error

    found = Loaded(app, inspect).findings()
    assert found[0] == WARNINGS[0]
    assert found[1].name == "serve.W010"
    assert not found[1].is_error
    words = f"The inspection could not be finished: {type(error).__name__}"
    assert found[1].text.startswith(words)
    assert "test_inspection.py, line " in found[1].text
    assert "\n" not in found[1].text
    assert len(found) == 2


def test_who_presses_ctrl_c_in_an_inspection_is_heard() -> None:
    def inspect() -> list[Finding]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Loaded(app, inspect).findings()


def test_a_mount_without_a_directory_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    mounts = [("/a/", str(tmp_path)), ("/b/", str(tmp_path / "nowhere")), ("/c/", str(tmp_path / "file"))]
    found = list(missing(mounts))
    assert [finding.name for finding in found] == ["serve.W011", "serve.W011"]
    assert found[0].text == (
        f"There is no directory {tmp_path}/nowhere (static_mounts), so nothing is served below /b/: make it, or leave "
        "the mount out."
    )
