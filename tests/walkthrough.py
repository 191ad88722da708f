"""Does what the tutorials say, word for word, in an empty folder; part of `make test-all`.

    python tests/walkthrough.py [docs/tutorials/django.md ...]

What is typed and what is seen stands in the pages' fenced blocks, in order:

- ``sh``: commands, typed into one shell.  One that serves is left running until the page says "Stop the server" or
  starts another; its output goes to a file.
- ``text``: lines that the commands of the block before have written, or the server since it was last looked at: these
  lines in this order, others may stand between.  … stands for anything.
- any other language, after "Write `path`", "Make `path`" or "end of `path`": a file, or what is added to it.

Other blocks are not tried, and it says so.  The package is the one of this checkout, everything else comes from pip's
index.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "docs" / "tutorials" / name for name in ("django.md", "flask.md")]
#: how long a page may take, most of it for pip (seconds)
LONGEST = 900
PATIENCE = 30.0
#: what somebody who reads needs at least from one block of commands to the next, and the server to notice files
READING_SECONDS = 2.5
_SERVES = re.compile(r"(manage\.py|flask) serve\b(?!.*--(check|show)-config)")
_FILE = re.compile(r"(end of|Write|Make) `([^`/][^`]*)`")
_STATUS = re.compile(r"<status (\d+)>\n$")


class Wrong(Exception):
    """The page says one thing and something else has happened."""


class Shell:
    """One bash in which everything is typed, and the server that it has started last; not on port 8000 but a free one.

    ``wheels`` is the directory that has our package.
    """

    def __init__(self, folder: Path, wheels: Path) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = str(sock.getsockname()[1])
        ours = ("SERVE_", "FLASK_", "DJANGO_", "PYTEST_")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environ["PIP_FIND_LINKS"] = f"{environ.get('PIP_FIND_LINKS', '')} {wheels}"
        environ |= {"PIP_QUIET": "1", "PYTHONUNBUFFERED": "1", "SERVE_BIND": f"127.0.0.1:{self.port}"}
        self._output = folder / "server.log"
        self._log = self._output
        self._looked_at = 0
        self._server = ""
        self._process = subprocess.Popen(
            ["bash"], cwd=folder, env=environ, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.type('pkill() { command pkill --session 0 "$@"; }')  # nobody else's servers

    def type(self, line: str) -> tuple[str, int]:
        """Output and exit status of a command."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f'{line.replace(":8000", ":" + self.port)}\necho "<status $?>"\n')
        self._process.stdin.flush()
        output = ""
        while not (found := _STATUS.search(output)):
            read = self._process.stdout.readline()
            if not read:
                raise Wrong(f"the shell has ended: {output}")
            output += read
        return output[: found.start()], int(found[1])

    def path(self, name: str) -> Path:
        """A file as the shell would find it."""
        return Path(self.type("pwd")[0].strip(), name)

    def serve(self, line: str) -> None:
        """Start a server, and wait until it serves."""
        self.stop()
        option = re.search(r"--error-logfile (\S+)", line)
        self._log = self.path(option[1]) if option else self._output
        self._looked_at = 0
        self.type(f"{line.rstrip('& ')} >{self._output} 2>&1 </dev/null &")
        self._server = self.type("echo $!")[0].strip()
        deadline = time.monotonic() + PATIENCE
        while "Stop: " not in self.told():
            if time.monotonic() > deadline:
                raise Wrong(f"{line} does not serve: {self.told()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End the server, if there is one, and wait for it."""
        if self._server:
            self.type(f"kill {self._server}; wait {self._server}")
            self._server = ""

    def write(self, name: str, text: str, add: bool) -> None:
        """Make a file, or add to it, as somebody would in an editor."""
        file = self.path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a" if add else "w", encoding="utf-8") as opened:
            opened.write("\n" + text if add else text)

    def told(self) -> str:
        """What the server has written since it was last looked at."""
        return self._log.read_text(encoding="utf-8")[self._looked_at :] if self._log.exists() else ""

    def saw(self, count: int) -> None:
        """So many characters of it have been looked at."""
        self._looked_at += count

    def end(self) -> None:
        """End everything that runs in the shell, and the shell."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


def blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """Language, content, and the prose since the block before."""
    parts = re.split(r"^```(\w+)\n(.*?)^```\n", page, flags=re.DOTALL | re.MULTILINE)
    for place in range(0, len(parts) - 1, 3):
        prose, language, text = parts[place : place + 3]
        yield language, text, prose


def walk(page: Path, shell: Shell) -> None:
    """Do what the page says.  Raises Wrong."""
    output = ""
    for language, text, prose in blocks(page.read_text(encoding="utf-8")):
        if "Stop the server" in prose:
            shell.stop()
        last = " ".join(prose.strip().rpartition("\n\n")[2].split())
        file = _FILE.search(last)
        if language == "sh":
            time.sleep(READING_SECONDS)
            output = "".join(type_in(shell, line) for line in text.splitlines())
        elif language == "text" and not last.endswith("is then:"):
            compare(text, output, shell)
        elif language != "text" and file:
            print(f"    {file[0]}", flush=True)
            shell.write(file[2], text, add=file[1] == "end of")
        else:
            print(f"    not tried: {last}", flush=True)


def type_in(shell: Shell, line: str) -> str:
    """The output of a command; "" if it serves.  Raises Wrong when it fails."""
    print(f"    $ {line}", flush=True)
    if _SERVES.search(line):
        shell.serve(line)
        return ""
    output, status = shell.type(line)
    if status:
        raise Wrong(f"{line} ended with status {status}: {output}")
    return output


def compare(expected: str, output: str, shell: Shell) -> None:
    """Wait until a block of lines has been seen.  Raises Wrong."""
    # The server is in the background here, where it tells another way to stop it.
    lines = expected.replace("Ctrl-C.", "kill ….").replace(":8000", f":{shell.port}").splitlines()
    pattern = re.compile(r"\n(.*\n)*?".join(".*".join(map(re.escape, line.split("…"))) for line in lines))
    if pattern.search(output):
        return
    deadline = time.monotonic() + READING_SECONDS
    while not (found := pattern.search(shell.told())):
        if time.monotonic() > deadline:
            raise Wrong(f"this was not written:\n{expected}\nbut this:\n{output}\nand by the server:\n{shell.told()}")
        time.sleep(0.1)
    shell.saw(found.end())


def build(folder: Path) -> Path:
    """Make a wheel of this checkout; the directory that has it."""
    source, wheels = folder / "source", folder / "wheels"
    # A copy, so that the build leaves nothing in the checkout and takes nothing of an earlier one.
    leftovers = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(ROOT, source, ignore=leftovers)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(source)]
    subprocess.run(command, check=True)
    (wheel,) = wheels.iterdir()
    # The number of a build, which pip prefers to the same version in the index.
    wheel.rename(wheel.with_name(wheel.name.replace("-py3-", "-1-py3-")))
    return wheels


def too_long(number: int, frame: object) -> None:
    raise Wrong(f"not finished after {LONGEST} seconds")


def main() -> int:
    """All tutorials, or the pages named on the command line; the exit status is 0 when all are right."""
    failed = []
    signal.signal(signal.SIGALRM, too_long)
    with tempfile.TemporaryDirectory() as folder:
        wheels = build(Path(folder))
        for page in [Path(name).resolve() for name in sys.argv[1:]] or PAGES:
            print(f"\n=== {page.name}", flush=True)
            place = Path(folder, page.stem)
            place.mkdir()
            shell = Shell(place, wheels)
            signal.alarm(LONGEST)
            try:
                walk(page, shell)
            except Wrong as error:
                failed.append(page.name)
                print(f"{page.name}: {error}", flush=True)
            finally:
                signal.alarm(0)
                shell.end()
    print(f"\nnot as they say: {', '.join(failed)}" if failed else "\nThe tutorials are as they say.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
