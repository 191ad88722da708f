"""Knows that the manual, the list of what is in force and all ways to give a setting cover the same settings."""

from __future__ import annotations

import argparse
import re
from typing import Any

import click

from server_core.config.arguments import add_settings_arguments
from server_core.config.environment import environment_layer
from server_core.config.layers import COMMAND_LINE, Layer, layer_from_mapping, resolve
from server_core.config.manual import settings_page, show_config
from server_core.config.options import settings_options
from server_core.config.schema import HELPERS, SECTIONS, SETTINGS


def test_the_page_does_not_depend_on_the_machine() -> None:
    assert re.search(r"### `workers`.*?- default: the number of CPUs", settings_page(), re.S)
    assert not re.search(r"default: `\d+ CPU", settings_page())


def test_every_way_to_give_or_show_a_setting_covers_exactly_the_declared_settings() -> None:
    declared = set(SETTINGS)
    options = {name for name, setting in SETTINGS.items() if setting.flags}
    helpers = {helper.name for helper in HELPERS}

    @settings_options
    def command(**_: Any) -> None:
        """Take the options."""

    assert {parameter.name for parameter in click.command(command).params} == options | helpers

    parser = argparse.ArgumentParser(add_help=False)
    add_settings_arguments(parser)
    off_names = {setting.off_flag.lstrip("-").replace("-", "_") for setting in SETTINGS.values() if setting.off_flag}
    assert {action.dest for action in parser._actions} == options | helpers | off_names

    assert set(environment_layer({f"SERVE_{name.upper()}": "" for name in declared}).values) == declared
    assert set(re.findall(r"^### `(\w+)`$", settings_page(), re.M)) == declared
    assert {line.split()[0] for line in show_config(resolve([])).splitlines()} == declared
    assert declared - options == {"wsgi_app"}


def test_every_chapter_opens_with_the_text_of_its_section() -> None:
    for section in SECTIONS:
        assert f"\n## {section.title}\n\n{section.text}\n\n### `" in settings_page()


def test_every_setting_in_the_page_has_its_options_and_variables() -> None:
    entries = re.split(r"^### ", settings_page(), flags=re.M)[1:]
    for entry, setting in zip(entries, SETTINGS.values(), strict=True):
        for word in (*setting.flags, setting.off_flag, setting.variable, *setting.platform_variables):
            assert word in entry
        assert setting.help in entry.replace("\\*", "*")  # which alone would mean emphasis
        assert not re.search(r"(?<!\\)\*", entry.partition("\n- ")[0])
        assert re.search(r"^- default: \S", entry, re.M)


def test_what_is_in_force_is_shown_with_value_and_origin_in_columns() -> None:
    layer = layer_from_mapping(COMMAND_LINE, {"bind": "a:1,[::1]:2", "umask": "27"}, "--{}".format)
    lines = show_config(resolve([layer])).splitlines()
    shown = {line.split()[0]: line.split()[1:] for line in lines}
    assert shown["bind"] == ["a:1,[::1]:2", "--bind"]
    assert shown["umask"] == ["027", "--umask"]
    assert shown["timeout"] == ["30s", "default"]
    assert shown["forwarded_allow_ips"] == ["(none)", "default"]
    origins = {
        line.rindex("default") for line in lines if line.endswith(" default") and "access_log_format" not in line
    }
    assert len(origins) == 1


def test_the_arguments_of_a_factory_may_be_secrets_and_are_not_shown() -> None:
    layer = layer_from_mapping(COMMAND_LINE, {"wsgi_app": 'shop:create_app("s3cret")'}, lambda name: "APP")
    shown = show_config(resolve([layer]))
    assert "s3cret" not in shown
    assert "shop:create_app(...) " in shown
    assert "shop:create_app() " in show_config(
        resolve([layer_from_mapping(COMMAND_LINE, {"wsgi_app": "shop:create_app()"}, lambda name: "APP")])
    )


def test_what_is_shown_can_be_given_back() -> None:
    before = resolve([Layer(COMMAND_LINE, {})])
    text = {name: setting.kind.show(setting.default()[0]) for name, setting in SETTINGS.items()}
    for name in ("certfile", "keyfile", "ca_certs"):  # to have none is not given, but left out
        assert text.pop(name) == ""
    again = resolve([layer_from_mapping(COMMAND_LINE, text, "--{}".format)])
    assert again.settings == before.settings
