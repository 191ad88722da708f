"""Knows ``.bench/`` at the root of the repository: an environment with our package as users get it, and its peers.

The peers are installed once and stay as they are until the directory is removed; our own package is built from the
working tree and installed anew for each run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from figures import complaint
from peers import OURS, PACKAGES, PROGRAMS

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".bench"
LOGS = HOME / "logs"
_SOURCE = HOME / "source"


@dataclass
class Environment:
    """What is installed (package -> version) and what could not be (package -> the reason)."""

    versions: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def prepare() -> Environment:
    if not (HOME / "bin" / "python").exists():
        tell("making the environment .bench (once)")
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
    LOGS.mkdir(exist_ok=True)
    failures: dict[str, str] = {}
    present = _versions()
    for requirement in PACKAGES:
        name = re.split(r"[^\w-]", requirement)[0]
        # setuptools may come with the environment, too old to build our package: let pip decide
        if name not in present or name == "setuptools":
            tell(f"installing {name}")
            if reason := _install(requirement):
                failures[name] = f"could not be installed: {reason}"
    tell(f"installing {OURS} from the working tree")
    if reason := _install_ours():
        failures[OURS] = f"could not be installed: {reason}"
    versions = _versions()
    for program, words in PROGRAMS.items():
        if version := _program_version(program, words):
            versions[program] = version
        else:
            failures[program] = f"{program} is not installed"
    return Environment(versions, failures)


def tell(message: str) -> None:
    """Progress goes to standard error, so that standard output is the report and nothing else."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def _pip(*words: str) -> subprocess.CompletedProcess[str]:
    command = [str(HOME / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _install(*words: str) -> str:
    """Empty if it went well, else the line in which pip says what was wrong."""
    done = _pip("install", "--quiet", *words)
    return "" if done.returncode == 0 else complaint(done.stdout + done.stderr)


def _install_ours() -> str:
    # A copy, so that the build leaves nothing in the working tree and takes nothing from an earlier build there.
    shutil.rmtree(_SOURCE, ignore_errors=True)
    shutil.copytree(
        ROOT, _SOURCE, ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "tests")
    )
    return _install("--no-build-isolation", str(_SOURCE))


def _program_version(program: str, words: str) -> str:
    """Empty if the system does not have it."""
    if not (path := shutil.which(program, path=os.pathsep.join((str(HOME / "bin"), os.environ["PATH"])))):
        return ""
    done = subprocess.run([path, words], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "unknown"


def _versions() -> dict[str, str]:
    listed = _pip("list", "--format", "json")
    return {entry["name"].lower(): entry["version"] for entry in json.loads(listed.stdout or "[]")}
