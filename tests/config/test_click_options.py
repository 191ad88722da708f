"""Knows what the click options must draw and hand on; the command only collects its layers."""

from __future__ import annotations

import re
from typing import Any

import click
import pytest
from click.testing import CliRunner

from server_core.config.layers import COMMAND_LINE, ENVIRONMENT, FRAMEWORK, Given, Layer, resolve
from server_core.config.options import SettingsCommand, layers_from_click, settings_options
from server_core.config.schema import HELPERS, SECTIONS, SETTINGS
from server_core.errors import ConfigError


@click.command(cls=SettingsCommand)
@settings_options
@click.argument("wsgi_app", required=False)
@click.pass_context
def serve(ctx: click.Context, /, **_: Any) -> None:
    """Serve."""
    ctx.find_root().obj.append((ctx.params, layers_from_click(ctx)))


@click.group(context_settings={"auto_envvar_prefix": "FLASK"})
def flask() -> None:
    """Stand where Flask's own command stands."""


flask.add_command(serve)


def run(command: click.Command, *args: str, env: dict[str, str] | None = None, **extra: Any) -> list[Layer]:
    calls: list[Any] = []
    done = CliRunner().invoke(command, args, env=env, obj=calls, catch_exceptions=False, **extra)
    assert done.exit_code == 0, done.output
    [(_, layers)] = calls
    assert isinstance(layers, list)
    return layers


def test_without_options_nothing_is_given() -> None:
    assert run(serve) == []


def test_every_flag_of_every_setting_gives_that_setting_as_raw_text() -> None:
    for setting in SETTINGS.values():
        for flag in setting.flags:
            args = [flag] if setting.kind.toggle else [flag, "raw"]
            value: object = True if setting.kind.toggle else ("raw",) if setting.kind.many else "raw"
            assert run(serve, *args) == [Layer(COMMAND_LINE, {setting.name: Given(value, setting.long_flag())})]
        if setting.off_flag:
            given = {setting.name: Given(False, setting.off_flag)}
            assert run(serve, setting.off_flag) == [Layer(COMMAND_LINE, given)]


def test_the_argument_is_the_application() -> None:
    assert run(serve, "mysite.wsgi:app") == [
        Layer(COMMAND_LINE, {"wsgi_app": Given("mysite.wsgi:app", "the argument APP")})
    ]


def test_an_option_may_be_repeated_for_a_list() -> None:
    resolved = resolve(run(serve, "-b", "a:1", "--bind", "b:2,c:3"))
    assert [str(binding) for binding in resolved.settings.sockets.bind] == ["a:1", "b:2", "c:3"]
    assert resolved.origins["bind"] == "--bind"


def test_a_wrong_value_is_judged_by_the_setting_and_not_by_click() -> None:
    with pytest.raises(ConfigError, match=r'^workers: "four" \(--workers\) is not a whole number'):
        resolve(run(serve, "-w", "four"))


def test_helpers_are_options_but_no_settings() -> None:
    calls: list[Any] = []
    args = ["-c", "serve.toml", "--check-config", "--print-config"]
    assert CliRunner().invoke(serve, args, obj=calls).exit_code == 0
    [(params, layers)] = calls
    assert (params["config"], params["check_config"], params["show_config"]) == ("serve.toml", True, True)
    assert layers == []


def test_the_variables_of_the_framework_are_a_layer_of_their_own_below_the_command_line() -> None:
    env = {"FLASK_SERVE_WORKERS": "3", "FLASK_SERVE_BIND": "a:1, b:2", "FLASK_SERVE_PRELOAD_APP": "off"}
    layers = run(flask, "serve", "--workers", "4", env=env)
    assert [layer.name for layer in layers] == [ENVIRONMENT, COMMAND_LINE]
    resolved = resolve(layers)
    assert resolved.settings.workers.workers == 4
    assert resolved.settings.workers.preload_app is False
    assert [str(binding) for binding in resolved.settings.sockets.bind] == ["a:1", "b:2"]
    assert resolved.origins["workers"] == "--workers"
    assert resolved.origins["bind"] == "FLASK_SERVE_BIND"


def test_white_space_in_a_variable_does_not_split_a_file_name() -> None:
    resolved = resolve(run(flask, "serve", env={"FLASK_SERVE_RELOAD_EXTRA_FILES": "my file,other"}))
    assert resolved.settings.development.reload_extra_files == ("my file", "other")


def test_a_variable_with_the_prefix_of_the_framework_that_is_no_option_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'^FLASK_SERVE_WORKRES is no setting; did you mean "FLASK_SERVE_WORKERS"'):
        run(flask, "serve", env={"FLASK_SERVE_WORKRES": "3"})
    assert run(flask, "serve", env={"FLASK_SERVE_SERVICE_HOST": "10.0.0.11", "FLASK_RUN_PORT": "1"}) == []
    assert run(flask, "serve", env={"FLASK_SERVE_CONFIG": "serve.toml"}) == []
    assert run(serve, env={"FLASK_SERVE_WORKRES": "3"}) == []


def test_the_default_map_of_a_click_program_counts_as_the_framework() -> None:
    layers = run(serve, default_map={"workers": "5"})
    assert layers == [Layer(FRAMEWORK, {"workers": Given("5", "workers in click's default_map")})]


def test_the_help_shows_every_option_once_under_the_title_of_its_section() -> None:
    output = CliRunner().invoke(serve, ["--help"], terminal_width=100).output
    titles = re.findall(r"^(\w+):$", output, re.M)
    assert titles == ["Options", *(section.title for section in SECTIONS)]
    chapters = re.split(r"^\w+:$", output, flags=re.M)[2:]
    for chapter, section in zip(chapters, SECTIONS, strict=True):
        drawn = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", chapter, re.M))
        assert drawn == {next(f for f in s.flags if f.startswith("--")) for s in section.settings if s.flags}
    for helper in HELPERS:
        assert all(flag in output for flag in helper.flags)


def test_the_help_says_what_the_default_is() -> None:
    output = " ".join(CliRunner().invoke(serve, ["--help"], terminal_width=100).output.split())
    assert "[default: 2048]" in output
    assert "[default: the number of CPUs that this process may use" in output
    assert '[default: Apache\'s combined format: %(h)s %(l)s %(u)s %(t)s "%(r)s"' in output
