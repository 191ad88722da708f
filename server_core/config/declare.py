"""Knows how one setting is declared, in a single call beside its name and type; knows no setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from server_core.config.values import Kind

T = TypeVar("T")

DECLARATION = "declaration"
"""The key under which a field's metadata holds its Declaration."""


@dataclass(frozen=True)
class Declaration:
    """What a declaration says besides name and type; see ``setting`` for the meaning of the fields."""

    default: object
    kind: Kind[Any]
    help: str
    flags: tuple[str, ...] | None
    metavar: str
    env: Mapping[str, str]
    default_text: str
    mask: Callable[[Any], Any] | None


def setting(
    default: object,
    kind: Kind[T],
    *,
    help: str,
    flags: tuple[str, ...] | None = None,
    metavar: str = "",
    env: Mapping[str, str] | None = None,
    default_text: str = "",
    mask: Callable[[Any], Any] | None = None,
) -> T:
    """Declare a setting as a field of a frozen dataclass: ``name: type = setting(...)``.

    ``default`` is a raw value, as a file would give it, and ``kind`` judges it like any other; or it is a function
    that returns the value, already parsed, and a text that tells a person where it is from.  ``flags`` are the
    options on the command line: by default ``--`` and the name with dashes, and ``()`` for none.  ``metavar`` replaces
    that of the kind.  ``env`` maps further environment variables to the raw value that they mean, where ``{}`` stands
    for their text.  ``default_text`` describes the default in the manual where the value alone would not.  ``mask``
    makes of a value that may hold a secret one that can be shown.

    Raises ValueError if the default is wrong.  The type that is returned is that of the values: what really comes
    back is a dataclass field, which is how ``dataclasses.field`` is typed too.
    """
    declaration = Declaration(default, kind, help, flags, metavar or kind.metavar, env or {}, default_text, mask)
    metadata = {DECLARATION: declaration}
    if callable(default):
        result: Any = field(default_factory=lambda: default()[0], metadata=metadata)
    else:
        result = field(default=kind.parse(default), metadata=metadata, repr=not kind.secret)
    typed: T = result
    return typed
