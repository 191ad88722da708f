"""Knows which value wins, what is refused and in which words; reads no file and no environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_core.config.layers import (
    COMMAND_LINE,
    ENVIRONMENT,
    FILE,
    FRAMEWORK,
    PRECEDENCE,
    Given,
    Layer,
    Resolved,
    from_json,
    layer_from_mapping,
    resolve,
    to_json,
)
from server_core.errors import ConfigError
from server_core.settings import Settings


def layer(name: str, **values: object) -> Layer:
    return layer_from_mapping(name, values, lambda key: f"{key} of {name}")


def from_command_line(**values: object) -> Resolved:
    return resolve([layer_from_mapping(COMMAND_LINE, values, lambda key: f"--{key.replace('_', '-')}")])


def refusal(*layers: Layer) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(layers)
    return str(caught.value)


def test_without_layers_everything_is_default() -> None:
    resolved = resolve([])
    assert resolved.settings == Settings()
    assert resolved.origins["timeout"] == "default"
    assert resolved.origins["workers"].startswith("default (")


def test_a_higher_layer_wins_in_whatever_order_the_layers_come() -> None:
    layers = [layer(name, threads=1, backlog=number) for number, name in enumerate(PRECEDENCE, 1)]
    for number in range(1, 5):
        for given_layers in (layers[:number], layers[:number][::-1]):
            resolved = resolve(given_layers)
            assert resolved.settings.sockets.backlog == number
            assert resolved.origins["backlog"] == f"backlog of {PRECEDENCE[number - 1]}"
    assert PRECEDENCE == (FRAMEWORK, FILE, ENVIRONMENT, COMMAND_LINE)


def test_of_two_layers_with_the_same_name_the_later_wins() -> None:
    assert resolve([layer(FILE, backlog=1), layer(FILE, backlog=2)]).settings.sockets.backlog == 2


def test_layers_add_up_when_they_have_different_settings() -> None:
    resolved = resolve([layer(FILE, backlog=5), layer(COMMAND_LINE, workers="3")])
    assert resolved.settings.sockets.backlog == 5
    assert resolved.settings.workers.workers == 3
    assert resolved.origins["workers"] == "workers of command line"


def test_an_unknown_name_is_refused_with_the_nearest_name() -> None:
    assert refusal(Layer(FILE, {"workres": Given(4, "workres in serve.toml")})) == (
        'workres in serve.toml is no setting; did you mean "workers"? All settings: prefork-serve --help'
    )
    assert refusal(layer(FRAMEWORK, xyzzy=1)) == (
        "xyzzy of framework is no setting. All settings: prefork-serve --help"
    )


def test_a_wrong_value_is_refused_with_name_value_origin_and_what_is_right() -> None:
    assert refusal(Layer(ENVIRONMENT, {"timeout": Given("soon", "SERVE_TIMEOUT")})) == (
        'timeout: "soon" (SERVE_TIMEOUT) is not a duration: write 30, 30s, 1m30s or 500ms.'
    )


def test_a_wrong_umask_is_not_told_to_be_the_mode_of_a_socket() -> None:
    assert refusal(layer(FILE, umask="8")).endswith('is not a file mode: write "027" as text or 0o027 as a number.')
    assert refusal(layer(FILE, socket_mode="8")).endswith('write "660" as text or 0o660 as a number.')


@pytest.mark.parametrize("kind", [list, tuple])
def test_of_a_list_the_element_that_is_wrong_is_told(kind: type) -> None:
    one = layer(FILE, bind=kind(["127.0.0.1:99999"]))
    with pytest.raises(ConfigError, match=r'^bind: "127.0.0.1:99999" \(.*\) has a port above 65535'):
        resolve([one])
    two = layer(FILE, bind=kind(["a:80", "b:99999"]))
    with pytest.raises(ConfigError, match=r'^bind: "a:80", "b:99999" \(.*\) holds "b:99999", which has a port above'):
        resolve([two])
    with pytest.raises(ConfigError, match=r"^workers: \['4'\] \(.*\) is not a whole number"):
        resolve([layer(FILE, workers=["4"])])


def test_a_wrong_value_is_refused_even_where_a_higher_layer_overrides_it() -> None:
    assert "4x" in refusal(layer(FILE, workers="4x"), layer(COMMAND_LINE, workers="4"))


def test_only_the_first_fault_is_reported() -> None:
    assert refusal(layer(COMMAND_LINE, workers="x"), layer(FILE, timeout="x", nonsense=1)).startswith("timeout:")


def test_threads_without_a_choice_of_class_mean_gthread() -> None:
    resolved = from_command_line(threads=4)
    assert resolved.settings.workers.worker_class == "gthread"
    assert resolved.settings.workers.threads == 4
    assert resolved.origins["worker_class"] == "threads > 1"


@pytest.mark.parametrize("profile", ["production", "development"])
def test_a_value_may_count_in_one_profile_alone(profile: str) -> None:
    only = Layer(FRAMEWORK, {"workers": Given(7, "THEIRS", "production"), "profile": Given("development", "DEBUG")})
    resolved = resolve(from_json(to_json([only, layer(COMMAND_LINE, profile=profile)])))
    assert (resolved.origins["workers"] == "THEIRS") is (profile == "production")
    assert (resolved.settings.workers.workers == 7) is (profile == "production")
    assert resolve([only]).settings.workers.workers == 1, "the highest layer that says it decides, this one too"
    wrong = Layer(FRAMEWORK, {"workers": Given("many", "THEIRS", "production")})
    assert refusal(wrong, layer(COMMAND_LINE, profile="development")).startswith('workers: "many" (THEIRS)')


@pytest.mark.parametrize(("threads", "chosen"), [(1, "sync"), (4, "gthread"), (4, "gevent")])
def test_a_chosen_class_is_left_alone_where_it_fits(threads: int, chosen: str) -> None:
    resolved = from_command_line(threads=threads, worker_class=chosen)
    assert resolved.settings.workers.worker_class == chosen
    assert resolved.origins["worker_class"] == "--worker-class"


def test_one_thread_leaves_the_class_at_its_default() -> None:
    resolved = from_command_line(threads=1)
    assert resolved.settings.workers.worker_class == "sync"
    assert resolved.origins["worker_class"] == "default"


def test_choosing_sync_with_threads_is_refused_with_both_origins_and_both_remedies() -> None:
    message = refusal(layer(FILE, worker_class="sync"), layer(COMMAND_LINE, threads=4))
    assert message == (
        "worker_class sync (worker_class of file) runs one request at a time, but threads is 4 "
        "(threads of command line): choose worker_class gthread or threads 1."
    )


def test_a_jitter_without_a_limit_is_refused() -> None:
    assert "set max_requests too" in refusal(layer(FILE, max_requests_jitter=50))
    resolved = from_command_line(max_requests=1000, max_requests_jitter=50)
    assert resolved.settings.workers.max_requests_jitter == 50


def test_hops_are_counted_only_where_somebody_is_believed() -> None:
    assert "name the nearest proxy there" in refusal(layer(FILE, forwarded_hops=1))
    assert from_command_line(forwarded_hops=1, forwarded_allow_ips="*").settings.proxy.forwarded_hops == 1


def test_a_pid_file_that_looks_like_a_port_is_refused() -> None:
    assert 'pidfile: "8504" (pidfile of file) looks like a port' in refusal(layer(FILE, pidfile="8504"))
    assert from_command_line(pidfile="./8504").settings.process.pidfile == "./8504"


def test_the_proxy_protocol_needs_a_version_and_somebody_who_speaks_it() -> None:
    assert "name the proxies that speak it" in refusal(layer(FILE, proxy_protocol="v1"))
    assert "set proxy_protocol to v1, v2 or any" in refusal(layer(FILE, proxy_allow_ips="10.0.0.1"))
    resolved = from_command_line(proxy_protocol="v2", proxy_allow_ips="*")
    assert resolved.settings.proxy.proxy_protocol == "v2"


@pytest.mark.parametrize("name", ["limit_request_line", "limit_request_field_size"])
def test_a_part_of_the_head_may_not_be_larger_than_the_head(name: str) -> None:
    message = refusal(layer(FILE, **{name: "16KB", "limit_request_head": "8KB"}))
    assert f"{name} is 16384 ({name} of file)" in message
    assert "limit_request_head of file" in message
    equal: dict[str, Any] = {
        "limit_request_line": "8KB",
        "limit_request_field_size": "8KB",
        "limit_request_head": "8KB",
    }
    assert resolve([layer(FILE, **equal)]).settings.limits.limit_request_head == 8192


def test_layers_survive_the_way_to_another_interpreter() -> None:
    layers = [
        layer(
            FRAMEWORK,
            workers=4,
            bind=["a:1", "b:2"],
            reload=True,
            pidfile=None,
            timeout=1.5,
            proc_name="gr\u00fc\udcff",
        ),
        layer(COMMAND_LINE, bind="c:3"),
    ]
    assert from_json(to_json(layers)) == layers


def test_a_path_and_a_tuple_arrive_as_what_they_mean() -> None:
    layers = [layer(FILE, pidfile=Path("run/app.pid"), bind=("a:1",))]
    assert resolve(from_json(to_json(layers))) == resolve(layers)


@pytest.mark.parametrize("value", [{1}, b"x", float("nan"), [object()]])
def test_a_value_that_cannot_be_handed_over_is_refused_by_name_and_origin(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^workers: .* \(workers of file\) is no value that a setting can have"):
        to_json([layer(FILE, workers=value)])


_json = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@settings(deadline=None)
@given(st.dictionaries(st.text(), _json | st.lists(_json)))
def test_json_hands_over_any_raw_value_unchanged(values: dict[str, object]) -> None:
    layers = [layer_from_mapping(FILE, values, "{} in x".format)]
    assert from_json(to_json(layers)) == layers
