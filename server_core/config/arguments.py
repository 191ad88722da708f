"""Knows how the settings become options of an argparse parser, and its results a layer; judges no value."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

from server_core.config.hints import hint
from server_core.config.layers import COMMAND_LINE, Given, Layer
from server_core.config.manual import default_in_help
from server_core.config.schema import HELPERS, SECTIONS, SETTINGS, Setting


class _Off(argparse.Action):
    """The second of a pair of options: it stores False under the name of the first.

    Its own destination stays empty on a command line, so that of two contradicting options the last wins.  Django's
    call_command fills it: it hands ``no_preload=True`` over under the destination of the option that it names.
    """

    def __init__(self, option_strings: list[str], dest: str, const: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, const=const, default=None, help=help)

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: object) -> None:
        setattr(namespace, self.const, False)


def add_settings_arguments(parser: argparse.ArgumentParser, skip: Collection[str] = ()) -> None:
    """Add an option for each setting and each helper, in groups by section; ``skip`` names those to leave out."""
    for helper in HELPERS:
        if helper.name not in skip:
            kind: dict[str, Any] = {"metavar": helper.metavar} if helper.metavar else {"action": "store_true"}
            parser.add_argument(*helper.flags, dest=helper.name, help=helper.help, **kind)
    for section in SECTIONS:
        group = parser.add_argument_group(section.title, _escape(section.text))
        for setting in section.settings:
            if setting.flags and setting.name not in skip:
                _add(group, setting)
    _add_hints(parser)


def _add_hints(parser: argparse.ArgumentParser) -> None:
    """What the parser says of unknown options is to name those to write; it may be of a class that is not ours."""
    refuse = parser.error

    def error(message: str) -> NoReturn:
        known = parser._option_string_actions
        # Its words are in the language of the user: options can be told by their form.
        options = [option for option in re.findall(r"(?<!\S)--?[A-Za-z0-9][\w-]*", message) if option not in known]
        hints = [found for option in options[:1] if (found := hint(option, known))]
        refuse(". ".join([message, *hints]))

    parser.error = error  # type: ignore[method-assign]


def _add(group: argparse._ActionsContainer, setting: Setting) -> None:
    help = _escape(f"{setting.help}  [default: {default_in_help(setting)}]")
    if setting.kind.toggle:
        group.add_argument(*setting.flags, dest=setting.name, action="store_const", const=True, help=help)
        off = f"Switch {setting.flags[-1]} off."
        group.add_argument(setting.off_flag, dest=_off_name(setting), action=_Off, const=setting.name, help=off)
    else:
        action = "append" if setting.kind.many else "store"
        group.add_argument(*setting.flags, dest=setting.name, action=action, metavar=setting.metavar, help=help)


def _escape(text: str) -> str:
    # argparse formats help texts with the % operator.
    return text.replace("%", "%%")


def _off_name(setting: Setting) -> str:
    return setting.off_flag.lstrip("-").replace("-", "_")


def layer_in_advance(arguments: Sequence[str]) -> tuple[Layer, str | None]:
    """What a command line says of ``boot_timeout``, and its file: needed before the command's own parser can be."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-c", "--config")
    _add(parser, SETTINGS["boot_timeout"])
    found = vars(parser.parse_known_args(arguments)[0])
    return layer_from_namespace(found), found["config"]


def layer_from_namespace(values: Mapping[str, object]) -> Layer:
    """The settings among the results of a parser, by destination; None means not given, other names are left alone.

    The values of a parser are text, those of Django's call_command may be anything that a file may hold too.
    """
    given: dict[str, Given] = {}
    for name, setting in SETTINGS.items():
        value = values.get(name)
        if value is None and setting.off_flag:
            off = values.get(_off_name(setting))
            value = None if off is None else not off
        if value is not None:
            given[name] = Given(value, setting.long_flag(value))
    return Layer(COMMAND_LINE, given)
