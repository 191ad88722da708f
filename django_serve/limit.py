"""Ends ``manage.py serve`` when the import of the project hangs; knows when the command line has no parser yet."""

from __future__ import annotations

from collections.abc import Sequence

from server_core.config.arguments import layer_in_advance
from server_core.launch import Call, limit_import, tell


def limit_import_of_project(arguments: Sequence[str]) -> None:
    """From now on until the server takes over; ``arguments`` are those of the process, with the command."""
    layer, config = layer_in_advance(arguments[2:])
    limit_import(Call([layer], config=config), tell)
