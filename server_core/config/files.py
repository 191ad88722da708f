"""Knows how settings are read from a TOML or Python file; does not know which of them are right."""

from __future__ import annotations
import __future__

import importlib
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from server_core.config.layers import FILE, Layer, layer_from_mapping
from server_core.config.schema import SETTINGS, no_such_setting
from server_core.errors import ConfigError

_TABLE = "tool.prefork-serve"


def file_layer(path: str | None, directory: str = ".") -> Layer:
    """The settings in the file at ``path``, or without one those in ``directory``/pyproject.toml, if it has any.

    Raises ConfigError for a file that cannot be read or understood, and for unknown names in a Python file.
    """
    if path is None:
        return _implicit_layer(Path(directory, "pyproject.toml"))
    if Path(path).name == "pyproject.toml":
        values = _project_table(_parse_toml(_read(path), path), path)
        if values is None:
            raise ConfigError(f"{path} has no table [{_TABLE}]: write the settings there, or name another file.")
        return _layer(values, path)
    if path.endswith(".toml"):
        return _layer(_parse_toml(_read(path), path), path)
    if path.endswith(".py"):
        return _layer(_run_python(_read(path), path), path)
    raise ConfigError(f"{path} is no settings file: its name must end in .toml or .py.")


def _layer(values: Mapping[str, object], path: str) -> Layer:
    return layer_from_mapping(FILE, values, lambda name: f"{name} in {path}")


def _implicit_layer(path: Path) -> Layer:
    nothing = Layer(FILE, {})
    if not path.is_file():
        return nothing
    content = _read(str(path))
    if b"prefork-serve" not in content:
        return nothing
    try:
        values = _project_table(_parse_toml(content, str(path)), str(path))
    except ConfigError:
        # Nobody asked for this file.  That it cannot be read matters only when it has settings for us.
        if f"[{_TABLE}".encode() in content:
            raise
        return nothing
    return nothing if values is None else _layer(values, str(path))


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.")


# --- TOML


def _parse_toml(content: bytes, path: str) -> dict[str, Any]:
    parse = _toml_parser()
    if parse is None:
        raise ConfigError(f'{path} is TOML, which needs tomli on Python 3.10: pip install "prefork-serve[toml]".')
    try:
        return parse(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path} is not valid TOML: line {line} is not UTF-8.")
    except ValueError as error:  # TOMLDecodeError is one, and names the line
        raise ConfigError(f"{path} is not valid TOML: {error}.")


def _toml_parser() -> Callable[[str], dict[str, Any]] | None:
    # tomllib came with Python 3.11; tomli is the same parser as a package.
    for module in ("tomllib", "tomli"):
        try:
            parse: Callable[[str], dict[str, Any]] = importlib.import_module(module).loads
        except ImportError:
            continue
        return parse
    return None


def _project_table(document: dict[str, Any], path: str) -> dict[str, Any] | None:
    tool = document.get("tool", {})
    table = tool.get("prefork-serve") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise ConfigError(f"{_TABLE} in {path} is not a table: begin it with a line [{_TABLE}].")
    return table


# --- Python


# Functions are left alone, but not these: whoever wrote one expects it to be called.
_HOOKS = frozenset(
    "on_starting on_reload when_ready pre_fork post_fork post_worker_init worker_int worker_abort pre_exec pre_request "
    "post_request child_exit worker_exit nworkers_changed on_exit ssl_context".split()
)


def _run_python(content: bytes, path: str) -> dict[str, object]:
    names: dict[str, object] = {"__name__": "__config__", "__file__": path}
    try:
        code = compile(content, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise ConfigError(f"{path}:{error.lineno or 1} is not valid Python: {error.msg}.")
    except ValueError as error:  # a null byte, before Python 3.12
        raise ConfigError(f"{path} is not valid Python: {error}.")
    try:
        exec(code, names)
    except Exception as error:
        raise ConfigError(f"{path}:{_line_of(error, path)} raises {type(error).__name__}: {error}.") from error
    for name in _HOOKS.intersection(names):
        raise ConfigError(f"{name} in {path} is one of Gunicorn's hooks, and there are no hooks here yet: remove it.")
    values = {name: value for name, value in names.items() if name in SETTINGS or not _is_private(name, value)}
    for name in values:
        if name not in SETTINGS:
            refusal = no_such_setting(f"{name} in {path}", name)
            raise ConfigError(f"{refusal} (a variable of your own may begin with an underscore)")
    return values


def _is_private(name: str, value: object) -> bool:
    """Whether this name is only there to compute the settings: an import, function or class, or one like _this."""
    # "from __future__ import annotations" leaves a value, not a module.
    return name.startswith("_") or callable(value) or isinstance(value, types.ModuleType | __future__._Feature)


def _line_of(error: BaseException, path: str) -> int:
    """The last line in this very file that the error passed through on its way up."""
    line, frame = 0, error.__traceback__
    while frame:
        if frame.tb_frame.f_code.co_filename == path:
            line = frame.tb_lineno
        frame = frame.tb_next
    return line
