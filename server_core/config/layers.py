"""Knows which of several values of a setting counts and makes Settings of them; does not know who reads the layers.

Values in layers are raw, as they were written, so that a layer can be handed to another interpreter as JSON and so that
one judge, the kind of the setting, has the only say about them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from server_core.config.rules import RULES
from server_core.config.schema import SECTIONS, SETTINGS, Setting, no_such_setting
from server_core.config.values import HIDDEN, quote
from server_core.errors import ConfigError
from server_core.settings import Settings

FRAMEWORK, FILE, ENVIRONMENT, COMMAND_LINE = "framework", "file", "environment", "command line"

PRECEDENCE = (FRAMEWORK, FILE, ENVIRONMENT, COMMAND_LINE)
"""The names of layers, lowest first.  Below all of them are the defaults, which are no layer."""


@dataclass(frozen=True)
class Given:
    """A raw value that somebody wrote, and where, in words for a person: "--workers", "workers in serve.toml".

    With ``only_in`` it counts in that profile alone.
    """

    value: object
    origin: str
    only_in: str = ""


@dataclass(frozen=True)
class Layer:
    """Values of one source, by name of the setting; ``name`` is one of PRECEDENCE."""

    name: str
    values: Mapping[str, Given]


@dataclass(frozen=True)
class Resolved:
    """What the server runs with, and the origin of each setting by its name."""

    settings: Settings
    origins: Mapping[str, str]


def layer_from_mapping(name: str, values: Mapping[str, object], origin: Callable[[str], str]) -> Layer:
    """A layer of raw values by setting; ``origin`` makes the origin of each of its name.

    >>> layer_from_mapping(FRAMEWORK, {"workers": 4}, 'SERVE["{}"] in mysite.settings'.format).values["workers"].origin
    'SERVE["workers"] in mysite.settings'
    """
    return Layer(name, {key: Given(value, origin(key)) for key, value in values.items()})


def resolve(layers: Iterable[Layer]) -> Resolved:
    """Judge all values of all layers and let the highest layer win, whatever the order in which they are given.

    Of two layers with the same name the later wins.  Raises ConfigError for the first name that is no setting, value
    that is wrong (in a lower layer too: it would surprise on another day) or pair of settings that contradict.
    """
    layers = sorted(layers, key=lambda layer: PRECEDENCE.index(layer.name))
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    profile = _profile(layers)
    for layer in layers:
        for name, given in layer.values.items():
            setting = SETTINGS.get(name)
            if setting is None:
                raise no_such_setting(given.origin, name)
            value = _judge(setting, given)
            if given.only_in in ("", profile):
                values[name], origins[name] = value, given.origin
    for name, setting in SETTINGS.items():
        if name not in values:
            values[name], origins[name] = setting.default()

    settings = Settings(
        **{
            section.name: section.type(**{setting.name: values[setting.name] for setting in section.settings})
            for section in SECTIONS
        }
    )
    for rule in RULES:
        settings = rule(settings, origins)
    return Resolved(settings, origins)


def _profile(layers: Iterable[Layer]) -> object:
    """The profile that counts; what other settings are may depend on it."""
    said = [layer.values["profile"] for layer in layers if "profile" in layer.values]
    return _judge(SETTINGS["profile"], said[-1]) if said else SETTINGS["profile"].default()[0]


def _judge(setting: Setting, given: Given) -> object:
    try:
        return setting.kind.parse(given.value)
    except ValueError as wrong:
        value = given.value
        shown = quote(tuple(value) if setting.kind.many and isinstance(value, list) else value)
        if setting.kind.secret:
            shown = HIDDEN
        raise ConfigError(f"{setting.name}: {shown} ({given.origin}) {wrong}.")


def to_json(layers: Iterable[Layer]) -> str:
    """Layers as text for ``from_json``; raises ConfigError for a value that is neither text, number, list nor table."""
    return json.dumps(
        [
            {"name": layer.name, "values": {name: _portable(name, given) for name, given in layer.values.items()}}
            for layer in layers
        ]
    )


def _portable(name: str, given: Given) -> list[object]:
    # A pathlib.Path is the one native value that is no JSON and yet right for some settings.
    value = os.fspath(given.value) if isinstance(given.value, os.PathLike) else given.value
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise ConfigError(f"{name}: {quote(value)} ({given.origin}) is no value that a setting can have.")
    return [value, given.origin, given.only_in]


def from_json(text: str) -> list[Layer]:
    """The layers that ``to_json`` made the text of."""
    return [
        Layer(layer["name"], {name: Given(*given) for name, given in layer["values"].items()})
        for layer in json.loads(text)
    ]
