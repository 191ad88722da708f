"""Knows which files are watched and what can be seen of them without reading one; notices no change by itself.

A file counts when one of these wants it: the suffixes of code, in the directories of the project; a pattern of
``reload_include``; a place that the application has named; ``reload_extra_files``, file by file.  What a pattern of
``reload_exclude`` means does not count, unless it is such an extra file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from server_core.arbiter.autoreload import CODE
from server_core.config.patterns import Pattern, expression, literal_head, parse_pattern

#: code, what configures it, templates (Django keeps them in memory, in development too) and translations
SUFFIXES = (*CODE, ".html", ".jinja", ".jinja2", ".j2", ".mo")
#: directories, besides hidden ones and virtual environments, in which nobody edits code
IGNORED = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
#: what editors and Python write beside the files that are meant: vim (4913, .swp, ~), Emacs (.#x, #x#), PyCharm (jb)
TEMPORARY = re.compile(r"4913|\.?#.*|.*(~|\.sw[opx]|___jb_(tmp|old)___|\.py[co])", re.DOTALL)

Look = dict[str, tuple[int, int, int]]
"""What can be seen of each watched file: time of its last change, size, inode."""

Place = tuple[str, str]
"""A directory (absolute, without symbolic links) and a pattern for files in it, as of ``Path.glob``."""


class Wish(Enum):
    """What counts in a directory."""

    CODE = "files with the suffixes of code, and what patterns and places name"
    NAMED = "only what patterns and places name"
    ALL = "every file"


class Request(NamedTuple):
    """What is to be watched from the beginning; as a list it fits into JSON.

    ``roots`` are the directories of the project, ``far`` further ones that patterns name; ``include`` and ``exclude``
    are patterns, ``files`` single files.  All paths are absolute.
    """

    directory: str
    roots: list[str]
    far: list[str]
    files: list[str]
    include: list[str]
    exclude: list[str]


class Scope:
    """All that is watched; it only grows."""

    def __init__(self, request: Request) -> None:
        anchors = [request.directory, *request.roots]
        self._exclude = _Matcher(anchors, request.exclude, hidden=True)
        self._include = _Matcher(anchors, request.include, hidden=False)
        self._files = request.files
        self._bases: dict[str, Wish] = {}
        self.directories: list[str] = []
        """The directories below which all watched files are, none inside another, and the extra files outside them."""
        self._begin_at(request.roots, Wish.CODE)
        self._begin_at(request.far, Wish.NAMED)

    def _begin_at(self, directories: Iterable[str], wish: Wish) -> None:
        for directory in directories:
            if not self._exclude.means(directory, directories=True):
                self._bases[directory] = Wish.ALL if self._include.means(directory, directories=True) else wish
        self.directories = outermost([*self._bases, *self._files])

    def add(self, places: Iterable[Place]) -> None:
        """Watch these too, from the next look on."""
        places = list(places)
        self._include.add_files(places)
        outside = outermost(directory for directory, _ in places)
        self._begin_at((each for each in outside if not any(is_inside(each, base) for base in self._bases)), Wish.NAMED)

    def look(self, known: Iterable[str] = ()) -> Look:
        """See every watched file, and also those of ``known`` that are there: some come by symbolic links, which this
        does not follow."""
        found: Look = {}
        for base, wish in self._bases.items():
            self._look_into(base, wish, found)
        for path in (*self._files, *known):
            if path not in found:
                note(path, found)
        return found

    def _look_into(self, directory: str, wish: Wish, found: Look) -> None:
        try:
            entries = list(os.scandir(directory))
        except OSError:  # it is gone, or not ours to read
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                inner = self._enter(entry.path, entry.name, wish)
                if inner is not None:
                    self._look_into(entry.path, inner, found)
            elif self._wants(entry.path, entry.name, wish):
                note(entry.path, found)

    def counts(self, path: str) -> bool:
        """Would ``look`` see this file, if there is one?"""
        directory, name = os.path.split(path)
        return path in self._files or any(self._wants(path, name, wish) for wish in self._ways_to(directory))

    def enters(self, directory: str) -> bool:
        """Would ``look`` look into this directory, if there is one?"""
        return any(True for _ in self._ways_to(directory))

    def _ways_to(self, directory: str) -> Iterable[Wish]:
        """What counts there, for each base from which the directory can be reached."""
        for base, wish in self._bases.items():
            if not is_inside(directory, base):
                continue
            way, inner = base, wish
            for name in directory[len(base) :].split("/")[1:]:
                way = f"{way}/{name}"
                step = self._enter(way, name, inner)
                if step is None:
                    break
                inner = step
            else:
                yield inner

    def _enter(self, path: str, name: str, wish: Wish) -> Wish | None:
        """What counts in this directory, if ``wish`` does in the one around it; None for nothing."""
        if name == "__pycache__" or self._exclude.means(path, name, directories=True):
            return None
        anywhere = name if wish is not Wish.NAMED else ""  # patterns that are names are about the project
        if name.startswith(".") or name in IGNORED or os.path.exists(f"{path}/pyvenv.cfg"):
            if not self._include.names(path, anywhere):
                return None
            wish = Wish.NAMED
        if self._include.means(path, anywhere, directories=True):
            return Wish.ALL
        return wish if wish is not Wish.NAMED or self._include.reaches(path) else None

    def _wants(self, path: str, name: str, wish: Wish) -> bool:
        if TEMPORARY.fullmatch(name) or self._exclude.means(path, name):
            return False
        if wish is Wish.NAMED:
            return self._include.means(path)
        # Hidden files are locks and copies that editors make, but not .env and .flaskenv.
        if name.endswith(SUFFIXES) and (not name.startswith(".") or name.endswith((".env", ".flaskenv"))):
            return True
        return (wish is Wish.ALL and not name.startswith(".")) or self._include.means(path, name)


class _Matcher:
    """Several patterns as one question; relative paths lead from each of the ``anchors``."""

    def __init__(self, anchors: list[str], patterns: Iterable[str], *, hidden: bool) -> None:
        self._hidden = hidden
        self._names: set[str] = set()  # of directories, without wildcards
        self._heads: set[str] = set()  # directories that a path leads to before its first wildcard
        # By (directories or files, paths or names); of each the sources of regular expressions.
        self._sources: dict[tuple[bool, bool], list[str]] = {
            (directories, paths): [] for directories in (False, True) for paths in (False, True)
        }
        for pattern in map(parse_pattern, patterns):
            for directories in (True,) if pattern.only_directories else (False, True):
                if pattern.base:
                    for start, parts in ways(pattern, anchors):
                        self._add_path(start, parts, directories)
                else:
                    self._sources[directories, False].append(expression(pattern.parts, hidden=hidden))
            self._note_directories(pattern, anchors)
        self._compile()

    def _note_directories(self, pattern: Pattern, anchors: list[str]) -> None:
        # Who writes ./.env means a file, and not the virtual environment that some people keep under this name: what
        # is named last is a directory only if a slash or more names follow.
        if pattern.base:
            for start, parts in ways(pattern, anchors):
                self._add_head(start, parts if pattern.only_directories else parts[:-1])
        elif pattern.only_directories:
            self._names.add(pattern.parts[0])

    def _add_head(self, start: str, parts: tuple[str, ...]) -> None:
        self._heads.add("/".join([start.rstrip("/"), *literal_head(parts)]))

    def add_files(self, places: Iterable[Place]) -> None:
        """Mean the files of these places too."""
        for directory, pattern in places:
            parts = tuple(part for part in pattern.split("/") if part not in ("", ".")) or ("**",)
            self._add_path(directory, parts, directories=False)
            self._add_head(directory, parts[:-1])
        self._compile()

    def _add_path(self, start: str, parts: tuple[str, ...], directories: bool) -> None:
        source = f"{re.escape(start.rstrip('/'))}/{expression(parts, hidden=self._hidden)}"
        self._sources[directories, True].append(source)

    def _compile(self) -> None:
        # \Z and DOTALL: a name may hold line feeds.
        self._compiled = {
            kind: re.compile(rf"(?s:{'|'.join(dict.fromkeys(sources))})\Z") if sources else None
            for kind, sources in self._sources.items()
        }

    def means(self, path: str, name: str = "", *, directories: bool = False) -> bool:
        """Does a pattern mean this file or directory?  Without a name only paths are asked."""
        of_name, of_path = self._compiled[directories, False], self._compiled[directories, True]
        return bool((name and of_name and of_name.match(name)) or (of_path and of_path.match(path)))

    def names(self, path: str, name: str) -> bool:
        """Is this directory named without wildcards, or on the way to what is?"""
        return name in self._names or any(is_inside(head, path) for head in self._heads)

    def reaches(self, path: str) -> bool:
        """Can there be something in this directory that a path means?"""
        return any(is_inside(head, path) or is_inside(path, head) for head in self._heads)


def is_inside(path: str, directory: str) -> bool:
    """Is it this directory or something below it?"""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def outermost(paths: Iterable[str]) -> list[str]:
    """These without those that are inside of others."""
    found: list[str] = []
    for path in sorted(paths, key=lambda path: path.split("/")):  # what is inside comes right after
        if not found or not is_inside(path, found[-1]):
            found.append(path)
    return found


def ways(pattern: Pattern, anchors: list[str]) -> list[tuple[str, tuple[str, ...]]]:
    """For each way in which a pattern's path can be meant the directory where it begins, and the names from there on.

    The first of the ``anchors`` is the working directory, the others are those that are watched.
    """
    if pattern.base == ".":
        return [(anchor, pattern.parts) for anchor in anchors]
    # The watched directories are known without symbolic links, so such a path has to be.
    head = literal_head(pattern.parts[:-1])
    return [(os.path.realpath(os.path.join(anchors[0], pattern.base, *head)), pattern.parts[len(head) :])]


def note(path: str, found: Look) -> None:
    """Add what can be seen of a file, if it is there."""
    try:
        status = os.stat(path)
    except OSError:
        return
    found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
