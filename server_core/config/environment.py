"""Knows which environment variables are settings; does not know which processes set them.

Every setting has a variable, SERVE_ and its name in capitals.  Some have a second one that hosting platforms set for
every server (PORT, WEB_CONCURRENCY): it counts less than the first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from server_core.config.layers import ENVIRONMENT, Given, Layer
from server_core.config.schema import ENVIRONMENT_PREFIX, SETTINGS, no_such_setting

# Kubernetes exports a set of variables like these into every container for each service of the namespace, so a service
# called "serve" or "serve-api" must not look like a misspelt setting.
_SERVICE_LINK = re.compile(r"(.*_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
# A plain number in SERVE_PORT is not theirs but a person's who thinks that there is such a setting.
_SERVICE_URL = re.compile(r"(.*_)?PORT=(tcp|udp|sctp)://.*")


def environment_layer(environ: Mapping[str, str]) -> Layer:
    """The settings among environment variables; raises ConfigError for a SERVE_ variable that is no setting."""
    refuse_unknown_variables(environ, ENVIRONMENT_PREFIX, SETTINGS)
    values: dict[str, Given] = {}
    for setting in SETTINGS.values():
        for variable, meaning in setting.platform_variables.items():
            # Platforms export variables that they have no value for as empty.
            if environ.get(variable):
                values[setting.name] = Given(meaning.replace("{}", environ[variable]), variable)
        if setting.variable in environ:
            values[setting.name] = Given(environ[setting.variable], setting.variable)
    return Layer(ENVIRONMENT, values)


def refuse_unknown_variables(environ: Mapping[str, str], prefix: str, known: Collection[str]) -> None:
    """Raise ConfigError for the first variable that is ``prefix`` and none of the ``known`` names in capitals."""
    variables = [prefix + name.upper() for name in known]
    for variable, value in environ.items():
        if not variable.startswith(prefix) or variable in variables:
            continue
        name = variable.removeprefix(prefix)
        if not _SERVICE_LINK.fullmatch(name) and not _SERVICE_URL.fullmatch(f"{name}={value}"):
            raise no_such_setting(variable, name, known, lambda meant: prefix + meant.upper())
