"""What to write instead of an option that does not exist, and instead of a name that is no setting."""

from __future__ import annotations

import re

import pytest

from server_core.config.hints import FOREIGN, hint
from server_core.config.layers import FILE, layer_from_mapping, resolve
from server_core.config.schema import HELPERS, SETTINGS
from server_core.errors import ConfigError

OURS = [flag for setting in SETTINGS.values() for flag in (*setting.flags, setting.off_flag) if flag]
OURS += [flag for helper in HELPERS for flag in helper.flags]


@pytest.mark.parametrize("option", FOREIGN)
def test_an_option_of_another_server_is_none_of_ours_and_what_is_named_instead_is(option: str) -> None:
    assert option not in OURS
    assert set(re.findall(r"--[a-z-]+", FOREIGN[option])) <= {*OURS, "--help"}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("--port", "Write --bind 127.0.0.1:PORT."),
        ("--host=0.0.0.0", "Write --bind HOST:8000."),
        ("--noreload", "Write --no-reload."),
        ("--wokers=3", "Did you mean --workers?"),
        ("--keyfle", "Did you mean --keyfile?"),
        ("--allowed", "Did you mean --allowed-host?"),
        ("--xyzzy", ""),
        ("-x", ""),
    ],
)
def test_the_closest_option_is_named(written: str, said: str) -> None:
    assert hint(written, OURS) == said


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("WORKERS", "workers"),
        ("Wokers", "workers"),
        ("pid", "pidfile"),
        ("access_logfile", "accesslog"),
        ("log_level", "loglevel"),
        ("silence_check", "silenced_checks"),
        ("open", "open_browser"),
    ],
)
def test_the_name_of_a_setting_is_found_whatever_its_case_and_by_its_option(written: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f'is no setting; did you mean "{meant}"[?]'):
        resolve([layer_from_mapping(FILE, {written: 1}, "{} in serve.toml".format)])
