"""The plain front door: ``prefork-serve [OPTIONS] module:app``, which is also ``python -m server_core``."""

from __future__ import annotations

import click

from server_core import __version__
from server_core.config.options import SettingsCommand, layers_from_click, settings_options
from server_core.errors import ServeError
from server_core.launch import Call, run, tell


@click.command(cls=SettingsCommand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("wsgi_app", metavar="[APP]", required=False)
@settings_options
@click.version_option(__version__, prog_name="prefork-serve")
@click.pass_context
def command(ctx: click.Context, /, **parameters: object) -> None:
    """Serve APP, a WSGI or ASGI application written as module:callable or 'module:factory("argument")'.

    What the options say can be given in a file (-c FILE) and in the environment too, by the names that --show-config
    lists: --access-logfile is accesslog in a file and SERVE_ACCESSLOG in the environment. The command line wins.
    """
    try:
        layers = layers_from_click(ctx)
    except ServeError as error:
        tell(error)
        ctx.exit(error.exit_code)
    config = parameters["config"]
    call = Call(
        layers,
        config=None if config is None else str(config),
        check_config=bool(parameters["check_config"]),
        show_config=bool(parameters["show_config"]),
    )
    ctx.exit(run(call))


def main() -> None:
    """Entry point of the console script."""
    command(prog_name="prefork-serve")
