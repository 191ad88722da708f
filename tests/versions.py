"""Runs the tests of the front doors and the examples with other versions of the frameworks; part of `make test-all`.

Each version gets an environment of its own in .versions/, made with the first interpreter that the version allows: this
one, or another python3.x on the path.  What could not be run, for want of an interpreter, is said at the end.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: what to install -> the interpreters that it allows, the oldest and the newest minor version of Python 3
VERSIONS = {
    "Django==4.2.*": (8, 12),
    "Django==5.2.*": (10, 14),
    "Django==6.*": (12, 14),
    "Flask==2.3.*": (8, 13),
    "Flask==3.*": (9, 14),
}
TESTS = {
    "Django": ["tests/front_doors", "tests/examples", "tests/test_testing.py"],
    "Flask": ["tests/front_doors", "tests/examples"],
}
#: what the tests of one version need besides, and which these are
NEIGHBOURS = {"Django==5.2.*": ["daphne", "django-extensions", "django-debug-toolbar", "werkzeug"]}
#: which tests of these folders are about the framework
CHOICE = {"Django": "manage or shop or django or project", "Flask": "flask or notes or debugger"}


def interpreter(oldest: int, newest: int) -> str | None:
    """A Python that is at least 3.10 and within the bounds."""
    oldest = max(oldest, 10)
    if oldest <= sys.version_info[1] <= newest:
        return sys.executable
    return next(filter(is_python, (f"python3.{minor}" for minor in range(newest, oldest - 1, -1))), None)


def is_python(command: str) -> bool:
    """Is there such an interpreter, and does it start?"""
    return bool(shutil.which(command)) and subprocess.run([command, "-c", ""], capture_output=True).returncode == 0


def run(requirement: str, python: str) -> bool:
    """Make the environment and run the tests; are all of them green?"""
    framework = requirement.partition("==")[0]
    folder = ROOT / ".versions" / requirement.replace("==", "-").replace(".*", "")
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        install = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        other = "flask" if framework == "Django" else "django"
        wanted = f"{ROOT}[reload,static,toml]"
        subprocess.run(
            [
                *install,
                "--editable",
                wanted,
                requirement,
                other,
                "pytest>=8",
                "python-dotenv",
                *NEIGHBOURS.get(requirement, ()),
            ],
            check=True,
        )
        (folder / "ready").touch()
    show = f"import importlib.metadata as m; print(m.version({framework!r}))"
    version = subprocess.run([str(folder / "bin/python"), "-c", show], capture_output=True, text=True, check=True)
    print(f"\n=== {framework} {version.stdout.strip()} with {Path(python).name}", flush=True)
    command = [str(folder / "bin/python"), "-m", "pytest", "-q", "-k", CHOICE[framework], *TESTS[framework]]
    commands = [command]
    if requirement in NEIGHBOURS:
        commands.append([*command[:4], "-m", "slow", "tests/front_doors/test_neighbours.py"])
    results = [subprocess.run(each, cwd=ROOT, check=False).returncode for each in commands]
    return not any(results)


def main() -> int:
    """All versions, or those named on the command line; the exit status is 0 when all that could be run are green."""
    failed, missing = [], []
    for requirement, bounds in VERSIONS.items():
        if sys.argv[1:] and requirement not in sys.argv[1:]:
            continue
        python = interpreter(*bounds)
        if python is None:
            missing.append(f"{requirement} (needs Python 3.{bounds[0]} to 3.{bounds[1]})")
        elif not run(requirement, python):
            failed.append(requirement)
    for text, names in (("failed", failed), ("not run, for want of an interpreter", missing)):
        if names:
            print(f"{text}: {', '.join(names)}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
