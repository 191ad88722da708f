"""Knows how to walk over all declared settings; does not know their values or where values come from."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from server_core.config.declare import DECLARATION, Declaration
from server_core.config.values import Kind
from server_core.errors import ConfigError
from server_core.settings import Settings

ENVIRONMENT_PREFIX = "SERVE_"


@dataclass(frozen=True)
class Setting:
    """One setting, as the command lines, the manual and the layers see it.

    ``section`` is the attribute of Settings that holds it.  ``variable`` is its name in the environment,
    ``platform_variables`` are further ones, each with the raw value that it means (``{}`` is its text).  ``off_flag``
    is the second of a pair of options and empty for settings that are not true or false.
    """

    name: str
    section: str
    kind: Kind[Any]
    help: str
    flags: tuple[str, ...]
    off_flag: str
    metavar: str
    variable: str
    platform_variables: Mapping[str, str]
    default_text: str
    raw_default: object
    mask: Callable[[Any], Any] | None

    def default(self) -> tuple[Any, str]:
        """The value if nobody gives one, and its origin: "default", or with the reason where it was computed."""
        if callable(self.raw_default):
            value, reason = self.raw_default()
            return value, f"default ({reason})"
        return self.kind.parse(self.raw_default), "default"

    def long_flag(self, value: object = None) -> str:
        """The option to name in a message, as it is declared; for a pair of options the one that means ``value``."""
        if value is False and self.off_flag:
            return self.off_flag
        return next((flag for flag in self.flags if flag.startswith("--")), f"the argument {self.metavar}")


@dataclass(frozen=True)
class Section:
    """A chapter of the manual: ``name`` is the attribute of Settings, ``text`` the docstring of the section."""

    name: str
    title: str
    text: str
    type: Callable[..., Any]
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Helper:
    """An option that is no setting: it says where settings come from, or what to do with them."""

    name: str
    flags: tuple[str, ...]
    help: str
    metavar: str = ""


HELPERS = (
    Helper(
        "config",
        ("-c", "--config"),
        "Read settings from this file: TOML, or Python with one assignment for each setting.  Without it, the table "
        "[tool.prefork-serve] of ./pyproject.toml is read if there is one.",
        "FILE",
    ),
    Helper("check_config", ("--check-config",), "Check all settings and load the application, then exit."),
    Helper("show_config", ("--show-config", "--print-config"), "Show every setting and where it is from, then exit."),
)


def _setting(section: str, field: dataclasses.Field[Any]) -> Setting:
    declaration: Declaration = field.metadata[DECLARATION]
    flags = declaration.flags
    if flags is None:
        flags = ("--" + field.name.replace("_", "-"),)
    return Setting(
        name=field.name,
        section=section,
        kind=declaration.kind,
        help=declaration.help,
        flags=flags,
        off_flag=flags[-1].replace("--", "--no-", 1) if declaration.kind.toggle else "",
        metavar=declaration.metavar,
        variable=ENVIRONMENT_PREFIX + field.name.upper(),
        platform_variables=declaration.env,
        default_text=declaration.default_text,
        raw_default=declaration.default,
        mask=declaration.mask,
    )


def _section(field: dataclasses.Field[Any]) -> Section:
    section: Any = field.default_factory
    return Section(
        name=field.name,
        title=section.__name__,
        text=inspect.cleandoc(section.__doc__ or ""),  # python -OO leaves no docstrings
        type=section,
        settings=tuple(_setting(field.name, inner) for inner in dataclasses.fields(section)),
    )


SECTIONS: tuple[Section, ...] = tuple(_section(field) for field in dataclasses.fields(Settings))

SETTINGS: Mapping[str, Setting] = {setting.name: setting for section in SECTIONS for setting in section.settings}
"""All settings by name, in the order of the manual."""


def closest(name: str, known: Iterable[str]) -> str:
    """Which of the ``known`` names is meant by one that is none of them; "" when nobody can tell."""
    known = list(known)
    begun = sorted((each for each in known if len(name) > 2 and each.startswith(name)), key=len)
    return next(iter(begun or difflib.get_close_matches(name, known, n=1)), "")


def no_such_setting(
    origin: str, name: str, known: Iterable[str] = SETTINGS, write: Callable[[str], str] = str
) -> ConfigError:
    """The refusal of ``name``, which is written at ``origin`` and not among the ``known`` names of settings; ``write``
    makes of such a name what has to be written there."""
    name = name.lower()
    # Many know a setting by its option: pid is pidfile.
    option = "--" + name.replace("_", "-")
    meant = next((each.name for each in SETTINGS.values() if option in each.flags), "") or closest(name, known)
    question = f'; did you mean "{write(meant)}"?' if meant else "."
    return ConfigError(f"{origin} is no setting{question} All settings: prefork-serve --help")
