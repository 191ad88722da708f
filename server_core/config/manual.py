"""Knows how the settings are described to people, as a reference page and as a list of what is in force; judges none.

``python -m server_core.config.manual`` prints the page, which is kept as docs/reference/settings.md.
"""

from __future__ import annotations

from typing import Any

from server_core.config.layers import Resolved
from server_core.config.schema import SECTIONS, SETTINGS, Section, Setting
from server_core.config.values import HIDDEN

_HEAD = """\
# Settings

<!-- Drawn by `make docs` from the declarations in the code: change those. -->

## Where settings come from

A setting has one name in files, in dicts and, in capitals, in the environment.  Its options on the command line stand
below with it: most are `--` and the name with dashes, some are Gunicorn's (`accesslog` is `--access-logfile`).
`workers` is:

| where | how it is written |
|---|---|
| command line | `-w 4` or `--workers 4`, for `prefork-serve`, `manage.py serve` and `flask serve` alike |
| environment | `SERVE_WORKERS=4`; for `flask serve` also `FLASK_SERVE_WORKERS=4` |
| file, named by `-c FILE` | `workers = 4` in `FILE`, which is TOML (`.toml`) or Python (`.py`) |
| `pyproject.toml` | `workers = 4` in the table `[tool.prefork-serve]` |
| Django settings | `SERVE = {"workers": 4}` |
| Flask config | `app.config["SERVE"] = {"workers": 4}` or `SERVE_WORKERS = 4` |

If more than one place has a value, this is the order, the last one wins: **default, framework (Django or Flask), file,
environment, command line**.  `--show-config` prints every setting with its value and where it is from.

A name that is no setting is an error, and so is a wrong value, even where another place overrides it.  In a Python file
imports, functions, classes and names with a leading underscore are left alone.  In the environment every variable that
begins with `SERVE_` has to be a setting, except those that Kubernetes makes for a service called `serve`.

## How values are written

- A **duration** is a number of seconds, or a number with a unit: `30`, `30s`, `1m30s`, `500ms`, `2h`.
- A **size** is a number of bytes, or a number with a unit: `65536`, `64K`, `10MB`, `1GiB`.  1K is 1024 bytes.
- **True or false** is also spelt `1` and `0`, `yes` and `no`, `on` and `off`.  On the command line it is a pair of
  options.
- A **file mode** is octal: `660` or `0o660` as text.  As a number in a file it needs the `0o`.
- A **list** has commas between its values, or is a list in a file; on the command line the option may be repeated.
"""


def settings_page() -> str:
    """The reference page of all settings, in Markdown."""
    return "\n".join([_HEAD, *(_chapter(section) for section in SECTIONS)])


def _chapter(section: Section) -> str:
    return "\n".join([f"## {section.title}\n\n{section.text}\n", *(_entry(setting) for setting in section.settings)])


def _entry(setting: Setting) -> str:
    lines = [
        f"- command line: {_flags(setting)}",
        f"- environment: {', '.join(f'`{name}`' for name in (setting.variable, *setting.platform_variables))}",
        f"- value: {setting.kind.name}",
        f"- default: {_default(setting)}",
    ]
    text = setting.help.replace("*", "\\*")  # which would mean emphasis
    return f"### `{setting.name}`\n\n{text}\n\n" + "\n".join(lines) + "\n"


def _flags(setting: Setting) -> str:
    if not setting.flags:
        return f"the argument `{setting.metavar}`"
    if setting.off_flag:
        return ", ".join(f"`{flag}`" for flag in (*setting.flags, setting.off_flag))
    return ", ".join(f"`{flag} {setting.metavar}`" for flag in setting.flags)


def _default(setting: Setting) -> str:
    return setting.default_text or f"`{setting.kind.show(setting.default()[0])}`"


def default_in_help(setting: Setting) -> str:
    """The default as the help texts of the command lines show it, without the marks of the manual's page."""
    return _default(setting).replace("`", "")


def show_config(resolved: Resolved) -> str:
    """A line for each setting: its name, its value and where that is from, in columns."""
    rows = [(name, _shown(setting, resolved), resolved.origins[name]) for name, setting in SETTINGS.items()]
    # The longest values, such as a log format, may run over: a column as wide as they are would tear all lines apart.
    widths = [max(len(name) for name, _, _ in rows), max(len(value) for _, value, _ in rows if len(value) <= 40)]
    return "\n".join(f"{name:{widths[0]}}  {value:{widths[1]}}  {origin}" for name, value, origin in rows) + "\n"


def _shown(setting: Setting, resolved: Resolved) -> str:
    value: Any = getattr(getattr(resolved.settings, setting.section), setting.name)
    if setting.kind.secret and value:
        return HIDDEN
    return setting.kind.show(setting.mask(value) if setting.mask else value) or "(none)"
