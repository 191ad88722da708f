"""The command: tries each promise with the worker class that is named, and tells what came of it."""

from __future__ import annotations

import click

from server_core.contract.promises import PROMISES, broken
from server_core.contract.trial import NotStarted, Trial
from server_core.errors import ConfigError
from server_core.workers import find_worker_class


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("worker_class")
@click.option("-k", "only", multiple=True, type=click.Choice(list(PROMISES)), help="Try this promise only.")
def main(worker_class: str, only: tuple[str, ...]) -> None:
    """Try what every worker class promises: WORKER_CLASS is one of ours, or package.module:Class."""
    try:
        find_worker_class(worker_class, "the command line")
        with Trial(worker_class):  # what cannot even start would break each promise for the same reason
            pass
    except (ConfigError, NotStarted) as error:
        raise click.ClickException(str(error))
    failed = 0
    for name in only or PROMISES:
        wrong = broken(worker_class, name)
        failed += bool(wrong)
        summary = (PROMISES[name].__doc__ or "").partition("\n")[0]
        click.echo(f"{'BROKEN' if wrong else 'kept  '}  {name}: {summary}")
        if wrong:
            click.echo("        " + wrong.replace("\n", "\n        "))
    if failed:
        raise click.ClickException(f"{failed} of {len(only or PROMISES)} promises are broken.")


if __name__ == "__main__":
    main(prog_name="python -m server_core.contract")
