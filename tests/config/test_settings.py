"""Knows what must hold for the declarations of all settings, whatever they are."""

from __future__ import annotations

import dataclasses
import pickle
import re
from collections import Counter
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import server_core
from server_core.config import declare
from server_core.config.schema import HELPERS, SECTIONS, SETTINGS
from server_core.config.values import integer
from server_core.settings import Limits, Settings, Sockets, Timeouts, Workers

DJANGO_OPTIONS = {"-v", "--verbosity", "--version", "--settings", "--pythonpath", "--traceback"} | {
    "--no-color",
    "--force-color",
    "--skip-checks",
}


def test_every_section_has_defaults_and_survives_pickling() -> None:
    settings = Settings()
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert Timeouts(timeout=0).timeout == 0
    assert str(Sockets().bind[0]) == "127.0.0.1:8000"
    assert Sockets().socket_mode == 0o660
    assert Limits().limit_request_head == 65536
    assert Workers().workers >= 1


def test_settings_cannot_be_changed() -> None:
    for section in SECTIONS:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(section.type(), section.settings[0].name, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().limits = Limits()  # type: ignore[misc]


def test_no_two_settings_share_a_name_because_they_are_flat_outside() -> None:
    names = [field.name for section in SECTIONS for field in dataclasses.fields(section.type)]  # type: ignore[arg-type]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert list(SETTINGS) == names


def test_no_option_is_declared_twice_or_taken_from_django() -> None:
    flags = Counter(flag for setting in SETTINGS.values() for flag in (*setting.flags, setting.off_flag) if flag)
    flags.update(flag for helper in HELPERS for flag in helper.flags)
    flags.update(DJANGO_OPTIONS | {"-h", "--help"})
    assert [flag for flag, count in flags.items() if count > 1] == []


def test_every_option_is_well_formed() -> None:
    for setting in SETTINGS.values():
        for flag in (*setting.flags, setting.off_flag or "--no-x"):
            assert re.fullmatch(r"-[A-Za-z]|--[a-z]+(-[a-z]+)*", flag), flag
        assert bool(setting.off_flag) == setting.kind.toggle
        assert bool(setting.metavar) != setting.kind.toggle


def test_the_first_flag_of_a_setting_is_its_name_unless_declared_otherwise() -> None:
    assert SETTINGS["boot_timeout"].flags == ("--boot-timeout",)
    assert SETTINGS["workers"].flags == ("-w", "--workers")
    assert SETTINGS["wsgi_app"].flags == ()


def test_a_message_names_the_option_that_was_meant() -> None:
    assert SETTINGS["workers"].long_flag() == "--workers"
    assert SETTINGS["errorlog"].long_flag("x") == "--error-logfile"
    assert SETTINGS["preload_app"].long_flag(True) == "--preload"
    assert SETTINGS["preload_app"].long_flag(False) == "--no-preload"
    assert SETTINGS["wsgi_app"].long_flag() == "the argument APP"


def test_every_help_text_is_made_of_sentences() -> None:
    texts = {entry.name: entry.help for entry in SETTINGS.values()} | {entry.name: entry.help for entry in HELPERS}
    for name, text in texts.items():
        assert re.fullmatch(r"[A-Z].{30,}\.", text), name
    for section in SECTIONS:
        assert section.text.endswith("."), section.name


def test_every_default_has_the_type_that_its_section_declares() -> None:
    for section in SECTIONS:
        hints = get_type_hints(section.type)
        values: Any = section.type()
        for setting in section.settings:
            value = getattr(values, setting.name)
            if isinstance(value, tuple):
                assert str(hints[setting.name]).startswith("tuple["), setting.name
            else:
                assert isinstance(value, hints[setting.name]), setting.name


def test_the_default_of_a_section_is_the_default_of_the_schema() -> None:
    settings = Settings()
    for setting in SETTINGS.values():
        assert setting.default()[0] == getattr(getattr(settings, setting.section), setting.name)
    assert SETTINGS["timeout"].default() == (30.0, "default")
    assert re.fullmatch(r"default \(.*CPU.*\)", SETTINGS["workers"].default()[1])


def test_a_wrong_default_is_noticed_where_it_is_declared() -> None:
    with pytest.raises(ValueError, match="from 1 to 5"):
        declare.setting(0, integer(1, 5), help="")


def test_the_syslog_address_takes_all_forms_that_syslog_listens_on() -> None:
    kind = SETTINGS["syslog_addr"].kind
    for right in (
        *("udp://localhost:514", "udp://10.0.0.1", "tcp://[::1]:601"),
        *("unix:///dev/log", "unix:///dev/log#dgram", "unix:///dev/log#stream"),
    ):
        assert kind.parse(right) == right
    for wrong in ("localhost:514", "http://localhost", "udp://", "unix://", "unix:///dev/log#x", "udp://host:port"):
        with pytest.raises(ValueError, match="syslog server"):
            kind.parse(wrong)


def test_only_the_module_that_draws_options_imports_the_library_that_parses_them() -> None:
    assert server_core.__path__
    floor = Path(next(iter(server_core.__path__)))
    sources = {file.name: file.read_text() for file in (*floor.glob("config/*.py"), floor / "settings.py")}
    importing = {
        library: [
            name for name, source in sources.items() if re.search(rf"^\s*(import|from) {library}\b", source, re.M)
        ]
        for library in ("click", "argparse", "socket", "ssl", "threading", "logging", "time", "signal")
    }
    assert importing.pop("click") == ["options.py"]
    assert importing.pop("argparse") == ["arguments.py"]
    assert {library: files for library, files in importing.items() if files} == {}
