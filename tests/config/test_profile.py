"""Knows what the profile development implies, and which choices it leaves alone; reads no file and starts nothing."""

from __future__ import annotations

import pytest

from server_core.config.layers import COMMAND_LINE, ENVIRONMENT, FILE, FRAMEWORK, Resolved, layer_from_mapping, resolve
from server_core.config.rules import DEVELOPMENT, is_default
from server_core.config.schema import SETTINGS
from server_core.errors import ConfigError
from server_core.settings import ACCESS_LOG_FORMAT

LAYERS = (FRAMEWORK, FILE, ENVIRONMENT, COMMAND_LINE)


def developing(layer: str = COMMAND_LINE, **values: object) -> Resolved:
    """With the profile from a framework's debug mode, and other values from ``layer``."""
    debug = layer_from_mapping(FRAMEWORK, {"profile": "development"}, "DEBUG in mysite.settings {}".format)
    return resolve([debug, layer_from_mapping(layer, values, f"{{}} of {layer}".format)])


def value_of(resolved: Resolved, name: str) -> object:
    return getattr(getattr(resolved.settings, SETTINGS[name].section), name)


def test_development_implies_what_the_manual_says_and_names_itself_as_the_origin() -> None:
    resolved = developing()
    assert {name: value_of(resolved, name) for name in DEVELOPMENT} == {
        "reload": True,
        "workers": 1,
        "threads": 8,
        "accesslog": "-",
        "access_log_format": "dev",
        "graceful_timeout": 3.0,
    }
    for name in DEVELOPMENT:
        assert resolved.origins[name] == "profile development (DEBUG in mysite.settings profile)"
    assert (value_of(resolved, "worker_class"), resolved.origins["worker_class"]) == ("gthread", "threads > 1")


def test_production_implies_nothing() -> None:
    resolved = resolve([layer_from_mapping(COMMAND_LINE, {"profile": "production"}, "--profile".format)])
    for name in DEVELOPMENT:
        assert value_of(resolved, name) == SETTINGS[name].default()[0]
        assert is_default(resolved.origins[name])


def test_a_higher_layer_takes_the_profile_back() -> None:
    resolved = developing(profile="production")
    assert not resolved.settings.profile.develops
    assert not resolved.settings.development.reload


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("name", "value"),
    [("reload", False), ("workers", 4), ("threads", 2), ("accesslog", "access.log"), ("access_log_format", "%(h)s")],
)
def test_what_somebody_has_said_wins_wherever_it_was_said(layer: str, name: str, value: object) -> None:
    if layer == FRAMEWORK:
        resolved = resolve([layer_from_mapping(FRAMEWORK, {"profile": "development", name: value}, "{} of me".format)])
        origin = f"{name} of me"
    else:
        resolved, origin = developing(layer, **{name: value}), f"{name} of {layer}"
    assert (value_of(resolved, name), resolved.origins[name]) == (value, origin)
    others = set(DEVELOPMENT) - {name} - ({"access_log_format"} if name == "accesslog" else set())
    for other in others:
        assert value_of(resolved, other) == DEVELOPMENT[other]


def test_more_workers_keep_their_threads() -> None:
    workers = developing(workers=4).settings.workers
    assert (workers.workers, workers.threads, workers.worker_class) == (4, 8, "gthread")


def test_who_chooses_sync_has_chosen_one_thread() -> None:
    workers = developing(worker_class="sync").settings.workers
    assert (workers.threads, workers.worker_class) == (1, "sync")


def test_who_chooses_gthread_has_not_chosen_one_thread() -> None:
    workers = developing(worker_class="gthread").settings.workers
    assert (workers.threads, workers.worker_class) == (8, "gthread")


def test_a_class_that_does_not_exist_is_not_given_threads_to_complain_of() -> None:
    assert developing(worker_class="gthraed").settings.workers.threads == 1


def test_sync_with_threads_of_ones_own_is_a_contradiction_in_development_too() -> None:
    with pytest.raises(ConfigError, match=r"worker_class sync \(worker_class of command line\) runs one request"):
        developing(worker_class="sync", threads=2)


def test_one_thread_of_ones_own_means_sync() -> None:
    workers = developing(threads=1).settings.workers
    assert (workers.threads, workers.worker_class) == (1, "sync")


def test_an_access_log_in_a_file_keeps_the_format_that_programs_read() -> None:
    resolved = developing(accesslog="access.log")
    assert resolved.settings.logs.access_log_format == ACCESS_LOG_FORMAT
    assert resolved.origins["access_log_format"] == "default"


def test_an_access_log_that_was_asked_for_on_standard_output_is_for_people() -> None:
    assert developing(accesslog="-").settings.logs.access_log_format == "dev"


def test_the_access_log_can_be_switched_off() -> None:
    resolved = developing(FRAMEWORK, profile="development", accesslog=None)
    assert resolved.settings.logs.accesslog is None


@pytest.mark.parametrize("name", DEVELOPMENT)
def test_what_is_implied_is_a_right_value_of_its_setting(name: str) -> None:
    assert SETTINGS[name].kind.parse(DEVELOPMENT[name]) == DEVELOPMENT[name]
