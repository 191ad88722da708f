"""Knows the order of a benchmark: environment, servers in turn, report (``make bench``; ``--help`` tells how).

The servers take turns (A B C, A B C, ...), each started anew for each round, so that whatever else the machine is
doing falls on all of them alike.  What a run proves is in the ratios; the figures themselves belong to the machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

import chart
import report
from environment import HOME, LOGS, Environment, prepare, tell
from figures import Fact, Row, pick_cores
from floors import FLOORS, judge
from peers import CERTIFICATE, GRANIAN, HALVED, KEY, ONE_FLEET, SERVERS, WORKLOADS, Server, Workload, chosen
from processes import Bench, Failed, load, running

APPS = Path(__file__).resolve().parent / "apps"
STILL = "still"  # named like a workload, it is what is measured apart from load
LARGE = 100_000_000  # bytes of the file that is served
TOPOLOGY = "/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"


def main(words: Sequence[str] | None = None) -> int:
    options = read_options(words)
    if options.again:
        tell_all(options, *report.from_json(options.again.read_text()))
        return 0
    servers = chosen(options.servers, SERVERS)
    if refusal := _refusal():
        tell(refusal)
        return 2
    signal.signal(signal.SIGTERM, _interrupted)
    busy = os.getloadavg()[0]
    server_core, client_core = pick_cores(os.sched_getaffinity(0), _siblings())
    environment = prepare()
    os.sched_setaffinity(0, {client_core})  # this program must not run on the server's core either
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(HOME, APPS, LOGS, server_core, client_core, Path(folder))
        if any(workload.module == "bulk" for workload, _ in loads(options)):
            (bench.files / "large").write_bytes(bytes(LARGE))
        if any(workload.tls for workload, _ in loads(options)):
            make_certificate(bench.files)
        rows = measure(bench, environment, servers, options)
        facts = measure_still(bench, environment, servers, options.rounds) if options.still else []
    machine = {
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": f"{_processor()}, {os.cpu_count()} cores; server on core {server_core}, client on core "
        f"{client_core}; where there are several workers, all on both",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "load before the run": f"{busy:.2f} (near zero on a machine that has nothing else to do)",
        "rounds": f"{options.rounds} of {options.seconds} s, servers in turn, each started anew",
        "frameworks": ", ".join(f"{name} {environment.versions.get(name, 'missing')}" for name in ("flask", "django")),
    }
    tell_all(options, machine, rows, facts)
    return 0


def tell_all(
    options: argparse.Namespace, machine: Mapping[str, Any], rows: Sequence[Row], facts: Sequence[Fact]
) -> None:
    """The report, and whatever files were asked for."""
    verdicts = [judge(floor, rows, facts) for floor in FLOORS]
    sys.stdout.write(report.markdown(machine, rows, verdicts, facts))
    if options.json:
        options.json.write_text(report.as_json(machine, rows, verdicts, facts))
    if options.chart:
        if any(chart.bars(rows, workload) for workload in chart.GROUPS):
            options.chart.write_text(chart.draw(machine, rows))
        else:
            tell(f"no chart is drawn: in this run nothing was measured beside {GRANIAN} that it could show")


def make_certificate(folder: Path) -> None:
    """One for all servers: the kind that the server makes for itself, in two files."""
    from server_core import adhoc  # here, because this program tells its help and draws its charts everywhere

    key, begin, certificate = adhoc.make([*adhoc.LOCAL])[0].partition(b"-----BEGIN CERTIFICATE-----")
    (folder / CERTIFICATE).write_bytes(begin + certificate)
    (folder / KEY).write_bytes(key)


def measure(
    bench: Bench, environment: Environment, servers: Sequence[Server], options: argparse.Namespace
) -> list[Row]:
    rows: list[Row] = []
    rates: dict[str, tuple[float | None, str]] = {}
    for workload, connections in loads(options):
        arrivals, problem = float(workload.arrivals) or None, ""
        if workload.half_of:
            if workload.half_of not in rates:
                rates[workload.half_of] = half_rate(bench, environment, WORKLOADS[workload.half_of], options.seconds)
            arrivals, problem = rates[workload.half_of]
        turn = []
        for server in servers:
            if server.takes(workload):
                row = Row(server.name, environment.versions.get(server.package, ""), workload.name, connections)
                row.failure = environment.failures.get(server.package, "") or problem
                row.arrivals = arrivals
                turn.append((server, row))
        for number in range(1, options.rounds + 1):
            tell(f"{workload.name}, {connections} connections, round {number} of {options.rounds}")
            for server, row in turn:
                if not row.failure:
                    one_round(bench, server, workload, row, options.seconds)
        rows += [row for _, row in turn]
    return rows


def half_rate(bench: Bench, environment: Environment, workload: Workload, seconds: int) -> tuple[float | None, str]:
    """Half of what the slowest of the servers that decide it reaches in one round, or why there is none."""
    tell(f"what is half of saturation? {workload.name}, {ONE_FLEET} connections")
    rates = []
    for server in SERVERS:
        if server.name in HALVED:
            row = Row(server.name, "", workload.name, ONE_FLEET, failure=environment.failures.get(server.package, ""))
            if not row.failure:
                one_round(bench, server, workload, row, seconds)
            if not row.counts:
                return None, f"no rate could be found: {server.name} failed or made errors"
            rates.append(row.rate)
    return float(int(min(rates) / 2)), ""


def measure_still(bench: Bench, environment: Environment, servers: Sequence[Server], rounds: int) -> list[Fact]:
    import still  # needs Linux, and this program tells its help and draws its charts everywhere

    return still.measure(still.Setting(bench, environment, tuple(servers), rounds))


def one_round(bench: Bench, server: Server, workload: Workload, row: Row, seconds: int) -> None:
    try:
        with running(bench, server, workload.module, workload) as target:
            row.keeps_alive = target.keeps_alive
            row.rounds.append(load(bench, target, workload, row.connections, seconds, row.arrivals))
        told = row.rounds[-1].load
        tell(f"  {server.name}: {told.rate:,.0f}/s, p99 {told.p99_ms:.2f} ms {told.errors or ''}".rstrip())
    except (Failed, ValueError) as failure:
        row.failure = str(failure)
        tell(f"  {server.name}: {failure}")


def loads(options: argparse.Namespace) -> Iterator[tuple[Workload, int]]:
    for name in options.workloads:
        for connections in options.connections or WORKLOADS[name].connections:
            yield WORKLOADS[name], connections


def read_options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests/bench/run.py",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measures prefork-serve beside its peers in one run; the report is markdown on standard output.\n"
        "The whole of it, without options, takes about two hours.",
        epilog="\n".join(
            [
                f"servers: {', '.join(server.key for server in SERVERS)}",
                "workloads:",
                *(f"  {workload.name:14}{workload.says}" for workload in WORKLOADS.values()),
                f"  {STILL:14}apart from load: memory, start and reload of the shop, idle connections, system calls",
            ]
        ),
    )
    parser.add_argument("--seconds", type=_positive, help="length of a round, after one second of warm-up [3]")
    parser.add_argument("--rounds", type=_positive, help="how often each server has its turn [5]")
    parser.add_argument("--servers", type=_words, help="only these, or all whose name begins so: gunicorn,uwsgi")
    parser.add_argument("--workloads", type=_words, help="only these: plaintext,sleep2")
    parser.add_argument("--connections", type=_numbers, help="these numbers of connections for every workload: 1,32")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole result there as well")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw the ratios to Granian there, as SVG")
    parser.add_argument("--from", dest="again", type=Path, metavar="FILE", help="measure nothing: tell that JSON again")
    parser.add_argument("--without-still", action="store_true", help="leave out what is measured apart from load")
    parser.add_argument("--quick", action="store_true", help="one short round of plaintext beside Granian")
    options = parser.parse_args(words)
    if options.quick:
        usual = {"seconds": 2, "rounds": 1, "servers": ["prefork-serve-sync", "granian"],
                 "workloads": ["plaintext"], "connections": [ONE_FLEET]}  # fmt: skip
    else:
        usual = {"seconds": 3, "rounds": 5, "servers": [server.key for server in SERVERS],
                 "workloads": [*WORKLOADS, STILL], "connections": None}  # fmt: skip
    for name, value in usual.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.still = STILL in options.workloads and not options.without_still
    options.workloads = [name for name in options.workloads if name != STILL]
    if unknown := set(options.workloads) - set(WORKLOADS):
        parser.error(f"no workload is called {', '.join(sorted(unknown))}; there are {', '.join([*WORKLOADS, STILL])}")
    if options.again and not options.again.is_file():
        parser.error(f"there is no file {options.again}")
    for path in (options.json, options.chart):
        if path and not path.parent.is_dir():
            parser.error(f"there is no folder {path.parent} for {path.name}")
    try:
        chosen(options.servers, SERVERS)
    except ValueError as error:
        parser.error(str(error))
    return options


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return number


def _numbers(text: str) -> list[int]:
    return [_positive(word) for word in _words(text)]


def _refusal() -> str:
    """Why this machine cannot run the benchmark, in one sentence that says what to do; empty if it can."""
    if sys.platform != "linux":
        return "The benchmark needs Linux, because it pins processes to cores and reads /proc; run it there."
    if not shutil.which("wrk"):
        return "The benchmark needs wrk on the PATH; install it, for instance with: apt-get install wrk"
    if len(os.sched_getaffinity(0)) < 2:
        return "The benchmark needs two processor cores, one for the server and one for the client; allow it another."
    return ""


def _interrupted(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def _siblings() -> dict[int, set[int]]:
    """core -> the cores that are threads of the same physical core."""
    found: dict[int, set[int]] = {}
    for core in os.sched_getaffinity(0):
        path = Path(TOPOLOGY.format(core=core))
        text = path.read_text() if path.exists() else ""
        for part in text.strip().split(","):
            first, _, last = part.partition("-")
            if first:
                found.setdefault(core, set()).update(range(int(first), int(last or first) + 1))
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
