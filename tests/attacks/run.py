"""Knows the order of a run: environment, then each server under each attack, then the table (``make attack``).

Each attack finds its server started anew, one worker process, as in the benchmark, whose environment and commands
these are.  The server has a core of its own; the normal client and the attackers share another.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import signal
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import NoReturn

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where the package ``attacks`` is
sys.path.append(str(Path(__file__).resolve().parents[1] / "bench"))

from environment import HOME, LOGS, Environment, prepare, tell
from figures import pick_cores
from peers import Server
from peers import chosen as chosen_servers
from processes import Bench, Failed, running

from attacks import slowhttptest, table
from attacks.attacker import raise_descriptor_limit
from attacks.catalogue import ATTACKS, Attack, chosen, key
from attacks.measure import Plan, measure
from attacks.tally import LIMIT, Result

APPS = Path(__file__).resolve().parent / "apps"
APPLICATION = "attacked"
OURS = "ours"  # stands for the server that the promise is about
OURS_MEANS = "prefork-serve-sync"
DEFAULT_SERVERS = [OURS, "gunicorn-gthread", "waitress", "granian"]


def main(words: Sequence[str] | None = None) -> int:
    options = read_options(words)
    if refusal := _refusal():
        tell(refusal)
        return 2
    signal.signal(signal.SIGTERM, _interrupted)
    descriptors = raise_descriptor_limit()
    busy = os.getloadavg()[0]
    server_core, client_core = pick_cores(os.sched_getaffinity(0), {})
    bench = Bench(HOME, APPS, LOGS, server_core, client_core)
    if any(attack.tool for attack in options.only) and (reason := slowhttptest.missing()):
        tell(f"its attacks are left out: {reason}")
    environment = prepare()
    os.sched_setaffinity(0, {client_core})  # what is started from here shares it, but for the servers
    plan = Plan(seconds=options.seconds, scale=options.scale)
    results = attack_all(bench, environment, options.servers, options.only, plan)
    machine = {
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": f"server on core {server_core} of {os.cpu_count()}, client and attackers on core {client_core}",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "load before the run": f"{busy:.2f} (near zero on a machine that has nothing else to do)",
        "attacks": f"{plan.seconds:g} s each, at {plan.scale:g} of full scale, each with a server started anew; up to "
        f"{descriptors:,} open files",
        "client": f"50 requests a second, half of them on fresh connections; failed when not answered in {LIMIT:g} s",
        "onset": f"the first {plan.onset:g} s of an attack, while its connections are made; not part of the promise",
        "memory": f"PSS of all processes of the server; after: {plan.rest:g} s after the attack; queued: in the "
        "kernel's buffers of its connections",
    }
    for server in options.servers:
        version = environment.versions.get(server.package, "not installed")
        command = server.command_line(Path(), 8000, APPLICATION)
        machine[f"{server.name} {version}"] = f"`{shlex.join([Path(command[0]).name, *command[1:]])}`"
    text = table.markdown(machine, results)
    sys.stdout.write(text)
    if options.out:
        options.out.write_text(text)
    if options.json:
        options.json.write_text(table.as_json(machine, results))
    return 0


def attack_all(
    bench: Bench, environment: Environment, servers: Sequence[Server], attacks: Sequence[Attack], plan: Plan
) -> list[Result]:
    """Every server under every attack, one at a time."""
    results = []
    for attack in attacks:
        for server in servers:
            result = attack_one(bench, environment, server, attack, plan)
            results.append(result)
            tell(f"{attack.name}, {server.name}: " + (result.skipped or f"p99 {result.attacked.p99:.1f} ms, quiet "
                 f"{result.quiet.p99:.1f} ms, {result.attacked.share:.1%} served"))  # fmt: skip
    return results


def attack_one(bench: Bench, environment: Environment, server: Server, attack: Attack, plan: Plan) -> Result:
    """One of them, or the reason why there is no figure."""
    problem = environment.failures.get(server.package) or (slowhttptest.missing() if attack.tool else "")
    if not problem:
        try:
            with running(bench, server, APPLICATION) as target:
                return measure(server.name, target.root, target.port, attack, plan)
        except (Failed, RuntimeError) as failure:
            problem = str(failure)
    return Result(server.name, attack.name, skipped=problem)


def read_options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests/attacks/run.py",
        description="Measures what a normal client feels while others attack; prints a Markdown table.",
        epilog=f"Attacks: {', '.join(key(attack.name) for attack in ATTACKS)}.",
    )
    parser.add_argument(
        "--servers",
        type=_servers,
        default=_servers(",".join(DEFAULT_SERVERS)),
        metavar="NAME,..",
        help=f"only these of the benchmark's servers; {OURS} is {OURS_MEANS} [{','.join(DEFAULT_SERVERS)}]",
    )
    parser.add_argument("--only", type=_attacks, default=list(ATTACKS), metavar="NAME,..", help="only these attacks")
    parser.add_argument("--seconds", type=_positive, default=8.0, help="how long an attack lasts, once it is there [8]")
    parser.add_argument("--scale", type=_positive, default=1.0, help="how many connections: 0.1 is a tenth [1]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there as well")
    return parser.parse_args(words)


def _servers(text: str) -> list[Server]:
    words = [OURS_MEANS if word == OURS else word for word in text.split(",") if word]
    try:
        return chosen_servers(words)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _attacks(text: str) -> list[Attack]:
    try:
        return chosen([word for word in text.split(",") if word])
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive(text: str) -> float:
    if (number := float(text)) <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return number


def _refusal() -> str:
    """Why this machine cannot do it, in one sentence that says what to do; empty if it can."""
    if sys.platform != "linux":
        return "The attacks need Linux, for epoll, /proc and addresses such as 127.0.1.1; run them there."
    if len(os.sched_getaffinity(0)) < 2:
        return "The attacks need two processor cores, one of them for the server alone; allow it another."
    return ""


def _interrupted(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
