"""Knows how the settings become options of a click command, and its parameters a layer; judges no value."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from server_core.config.environment import refuse_unknown_variables
from server_core.config.hints import hint
from server_core.config.layers import COMMAND_LINE, ENVIRONMENT, FRAMEWORK, Given, Layer
from server_core.config.manual import default_in_help
from server_core.config.schema import HELPERS, SECTIONS, SETTINGS, Helper, Setting

Command = TypeVar("Command", bound="Callable[..., Any] | click.Command")


class _Raw(click.types.StringParamType):
    """Text that is passed on as it is: the kind of the setting is its only judge."""

    # click splits the environment's text for repeatable options at white space, which may be part of a file name.
    envvar_list_splitter = ","


class SettingsCommand(click.Command):
    """A command whose help shows the options of each section under its title, and that knows those of other servers."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What click does; what it says of an unknown option names the one to write."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            known = [option for each in self.get_params(ctx) for option in (*each.opts, *each.secondary_opts)]
            message = f"No such option {error.option_name}. {hint(error.option_name, known)}"
            raise click.NoSuchOption(error.option_name, message.rstrip(), ctx=ctx) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help of all options: first the command's own, then those of the sections in their order."""
        titles = {"": "Options"} | {section.name: section.title for section in SECTIONS}
        records: dict[str, list[tuple[str, str]]] = {section: [] for section in titles}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record:
                setting = SETTINGS.get(parameter.name or "")
                records[setting.section if setting else ""].append(record)
        for section, lines in records.items():
            if lines:
                with formatter.section(titles[section]):
                    formatter.write_dl(lines)


def settings_options(command: Command) -> Command:
    """Decorate a click command, or a function that becomes one, with an option for each setting and each helper.

    The function gets them as keyword arguments by name of the setting; ``layers_from_click`` reads them better.
    """
    # Decorators add parameters from the bottom up.
    for setting in reversed(list(SETTINGS.values())):
        if setting.flags:
            command = _option(setting)(command)
    for helper in reversed(HELPERS):
        command = _helper_option(helper)(command)
    return command


def _option(setting: Setting) -> Callable[[Command], Command]:
    help = f"{setting.help}  [default: {default_in_help(setting)}]"
    if setting.kind.toggle:
        *others, flag = setting.flags
        return click.option(*others, f"{flag}/{setting.off_flag}", setting.name, default=None, help=help)
    return click.option(
        *setting.flags,
        setting.name,
        type=_Raw(),
        multiple=setting.kind.many,
        default=None,
        metavar=setting.metavar,
        help=help,
    )


def _helper_option(helper: Helper) -> Callable[[Command], Command]:
    if helper.metavar:
        return click.option(
            *helper.flags, helper.name, type=_Raw(), default=None, metavar=helper.metavar, help=helper.help
        )
    return click.option(*helper.flags, helper.name, is_flag=True, help=helper.help)


def layers_from_click(ctx: click.Context) -> list[Layer]:
    """The settings that a click command was called with, as layers by where click found them.

    An argument of the command that is called wsgi_app counts too.  Raises ConfigError for a variable that begins with
    click's own prefix for the command (FLASK_SERVE_ under Flask) and is none of its options.
    """
    prefix = f"{ctx.auto_envvar_prefix}_" if ctx.auto_envvar_prefix else ""
    if prefix:
        refuse_unknown_variables(os.environ, prefix, [parameter.name or "" for parameter in ctx.command.params])

    from_variables: dict[str, Given] = {}
    from_command_line: dict[str, Given] = {}
    from_defaults: dict[str, Given] = {}
    for name, value in ctx.params.items():
        setting = SETTINGS.get(name)
        source = ctx.get_parameter_source(name)
        if setting is None:
            continue
        if source is ParameterSource.COMMANDLINE:
            from_command_line[name] = Given(value, setting.long_flag(value))
        elif source is ParameterSource.ENVIRONMENT:
            from_variables[name] = Given(value, prefix + name.upper())
        elif source is ParameterSource.DEFAULT_MAP:
            from_defaults[name] = Given(value, f"{name} in click's default_map")
    layers = [(FRAMEWORK, from_defaults), (ENVIRONMENT, from_variables), (COMMAND_LINE, from_command_line)]
    return [Layer(name, values) for name, values in layers if values]
