"""The arbiter's loop: compares what is with what should be and takes one step, each time it wakes.

``reconcile`` is four idempotent steps that never wait: reap (who has died, and why), judge (who has been silent or
slow for too long), decide (plan's next step: retire, scale, take over), house-keeping.  Reload, scaling, recovery and
shutdown are the same four lines.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from logging import Logger
from time import monotonic

from server_core.arbiter.autoreload import Autoreload
from server_core.arbiter.boot import Boot, Failure
from server_core.arbiter.children import Generation, Grandchild, Worker, describe_status
from server_core.arbiter.faults import Faults, indented
from server_core.arbiter.judge import ABORT_SECONDS, end_all, judge_imports, kill, why_kill
from server_core.arbiter.orders import LOADING, Orders
from server_core.arbiter.plan import SIGNALS, UNUSED_SIGNALS, Desired, Mode, Patience, Phase, next_step
from server_core.arbiter.recycling import Recycling
from server_core.arbiter.reports import Message, Reports
from server_core.errors import AppLoadError, BootError
from server_core.process import dead_children
from server_core.scoreboard import Score, Scoreboard
from server_core.settings import Timeouts
from server_core.signals import SignalPipe

#: a worker that has served for so long shows that its predecessor's crash was no boot loop
STABLE_SECONDS = 10.0
#: the longest sleep of the loop; when far more has passed, we were stopped ourselves
LOOK_SECONDS = 1.0


class Arbiter:
    """Keeps ``workers`` workers of the newest good generation alive.

    ``make_boot(generation, lifeline, reports, failure)`` says what a forkserver is told.  ``on_ready(generation,
    stands_in)`` is called whenever a generation has taken over, ``on_look(now)`` at least once a second; ``touched()``
    says as often why the application should be loaded anew, "" if it should not.  With
    ``autoreload`` (development) a first import that fails does not end the server: it waits for a change; and if the
    profile ``develops`` a generation of our own stands in for an application that cannot be loaded, and shows why.
    """

    def __init__(
        self,
        workers: int,
        timeouts: Timeouts,
        scoreboard: Scoreboard,
        log: Logger,
        make_boot: Callable[[int, int, int, Failure | None], Boot],
        *,
        on_ready: Callable[[int, bool], None] = lambda generation, stands_in: None,
        on_drain: Callable[[], None] = lambda: None,
        on_reopen: Callable[[], None] = lambda: None,
        on_look: Callable[[float], None] = lambda now: None,
        recycling: Recycling | None = None,
        touched: Callable[[], str] = lambda: "",
        autoreload: Autoreload | None = None,
        develops: bool = False,
    ) -> None:
        self._desired = Desired(workers, 0, Mode.SERVE)
        self._timeouts = timeouts
        self._scoreboard = scoreboard
        self._log = log
        self._make_boot = make_boot
        self._on_ready = on_ready
        self._on_drain, self._on_reopen, self._on_look = on_drain, on_reopen, on_look
        self._reopened = -1.0  # when the log files were opened anew
        self._recycling = recycling
        self._touched = touched
        self._autoreload = autoreload
        self._develops = develops
        self._signals = SignalPipe([*SIGNALS, *UNUSED_SIGNALS, signal.SIGCHLD])
        self._lifeline, self._lifeline_end = os.pipe()
        self._workers: dict[int, Worker] = {}
        self._current: Generation | None = None
        self._candidate: Generation | None = None
        self._retired: list[Generation] = []
        self._number = 0
        self._started_reloads = -1  # the first generation is the answer to reload 0
        # Room for those who leave while others take their place.
        self._orders = Orders(scoreboard.slots // 2, timeouts.graceful_timeout, log)
        self._dead: dict[int, int | None] = {}  # process id -> wait status, not yet told
        self._faults = Faults(log)
        self._backoff = self._faults.backoff
        self._patience = Patience()
        self._last_look = monotonic()
        self._asleep = 0.0, 0.0  # seconds in which we should have looked and did not run: before the last look, by now
        self._exit: Exception | None = None

    # -- the loop

    def run(self) -> None:
        """Serve until told to end.  Raises AppLoadError or BootError when the first generation never serves."""
        try:
            while not self._finished():
                self._reconcile()
                self._wait()
        finally:
            self._end_all()
        if self._exit is not None:
            raise self._exit

    def _finished(self) -> bool:
        return self._desired.mode != Mode.SERVE and not self._workers

    def _reconcile(self) -> None:
        now = monotonic()
        # The whole machine may have slept (Ctrl-Z, a frozen container, too much to do): no silence then is a fault.
        before = self._asleep[1]
        self._asleep = before, before + max(0.0, now - self._last_look - LOOK_SECONDS)
        self._last_look = now
        self._reap()
        self._judge(now)
        self._decide(now)
        self._keep_house(now)

    def _wait(self) -> None:
        """Sleep until a signal, a report, a changed file or the next second."""
        poll = select.poll()
        poll.register(self._signals.descriptor, select.POLLIN)
        for reports in self._all_reports():
            poll.register(reports.descriptor, select.POLLIN)
        autoreload = self._autoreload
        if autoreload is not None and autoreload.keep_watching():
            poll.register(autoreload.descriptor, select.POLLIN)
        settled = self._desired.mode == Mode.SERVE and self._started_reloads == self._desired.reloads
        pause = LOOK_SECONDS if settled else 0.1
        backoff = self._backoff.until - monotonic()
        if backoff > 0:
            pause = min(pause, backoff)
        ready = {descriptor for descriptor, _ in poll.poll(pause * 1000)}
        for number in self._signals.read():
            self._heed(number)
        if autoreload is not None and autoreload.descriptor in ready:
            can = self._candidate is None and self._current is not None and not self._current.is_stand_in
            self._reload_because(autoreload.heed(self._workers.values() if can else ()))

    def _reload_because(self, reason: str) -> None:
        """Files have changed: ``reason`` says which, "" when nothing has to be done."""
        if reason:
            self._log.info("%s: %s", reason, LOADING)
            self._backoff.succeeded()
            self._desired = SIGNALS[signal.SIGHUP](self._desired)

    def _all_reports(self) -> list[Reports]:
        every = [worker.reports for worker in self._workers.values()]
        every += [generation.reports for generation in self._generations()]
        return [reports for reports in every if not reports.closed]

    def _generations(self) -> list[Generation]:
        return [each for each in (self._current, self._candidate, *self._retired) if each is not None]

    def _heed(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP and self._autoreload is not None and self._autoreload.is_left_alone():
            number = signal.SIGTERM  # not asked for by a person
        now, before = monotonic(), self._desired
        after = self._desired = self._orders.heed(number, before, now)
        if after.reloads != before.reloads:
            self._backoff.succeeded()  # asked for by a person: no pause
        if after.reopenings != before.reopenings:
            self._reopen(now)
        if before.mode == Mode.SERVE != after.mode:
            self._on_drain()
            for generation in self._generations():
                generation.close()
        if before.mode != after.mode == Mode.STOP:
            for worker in self._workers.values():
                worker.leave(now, signal.SIGKILL)
                worker.since = now

    def _reopen(self, now: float) -> None:
        """All who write to log files open them anew; those who are not ready for it are told when they are."""
        self._reopened = now
        self._on_reopen()
        for generation in self._generations():
            if generation.imported:
                generation.send(signal.SIGUSR1)
        for worker in self._workers.values():
            if worker.phase is not Phase.BOOTING:
                worker.send(signal.SIGUSR1)

    # -- reap: who has died, who has said what

    def _reap(self) -> None:
        for generation in self._generations():
            for message in generation.reports.read():
                self._hear_forkserver(generation, message)
        self._dead.update(dead_children())  # forkservers, and orphans of a dead one
        for generation in self._generations():
            if generation.pid in self._dead:
                self._forkserver_died(generation, self._dead.pop(generation.pid))
        for worker in list(self._workers.values()):
            for message in worker.reports.read():
                self._hear_worker(worker, message)
            if worker.pid and worker.pid in self._dead:
                self._worker_died(worker, self._dead.pop(worker.pid))
            elif worker.reports.closed and self._is_orphan(worker) and not worker.exists():
                self._worker_died(worker, None)
        # A worker may be dead before its forkserver has told its process id; all other strangers are forgotten.
        if all(worker.pid for worker in self._workers.values()):
            self._dead.clear()

    def _is_orphan(self, worker: Worker) -> bool:
        """Nobody will ever tell of this worker's end: its forkserver is gone, and it is not our child."""
        return not any(generation.number == worker.generation and generation.pid for generation in self._generations())

    def _hear_forkserver(self, generation: Generation, message: Message) -> None:
        if "imported" in message:
            generation.imported = True
            if generation.started <= self._reopened:
                generation.send(signal.SIGUSR1)
        elif "failed" in message:
            generation.failure = Failure(message["failed"], message["details"])
        elif "forked" in message:
            worker = self._workers.get(message["slot"])
            if worker is not None:
                self._pid_is_known(worker, message["forked"])
        elif "unforked" in message:
            worker = self._workers.get(message["unforked"])
            if worker is not None and worker.pid == 0:
                worker.failure = Failure(message["why"], "")
                self._worker_died(worker, None)
        elif "exited" in message:
            for worker in list(self._workers.values()):
                if worker.pid == message["exited"] and worker.generation == generation.number:
                    self._worker_died(worker, message["status"])
        else:
            self._hear_of_application(message)

    def _hear_worker(self, worker: Worker, message: Message) -> None:
        if "ready" in message:
            self._pid_is_known(worker, message["ready"])  # its forkserver may have died before it could tell
            if worker.phase is Phase.BOOTING:
                if worker.since <= self._reopened:
                    worker.send(signal.SIGUSR1)
                worker.phase, worker.since = Phase.READY, monotonic()
        elif "failed" in message:
            worker.failure = Failure(message["failed"], message["details"])
        elif "stale" in message and self._autoreload is not None:
            self._reload_because(self._autoreload.stale(message["stale"], message["number"]))
        elif "recycle" not in message:
            self._hear_of_application(message)
        elif not worker.tired:
            worker.tired = True
            words = "Worker %d (pid %d) has answered %d requests (max_requests): it will be replaced."
            self._log.info(words, worker.slot, worker.pid, message["recycle"])

    def _hear_of_application(self, message: Message) -> None:
        """Whoever has imported it tells this."""
        if "finding" in message:
            self._faults.tell_finding(message["finding"])
        elif "place" in message and self._autoreload is not None:
            self._autoreload.watch(message["place"], message["pattern"])

    def _pid_is_known(self, worker: Worker, pid: int) -> None:
        if worker.process is not None:
            return
        forkservers = [generation.pid for generation in self._generations() if generation.pid]
        worker.process = Grandchild(pid, (os.getpid(), *forkservers))
        if worker.phase is Phase.LEAVING:  # told to go before it had a process
            worker.send(signal.SIGTERM)

    def _forkserver_died(self, generation: Generation, status: int | None) -> None:
        generation.pid = 0
        for message in generation.reports.read():
            self._hear_forkserver(generation, message)
        generation.reports.close()
        words = generation.reports.last_words
        generation.close()
        if generation in self._retired:
            self._retired.remove(generation)
        elif generation is self._candidate:
            sentence = generation.why_killed or f"its forkserver {describe_status(status)}"
            self._candidate_failed(generation.failure or Failure(sentence, words))
        elif generation is self._current and self._desired.mode == Mode.SERVE:
            self._log.error(
                "The forkserver of generation %d was lost: %s. Its workers serve on; a new generation replaces them.%s",
                generation.number,
                generation.why_killed or f"it {describe_status(status)}",
                indented(words),
            )
            self._desired = SIGNALS[signal.SIGHUP](self._desired)

    def _worker_died(self, worker: Worker, status: int | None) -> None:
        del self._workers[worker.slot]
        answered = self._scoreboard.read(worker.slot).requests
        self._scoreboard.clear(worker.slot)
        for message in worker.reports.read():
            self._hear_worker(worker, message)
        worker.close()
        as_told = status in (None, 0, signal.SIGTERM) or self._desired.mode == Mode.STOP
        if worker.phase is Phase.LEAVING and not worker.why_killed and as_told:
            self._log.debug("Worker %d (pid %d) has left.", worker.slot, worker.pid)
            return
        sentence = worker.why_killed or f"it {describe_status(status)}"
        sentence, details = failure = worker.failure or Failure(sentence, worker.reports.last_words)
        if worker.phase is Phase.LEAVING:
            if worker.why_killed and self._develops and self._desired.mode != Mode.SERVE:
                details = ""  # whoever has pressed Ctrl-C beside an open event stream knows why
            sentence += "; the stacks of its threads follow" if details and not worker.failure else ""
            words = "Worker %d (pid %d), which was leaving: %s.%s"
            self._log.warning(words, worker.slot, worker.pid, sentence, indented(details))
            return
        if self._candidate is not None and worker.generation == self._candidate.number:
            self._candidate_failed(failure, worker)
            return
        now = monotonic()
        lived_well = worker.phase is Phase.READY and now - worker.since > STABLE_SECONDS
        if lived_well:
            self._backoff.succeeded()
        pause = self._backoff.failed(now)
        if lived_well:
            self._backoff.until = pause = 0.0
        self._faults.tell_lost(worker, failure, describe_status(status), pause, worker.life(now, answered))

    # -- judge: who has been silent or slow for too long

    def _judge(self, now: float) -> None:
        timeouts = self._timeouts
        judge_imports(self._generations(), now, timeouts, self._log)
        if self._recycling is not None:
            self._recycling.look(self._workers.values(), now)
        for worker in list(self._workers.values()):
            if not worker.why_killed:
                silence = worker.silence(self._scoreboard.read(worker.slot).beat, now, *self._asleep)
                worker.why_killed = why_kill(worker, now, timeouts, silence, self._desired.mode)
            if worker.why_killed:
                self._kill_worker(worker, now)

    def _kill_worker(self, worker: Worker, now: float) -> None:
        if worker.pid and not (worker.killed and now - worker.killed > 3 * ABORT_SECONDS):
            kill(worker, now)
            return
        # Its forkserver has told neither of a process nor of its end: it hangs itself, or took that knowledge with it.
        for generation in self._generations():
            if generation.number == worker.generation and generation.pid:
                generation.why_killed = "it does not answer"
                generation.send(signal.SIGKILL)
                return
        self._worker_died(worker, None)

    # -- decide: the plan's next step

    def _decide(self, now: float) -> None:
        if self._desired.mode == Mode.SERVE and self._started_reloads < self._desired.reloads:
            if now < self._backoff.until:
                return
            if self._candidate is None or now >= self._patience.until(self._candidate.started):
                self._started_reloads = self._desired.reloads
                self._start_candidate(now)
        candidate = self._candidate
        taking_over = candidate is not None and candidate.imported
        source = candidate if taking_over else self._current
        views = [worker.view for worker in self._workers.values()]
        step = next_step(self._desired, views, candidate.number if candidate is not None and taking_over else None)
        for slot in step.leave:
            self._workers[slot].leave(now)
        if step.commit:
            self._commit()
        if step.forks and source is not None and source.open and now >= self._backoff.until:
            try:
                for _ in range(step.forks):
                    self._fork(source, now)
            except OSError as error:
                self._cannot("start a worker", error, now)

    def _fork(self, source: Generation, now: float) -> None:
        slot = next((slot for slot in range(1, self._scoreboard.slots) if slot not in self._workers), None)
        if slot is None:
            return  # the scoreboard is full of leaving workers: later
        self._scoreboard.write(slot, Score(0, now, now, 0))
        if (worker := source.fork(slot, now)) is not None:
            self._workers[slot] = worker

    def _start_candidate(self, now: float, failure: Failure | None = None) -> None:
        if self._candidate is not None:
            self._log.info("Generation %d is given up for a newer one.", self._candidate.number)
            self._give_up_candidate()
            self._patience.gave_up()
        try:
            read, write = os.pipe()
            boot = self._make_boot(self._number + 1, self._lifeline, write, failure)
            self._candidate = Generation(boot, write, Reports(read), now)
        except OSError as error:
            self._started_reloads -= failure is None  # still to be done
            self._cannot("load the application", error, now)
        else:
            self._number += 1

    def _cannot(self, what: str, error: OSError, now: float) -> None:
        """The machine has no more processes or descriptors for us: what runs goes on, and we try again."""
        if self._number == 0:
            self._exit = BootError(f"cannot {what}: {error.strerror}")
            self._desired = self._desired._replace(mode=Mode.STOP)
            return
        self._log.error("Cannot %s: %s. Next try in %gs.", what, error.strerror, self._backoff.failed(now))

    def _commit(self) -> None:
        """The candidate has reached full strength."""
        assert self._candidate is not None
        if self._current is not None:
            self._retire(self._current)
        self._current, self._candidate = self._candidate, None
        self._backoff.succeeded()
        if self._started_reloads == self._desired.reloads:  # else changes come one after the other
            self._patience.settled()
        self._on_ready(self._current.number, self._current.is_stand_in)

    def _candidate_failed(self, failure: Failure, worker: Worker | None = None) -> None:
        sentence, details = failure
        candidate = self._candidate
        assert candidate is not None
        who = f"worker {worker.slot} of generation {candidate.number}" if worker else f"generation {candidate.number}"
        self._give_up_candidate()
        if self._desired.mode != Mode.SERVE:
            return
        if self._develops and self._autoreload is not None and not candidate.is_stand_in:
            self._faults.tell(
                f"The application was not loaded, {who} failed: {sentence}", details, failure, "Waiting for a change."
            )
            self._start_candidate(monotonic(), failure)
            return
        self._patience.settled()
        if self._current is None and self._autoreload is None:
            loaded = not (worker.failure if worker else candidate.failure)
            self._exit = BootError(f"{who} failed: {sentence}", details) if loaded else AppLoadError(sentence, details)
            self._desired = self._desired._replace(mode=Mode.STOP)
            return
        pause = ""
        if self._current is not None and not self._current.open:
            # The old generation cannot fork any more, so this has to be tried again.
            pause = f" Next try in {self._backoff.failed(monotonic()):g}s."
            self._desired = SIGNALS[signal.SIGHUP](self._desired)
        if self._current is None:
            what, then = "loaded", "Waiting for a change; requests wait too."
        else:
            what, then = "reloaded", f"Generation {self._current.number} serves on.{pause}"
        self._faults.tell(f"The application was not {what}, {who} failed: {sentence}", details, failure, then)

    def _give_up_candidate(self) -> None:
        candidate, self._candidate = self._candidate, None
        assert candidate is not None
        now = monotonic()
        for worker in self._workers.values():
            if worker.generation == candidate.number:
                if worker.phase is Phase.READY:
                    worker.tired = True  # it has taken somebody's place already, so it serves until it is replaced
                else:
                    worker.leave(now)
        self._retire(candidate)

    def _retire(self, generation: Generation) -> None:
        generation.close()
        if generation.pid:
            self._retired.append(generation)

    # -- house-keeping

    def _keep_house(self, now: float) -> None:
        """Forget old faults when all is well again."""
        self._on_look(now)
        self._reload_because(self._touched())
        if self._backoff.failures and not self._backoff.until > now and self._current is not None:
            ready = [worker for worker in self._workers.values() if worker.phase is Phase.READY]
            if len(ready) >= self._desired.workers and all(now - each.since > STABLE_SECONDS for each in ready):
                self._backoff.succeeded()

    def _end_all(self) -> None:
        end_all(self._generations(), list(self._workers.values()), self._signals)
        os.close(self._lifeline_end)
        os.close(self._lifeline)
