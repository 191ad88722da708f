"""``python -m server_core`` is ``prefork-serve``."""

from server_core.cli import main

main()
