"""Knows how the fuzz targets are run by atheris for a bounded time; not what they check.

``make fuzz`` runs ``fuzzing.py SECONDS``, which gives each target a process of its own: ``fuzzing.py TARGET`` with
options of libFuzzer.  ``fuzzing.py TARGET FILE`` tries one input again.
"""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
KEPT = HERE.parents[1] / ".fuzz"
TARGETS = {"requests": "requests_target", "claims": "claims_target"}
#: share of the time
SHARES = {"requests": 0.75, "claims": 0.25}
MOST_BYTES = 2048
MOST_FILES = 3000


def main() -> int:
    """Runs what the command line says; returns the exit status."""
    if len(sys.argv) > 1 and sys.argv[1] in TARGETS:
        return fuzz(sys.argv[1], sys.argv[2:])
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    return max([bounded(name, max(1, int(seconds * SHARES[name]))) for name in TARGETS])


def bounded(name: str, seconds: int) -> int:
    """Fuzzes one target for a while in a new process; returns 1 when a fault was found."""
    corpus, words, faults = KEPT / name, KEPT / f"{name}.words", KEPT / "faults"
    plant(name, corpus, words)
    faults.mkdir(parents=True, exist_ok=True)
    started = time.time()
    command = [sys.executable, __file__, name, str(corpus), f"-artifact_prefix={faults}/{name}-", f"-dict={words}"]
    command += [f"-max_total_time={seconds}", f"-max_len={MOST_BYTES}", "-timeout=10"]
    print(f"{name}: {seconds} s from {len(list(corpus.iterdir()))} inputs in {corpus}", flush=True)
    status = subprocess.run([*command, "-verbosity=0", "-print_final_stats=1"], check=False).returncode
    found = [path for path in faults.glob(f"{name}-*") if path.stat().st_mtime > started - 1]
    for path in found:
        print(f"{name}: a fault was found.  Try it again:\n    {sys.executable} {__file__} {name} {path}", flush=True)
    if not found:
        print(f"{name}: " + (f"libFuzzer ended with status {status}" if status else "no fault was found"), flush=True)
    return int(bool(found or status))


def plant(name: str, corpus: Path, words: Path) -> None:
    """Writes seeds and words; a corpus that has grown large over many runs begins anew."""
    corpus.mkdir(parents=True, exist_ok=True)
    files = list(corpus.iterdir())
    for path in files if len(files) > MOST_FILES else ():
        path.unlink()
    sys.path.insert(0, str(HERE))
    target = importlib.import_module(TARGETS[name])
    for seed in target.seeds():
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in target.WORDS)
    words.write_text("".join(f'"{word}"\n' for word in escaped))


def fuzz(name: str, arguments: list[str]) -> int:
    """Hands this process to libFuzzer, which does not return."""
    try:
        import atheris
    except ImportError:
        print("atheris is missing: make fuzz installs it", file=sys.stderr)
        return 2
    sys.path.insert(0, str(HERE))
    with atheris.instrument_imports(include=["server_core.http", "request_reader", TARGETS[name]]):
        target = importlib.import_module(TARGETS[name])
    atheris.Setup([sys.argv[0], *arguments], target.check)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
