"""What all front doors have in common: from layers to a running server, or to one clear sentence; knows no framework.

A front door collects what its framework and its command line say.  The file and the environment are read here, so
that they mean the same behind every door.  A door whose process has imported a framework already hands over to a clean
interpreter (same process id), because the arbiter must never hold application code.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import NoReturn

import click

from server_core.config.environment import environment_layer
from server_core.config.files import file_layer
from server_core.config.layers import Layer, Resolved, from_json, resolve, to_json
from server_core.config.manual import show_config
from server_core.config.values import without_arguments
from server_core.errors import BootError, ConfigError, ServeError, StartError
from server_core.gateway.dotenv import names_in_force
from server_core.gateway.loader import AppSpec

#: the exit status after Ctrl-C while nothing serves yet, as a shell has it for a command that SIGINT has ended
INTERRUPTED = 130


@dataclass(frozen=True)
class Call:
    """How the server was called: what the front door knows, and what it is asked to do.

    ``spec`` is the application as the framework finds it; the setting ``wsgi_app`` wins over it.
    """

    layers: list[Layer]
    spec: AppSpec | None = None
    config: str | None = None
    check_config: bool = False
    show_config: bool = False
    command: str = "prefork-serve"
    notes: list[str] = field(default_factory=list)

    def resolve(self) -> Resolved:
        """What the server would run with.  Raises ConfigError."""
        return resolve([file_layer(self.config), environment_layer(os.environ), *self.layers])


def require_posix() -> None:
    """Raise ServeError on a system without fork()."""
    if os.name != "posix":
        raise ServeError("prefork-serve runs on Linux and macOS: Windows has no fork()")


def run(call: Call) -> int:
    """Do what was asked; returns the exit status after telling on standard error what went wrong, if anything did."""
    try:
        require_posix()
        from server_core.signals import let_through

        let_through()  # a Ctrl-C since ``hand_over`` comes now
        resolved = call.resolve()
        if call.show_config:
            click.echo(show_config(_with_application(call, resolved)), nl=False)
            if not call.check_config:
                return 0
        from server_core.server import Server  # not before here: it needs a POSIX system

        server = Server(resolved, _spec(call, resolved))
        if call.check_config:
            for words in server.check():
                click.echo(words, err=True)
            click.echo("The settings are right and the application can be imported.", err=True)
            return 0
        server.serve()
    except ServeError as error:
        tell(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def tell(error: ServeError) -> None:
    """One sentence on standard error, and the traceback when the application's code is at fault."""
    click.echo(f"Error: {error}", err=True)
    if error.details:
        click.echo(error.details.rstrip("\n"), err=True)


def limit_import(call: Call, give_up: Callable[[BootError], None]) -> None:
    """A front door is about to import a project: what the arbiter does about an import that hangs is done for it, too.

    After ``boot_timeout``, as far as ``call`` knows it before the project has been asked, ``give_up`` tells where it
    hangs, and this process ends.  ``end_limit`` or ``hand_over`` end the limit.
    """
    if os.name != "posix":  # ``require_posix`` tells
        return
    try:
        limit = call.resolve().settings.timeouts.boot_timeout
    except ServeError:  # what is wrong is told when all is known
        limit = resolve([]).settings.timeouts.boot_timeout

    def ring(number: int, frame: FrameType | None) -> None:
        stack = "Stack (most recent call last):\n" + "".join(traceback.format_stack(frame))
        give_up(BootError(f"the application was still being imported after {limit:g}s (boot_timeout)", stack))
        os._exit(BootError.exit_code)

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit)


def end_limit() -> None:
    """The project has been imported."""
    if os.name == "posix":
        signal.setitimer(signal.ITIMER_REAL, 0)


def _with_application(call: Call, resolved: Resolved) -> Resolved:
    """For people: also the application that the framework finds when nobody has set ``wsgi_app``."""
    settings = resolved.settings
    if call.spec is None or settings.application.wsgi_app is not None:
        return resolved
    settings = replace(settings, application=replace(settings.application, wsgi_app=call.spec.called))
    return Resolved(settings, {**resolved.origins, "wsgi_app": f"found by {call.command}"})


def _spec(call: Call, resolved: Resolved) -> AppSpec:
    named = resolved.settings.application.wsgi_app
    if named is not None:
        found = AppSpec(named, without_arguments(named))
        return found if call.spec is None else replace(found, path=call.spec.path, dotenv=call.spec.dotenv)
    if call.spec is None:
        raise ConfigError(
            f"no application was named: {call.command} module:callable, or wsgi_app in the file, "
            "or SERVE_WSGI_APP in the environment."
        )
    return call.spec


def path_of_this_process() -> tuple[str, ...]:
    """The entries of ``sys.path`` that a fresh interpreter would not have: the project's own directories."""
    installed = {os.path.realpath(path) for path in sysconfig.get_paths().values()}
    found = []
    for entry in sys.path:
        real = os.path.realpath(entry or ".")
        if os.path.isdir(real) and real not in installed and not real.endswith(("-packages", "lib-dynload")):
            found.append(real)
    return tuple(dict.fromkeys(found))


def hand_over(call: Call) -> NoReturn:
    """Replace this process by a clean interpreter that runs ``call``.  Raises ServeError when it cannot."""
    require_posix()
    from server_core.arbiter.boot import fresh_interpreter
    from server_core.signals import held_back

    spec = call.spec
    data = {
        "layers": to_json(call.layers),
        "spec": None if spec is None else [spec.target, spec.title, spec.loader, spec.path, names_in_force(os.environ)],
        "config": call.config,
        "check_config": call.check_config,
        "show_config": call.show_config,
        "command": call.command,
        "notes": call.notes,
    }
    with tempfile.TemporaryFile(prefix="prefork-serve-") as file:
        file.write(json.dumps(data).encode("ascii"))
        file.seek(0)
        sys.stdout.flush()
        sys.stderr.flush()
        os.set_inheritable(file.fileno(), True)
        command = fresh_interpreter("server_core.launch", str(file.fileno()))
        end_limit()
        signal.pthread_sigmask(signal.SIG_SETMASK, held_back())
        try:
            os.execv(command[0], command)
        except OSError as error:
            why = f"cannot start a clean interpreter ({command[0]}): {error.strerror}"
            if error.errno == errno.E2BIG:
                why += "; a variable of the environment (.env) is too large, or all of them are"
            raise StartError(f"{why}.")


def main() -> None:
    """Entry point of the clean interpreter."""
    with open(int(sys.argv[1]), "rb") as file:
        data = json.loads(file.read())
    sys.argv[:] = [data["command"]]
    data["layers"] = from_json(data["layers"])
    if data["spec"] is not None:
        target, title, loader, path, names = data["spec"]
        data["spec"] = AppSpec(target, title, loader, tuple(path), tuple(names))
    for note in data["notes"]:
        click.echo(note, err=True)
    raise SystemExit(run(Call(**data)))
