"""Knows what becomes of the findings of an inspection: told, or reason enough not to serve; inspects nothing itself."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

from server_core.config.bindings import Binding
from server_core.errors import AppLoadError
from server_core.settings import Profile


class Finding(NamedTuple):
    """Something that a person should know before the application serves.

    ``name`` is short and can be searched for ("security.W004"), ``text`` says what is wrong and what to do.  With
    ``is_error`` the application would not work.
    """

    name: str
    text: str
    is_error: bool = False


def judge(findings: Iterable[Finding], profile: Profile) -> str:
    """What to tell of the findings that are not silenced, "" for nothing.

    Raises AppLoadError when one of them is an error, or when there is any in production and ``strict`` is set.
    """
    found = [finding for finding in findings if finding.name not in profile.silenced_checks]
    errors = [finding for finding in found if finding.is_error]
    if errors:
        raise AppLoadError(f"the inspection (checks) found {_count(errors, 'error')}", _lines(errors))
    if not found:
        return ""
    if profile.develops:
        return f"The inspection (checks) found {_count(found, 'thing')}:\n{_lines(found)}"
    if profile.strict:
        raise AppLoadError(f"the inspection (checks) found {_count(found, 'thing')}, and strict is set", _lines(found))
    return f"The inspection (checks; strict would refuse to serve) found {_count(found, 'thing')}:\n{_lines(found)}"


def is_public(binding: Binding) -> bool:
    """Can another machine connect there?"""
    if binding.kind != "tcp":
        return False
    try:
        return not ipaddress.ip_address(binding.host).is_loopback
    except ValueError:  # a name
        return binding.host not in ("localhost", "localhost.localdomain")


def _count(findings: list[Finding], noun: str) -> str:
    return f"{len(findings)} {noun}{'' if len(findings) == 1 else 's'}"


def _lines(findings: list[Finding]) -> str:
    return "\n".join(f"    {finding.name}: {finding.text}" for finding in findings)
