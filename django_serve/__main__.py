"""``python -m django_serve``: ``manage.py serve`` for a project that may be broken; looks for it in this directory."""

from __future__ import annotations

import os
import sys

from django_serve.manage import execute_from_command_line, find_settings


def main() -> None:
    """Entry point."""
    sys.path.insert(0, os.getcwd())
    find_settings()
    execute_from_command_line(["python -m django_serve", "serve", *sys.argv[1:]])


if __name__ == "__main__":
    main()
