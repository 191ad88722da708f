"""Knows what the argparse options must draw and hand on, alone and inside a Django command."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from server_core.config.arguments import add_settings_arguments, layer_from_namespace
from server_core.config.layers import COMMAND_LINE, Given, Layer, resolve
from server_core.config.schema import HELPERS, SECTIONS, SETTINGS


def parser(skip: tuple[str, ...] = ()) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="serve")
    add_settings_arguments(made, skip)
    return made


def run(*args: str) -> Layer:
    return layer_from_namespace(vars(parser().parse_args(args)))


def test_without_options_nothing_is_given() -> None:
    assert run() == Layer(COMMAND_LINE, {})


def test_every_flag_of_every_setting_gives_that_setting_as_raw_text() -> None:
    for setting in SETTINGS.values():
        for flag in setting.flags:
            args = [flag] if setting.kind.toggle else [flag, "raw"]
            value: object = True if setting.kind.toggle else ["raw"] if setting.kind.many else "raw"
            assert run(*args).values == {setting.name: Given(value, setting.long_flag())}
        if setting.off_flag:
            assert run(setting.off_flag).values == {setting.name: Given(False, setting.off_flag)}


def test_of_two_contradicting_options_the_last_wins() -> None:
    assert run("--preload", "--no-preload").values["preload_app"].value is False
    assert run("--no-preload", "--preload").values["preload_app"].value is True


def test_helpers_are_options_but_no_settings() -> None:
    namespace = parser().parse_args(["-c", "serve.toml", "--check-config", "--show-config"])
    assert (namespace.config, namespace.check_config, namespace.show_config) == ("serve.toml", True, True)
    assert layer_from_namespace(vars(namespace)).values == {}


def test_options_can_be_left_out_by_name() -> None:
    flags = parser(skip=("chdir", "config", "preload_app")).format_help()
    assert "--chdir" not in flags
    assert "--config" not in flags
    assert "preload" not in flags.replace("preload_app", "")
    assert "--workers" in flags


def test_the_help_can_be_formatted_and_has_a_group_for_each_section() -> None:
    output = parser().format_help()
    for section in SECTIONS:
        assert f"\n{section.title}:\n" in output
    assert '%(h)s %(l)s %(u)s %(t)s "%(r)s"' in " ".join(output.split())
    for helper in HELPERS:
        assert all(flag in output for flag in helper.flags)


# --- inside Django


def call(*args: str, **options: Any) -> Layer:
    management = pytest.importorskip("django.core.management")
    seen: list[Layer] = []

    class Command(management.base.BaseCommand):  # type: ignore[misc, name-defined]
        requires_system_checks: list[str] = []

        def add_arguments(self, parser: argparse.ArgumentParser) -> None:
            add_settings_arguments(parser)

        def handle(self, *args: object, **options: object) -> None:
            seen.append(layer_from_namespace(options))

    management.call_command(Command(), *args, **options)
    [layer] = seen
    return layer


def test_call_command_passes_native_values() -> None:
    layer = call(workers=4, bind=["0.0.0.0:80", "unix:/run/app.sock"], timeout=1.5, accesslog="-")
    assert layer.values["workers"] == Given(4, "--workers")
    settings = resolve([layer]).settings
    assert settings.workers.workers == 4
    assert [str(binding) for binding in settings.sockets.bind] == ["0.0.0.0:80", "unix:/run/app.sock"]
    assert settings.timeouts.timeout == 1.5


def test_call_command_takes_options_as_text_too() -> None:
    assert set(call("--workers", "4", "-b", "a:1", "--no-preload").values) == {"workers", "bind", "preload_app"}


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"preload_app": False}, False),
        ({"preload_app": True}, True),
        ({"preload": False}, False),
        ({"preload": True}, True),
        ({"no_preload": True}, False),
        ({"no_preload": False}, True),
    ],
)
def test_call_command_switches_by_any_name_of_the_option(options: dict[str, bool], value: bool) -> None:
    assert call(**options).values["preload_app"].value is value


def test_call_command_takes_every_setting_by_its_name_and_by_its_option() -> None:
    for setting in SETTINGS.values():
        if not setting.flags:
            continue
        value: object = True if setting.kind.toggle else ["raw"] if setting.kind.many else "raw"
        by_option = min(setting.flags).lstrip("-").replace("-", "_")
        for name in (setting.name, by_option):
            assert call(**{name: value}).values == {setting.name: Given(value, setting.long_flag())}
