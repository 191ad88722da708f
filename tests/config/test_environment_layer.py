"""Knows which variables are settings; the real environment is not read."""

from __future__ import annotations

import pytest

from server_core.config.environment import environment_layer, refuse_unknown_variables
from server_core.config.layers import ENVIRONMENT, Given, resolve
from server_core.config.schema import SETTINGS
from server_core.errors import ConfigError


def test_every_setting_has_a_variable() -> None:
    environ = {f"SERVE_{name.upper()}": "x" for name in SETTINGS}
    layer = environment_layer(environ)
    assert layer.name == ENVIRONMENT
    assert layer.values == {name: Given("x", f"SERVE_{name.upper()}") for name in SETTINGS}


def test_other_variables_are_none_of_our_business() -> None:
    assert environment_layer({"PATH": "/bin", "SERVER_NAME": "x", "MY_SERVE_WORKERS": "1", "TIMEOUT": "5"}).values == {}


def test_a_variable_that_is_no_setting_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError) as caught:
        environment_layer({"SERVE_WORKRES": "4"})
    assert str(caught.value) == (
        'SERVE_WORKRES is no setting; did you mean "SERVE_WORKERS"? All settings: prefork-serve --help'
    )


def test_a_variable_that_is_called_like_an_option_is_refused_with_the_setting_of_that_option() -> None:
    with pytest.raises(ConfigError, match='SERVE_PID is no setting; did you mean "SERVE_PIDFILE"'):
        environment_layer({"SERVE_PID": "x"})


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("WEB_CONCURRENCY", "3", "workers", "3"),
        ("PORT", "5000", "bind", "0.0.0.0:5000"),
        ("FORWARDED_ALLOW_IPS", "*", "forwarded_allow_ips", "*"),
    ],
)
def test_what_platforms_set_counts_below_our_own_variable(variable: str, text: str, name: str, value: str) -> None:
    assert environment_layer({variable: text}).values == {name: Given(value, variable)}
    own = f"SERVE_{name.upper()}"
    assert environment_layer({variable: text, own: "x"}).values == {name: Given("x", own)}
    assert environment_layer({own: "x", variable: text}).values == {name: Given("x", own)}


def test_the_port_of_the_platform_becomes_an_address() -> None:
    resolved = resolve([environment_layer({"PORT": "5000"})])
    assert [str(binding) for binding in resolved.settings.sockets.bind] == ["0.0.0.0:5000"]
    assert resolved.origins["bind"] == "PORT"


def test_an_empty_variable_of_the_platform_is_ignored_but_our_own_is_judged() -> None:
    assert environment_layer({"WEB_CONCURRENCY": "", "PORT": ""}).values == {}
    with pytest.raises(ConfigError, match="SERVE_WORKERS"):
        resolve([environment_layer({"SERVE_WORKERS": ""})])


SERVICE_LINKS = {
    "SERVE_SERVICE_HOST": "10.0.0.11",
    "SERVE_SERVICE_PORT": "80",
    "SERVE_SERVICE_PORT_HTTP": "80",
    "SERVE_PORT": "tcp://10.0.0.11:80",
    "SERVE_PORT_80_TCP": "tcp://10.0.0.11:80",
    "SERVE_PORT_80_TCP_PROTO": "tcp",
    "SERVE_PORT_80_TCP_PORT": "80",
    "SERVE_PORT_80_TCP_ADDR": "10.0.0.11",
}


@pytest.mark.parametrize("service", ["SERVE_", "SERVE_API_"])
def test_the_links_to_a_kubernetes_service_called_serve_are_no_misspelt_settings(service: str) -> None:
    links = {name.replace("SERVE_", service, 1): value for name, value in SERVICE_LINKS.items()}
    assert environment_layer(links).values == {}


@pytest.mark.parametrize("name", ["SERVE_PORT", "SERVE_PORT_80", "SERVE_HOST", "SERVE_SERVICE", "SERVE_"])
def test_what_only_resembles_a_link_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is no setting"):
        environment_layer({name: "8000"})


def test_no_setting_could_be_taken_for_a_link() -> None:
    for name in SETTINGS:
        with pytest.raises(ConfigError):
            refuse_unknown_variables({f"SERVE_{name.upper()}": "tcp://10.0.0.11:80"}, "SERVE_", [])
