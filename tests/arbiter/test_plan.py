"""The plan: what the arbiter does next, and that doing it again and again leads where it should."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_core.arbiter.plan import SIGNALS, Backoff, Desired, Mode, Patience, Phase, Step, View, next_step

BOOTING, READY, LEAVING = Phase.BOOTING, Phase.READY, Phase.LEAVING


def serving(workers: int) -> Desired:
    return Desired(workers, 0, Mode.SERVE)


def ready(slot: int, generation: int = 1, tired: bool = False) -> View:
    return View(slot, generation, READY, tired)


# -- single steps


def test_an_empty_server_forks_all_its_workers():
    assert next_step(serving(3), [], None) == Step(forks=3)


def test_a_settled_server_is_left_alone():
    assert next_step(serving(2), [ready(1), ready(2)], None) == Step()


def test_a_leaving_worker_counts_for_nothing():
    assert next_step(serving(2), [ready(1), View(2, 1, LEAVING)], None) == Step(forks=1)


def test_of_too_many_workers_the_tired_leave_first_and_then_the_highest_slots():
    workers = [ready(1, tired=True), ready(2), ready(3), ready(4)]
    assert next_step(serving(2), workers, None) == Step(leave=(1, 4))


def test_nobody_leaves_while_a_replacement_is_still_booting():
    workers = [ready(1, tired=True), ready(2), View(3, 1, BOOTING)]
    assert next_step(serving(2), workers, None) == Step()


def test_a_tired_worker_gets_its_replacement_before_it_leaves():
    assert next_step(serving(2), [ready(1, tired=True), ready(2)], None) == Step(forks=1)
    assert next_step(serving(2), [ready(1, tired=True), ready(2), ready(3)], None) == Step(leave=(1,))


def test_tired_workers_are_replaced_one_after_the_other():
    workers = [ready(1, tired=True), ready(2, tired=True), View(3, 1, BOOTING)]
    assert next_step(serving(2), workers, None) == Step()


def test_a_new_generation_begins_with_one_worker_however_many_are_wanted():
    assert next_step(serving(4), [], 1) == Step(forks=1)
    assert next_step(serving(4), [ready(slot) for slot in (1, 2, 3, 4)], 2) == Step(forks=1)


def test_the_rest_of_a_first_generation_comes_together_once_one_worker_is_ready():
    assert next_step(serving(4), [ready(1)], 1) == Step(forks=3)


def test_a_fresh_worker_takes_the_place_of_one_old_worker():
    workers = [ready(1), ready(2), ready(3, generation=2)]
    assert next_step(serving(2), workers, 2) == Step(forks=1, leave=(1,))


def test_old_workers_that_never_became_ready_leave_before_those_that_serve():
    workers = [ready(1), View(2, 1, BOOTING), ready(3, generation=2)]
    assert next_step(serving(2), workers, 2) == Step(forks=1, leave=(2,))


def test_a_generation_of_full_strength_takes_over_and_all_others_leave():
    workers = [ready(1), ready(2, generation=2), ready(3, generation=2)]
    assert next_step(serving(2), workers, 2) == Step(leave=(1,), commit=True)


@pytest.mark.parametrize("mode", [Mode.DRAIN, Mode.STOP])
def test_a_server_that_ends_sends_everyone_away_and_forks_nobody(mode):
    workers = [ready(1), View(2, 1, BOOTING), View(3, 1, LEAVING), ready(4, generation=2)]
    assert next_step(Desired(9, 3, mode), workers, 2) == Step(leave=(1, 2, 4))


# -- a small world in which steps are taken


@dataclass
class World:
    """Workers that do as they are told, sooner or later; ``candidate`` is the generation that is to take over."""

    wanted: int
    workers: dict[int, View] = field(default_factory=dict)
    current: int = 0
    candidate: int | None = None
    desired_mode: Mode = Mode.SERVE
    commits: list[int] = field(default_factory=list)

    @property
    def present(self) -> list[View]:
        return [worker for worker in self.workers.values() if worker.phase is not LEAVING]

    @property
    def capacity(self) -> int:
        return sum(worker.phase is READY for worker in self.present)

    def plan(self) -> Step:
        return next_step(Desired(self.wanted, 0, self.desired_mode), list(self.workers.values()), self.candidate)

    def step(self) -> Step:
        step = self.plan()
        source = self.candidate if self.candidate is not None else self.current
        if step.commit:
            assert self.candidate is not None
            self.current, self.candidate = self.candidate, None
            self.commits.append(self.current)
        for slot in step.leave:
            self.workers[slot] = self.workers[slot]._replace(phase=LEAVING)
        for _ in range(step.forks):
            slot = next(slot for slot in range(1, 1000) if slot not in self.workers)
            self.workers[slot] = View(slot, source, BOOTING)
        return step

    def move(self, worker: View) -> None:
        """What a worker does when time passes: a booting one becomes ready, a leaving one is gone."""
        if worker.phase is BOOTING:
            self.workers[worker.slot] = worker._replace(phase=READY)
        elif worker.phase is LEAVING:
            del self.workers[worker.slot]

    @property
    def moving(self) -> list[View]:
        return [worker for worker in self.workers.values() if worker.phase is not READY]

    def settle(self) -> None:
        """Let time pass until nothing changes any more."""
        for _ in range(1000):
            step = self.step()
            if step == Step() and not self.moving:
                return
            for worker in self.moving:
                self.move(worker)
        raise AssertionError(f"never settled: {self}")


def full(wanted: int, generation: int = 1) -> World:
    return World(wanted, {slot: ready(slot, generation) for slot in range(1, wanted + 1)}, generation)


@given(st.integers(1, 9), st.data())
def test_a_reload_never_falls_below_capacity_and_never_needs_more_than_one_worker_more(wanted, data):
    world = full(wanted)
    world.candidate = 2
    while not world.commits or world.moving:
        world.step()
        assert world.capacity >= wanted
        assert len(world.present) <= wanted + 1
        if world.moving:
            world.move(data.draw(st.sampled_from(world.moving)))
    assert world.plan() == Step()
    assert [worker.generation for worker in world.workers.values()] == [2] * wanted
    assert world.commits == [2]


@given(st.integers(1, 9), st.data())
def test_recycling_never_falls_below_capacity_and_never_needs_more_than_one_worker_more(wanted, data):
    world = full(wanted)
    for slot in data.draw(st.sets(st.integers(1, wanted))):
        world.workers[slot] = ready(slot, tired=True)
    while world.step() != Step() or world.moving:
        assert world.capacity >= wanted
        assert len(world.present) <= wanted + 1
        if world.moving:
            world.move(data.draw(st.sampled_from(world.moving)))
    assert len(world.workers) == wanted
    assert not any(worker.tired for worker in world.workers.values())


views = st.builds(View, st.just(0), st.integers(1, 3), st.sampled_from(Phase), st.booleans())


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any world at all, however it came about."""
    found = draw(st.lists(views, max_size=12))
    workers = {slot: view._replace(slot=slot) for slot, view in enumerate(found, 1)}
    return World(draw(st.integers(1, 9)), workers, 2, draw(st.sampled_from([None, 3])))


@given(worlds())
def test_no_step_takes_away_a_worker_that_is_needed(world):
    before = world.capacity
    world.step()
    assert world.capacity >= min(before, world.wanted)


@given(worlds())
def test_no_step_makes_more_workers_than_are_wanted_and_one_for_the_change(world):
    before = len(world.present)
    world.step()
    assert len(world.present) <= max(before, world.wanted + 1)


@given(worlds(), st.integers(1, 9))
def test_from_anywhere_the_server_settles_with_exactly_the_workers_that_are_wanted(world, wanted):
    reloading = world.candidate
    world.settle()
    assert len(world.workers) == world.wanted
    assert not any(worker.tired for worker in world.workers.values()) or reloading
    if reloading:
        assert world.commits == [reloading]
        assert {worker.generation for worker in world.workers.values()} == {reloading}
    world.wanted = wanted
    world.settle()
    assert len(world.workers) == wanted


@given(worlds(), st.sampled_from([Mode.DRAIN, Mode.STOP]), st.data())
def test_a_server_that_ends_becomes_empty_and_stays_so(world, mode, data):
    world.desired_mode = mode
    world.step()
    assert not world.present
    while world.workers:
        world.move(data.draw(st.sampled_from(list(world.workers.values()))))
        assert world.step() == Step()


@settings(max_examples=200)
@given(st.integers(1, 6), st.data())
def test_whatever_happens_on_the_way_the_last_reload_wins(wanted, data):
    """Crashes, reloads during reloads, changes of strength, in any order; then calm."""
    world = full(wanted)
    newest = 1
    for _ in range(data.draw(st.integers(0, 25))):
        happening = data.draw(st.sampled_from(["move", "move", "crash", "tire", "reload", "give up", "more", "fewer"]))
        if happening == "move" and world.moving:
            world.move(data.draw(st.sampled_from(world.moving)))
        elif happening == "crash" and world.workers:
            del world.workers[data.draw(st.sampled_from(sorted(world.workers)))]
        elif happening == "tire" and world.workers:
            slot = data.draw(st.sampled_from(sorted(world.workers)))
            world.workers[slot] = world.workers[slot]._replace(tired=True)
        elif happening in ("reload", "give up"):
            for slot, worker in world.workers.items():
                if worker.generation == world.candidate and worker.phase is READY:
                    world.workers[slot] = worker._replace(tired=True)
            newest += 1
            world.candidate = newest if happening == "reload" else None
        elif happening in ("more", "fewer"):
            number = signal.SIGTTIN if happening == "more" else signal.SIGTTOU
            world.wanted = SIGNALS[number](serving(world.wanted)).workers
        before = world.capacity
        world.step()
        assert world.capacity >= min(before, world.wanted)
    expected = world.candidate or world.current
    world.settle()
    assert len(world.workers) == world.wanted
    assert world.current == expected


# -- the table of signals


def test_term_and_int_ask_to_drain_and_a_second_one_ends_at_once():
    for number in (signal.SIGTERM, signal.SIGINT):
        draining = SIGNALS[number](serving(2))
        assert draining == Desired(2, 0, Mode.DRAIN)
        assert SIGNALS[number](draining).mode == Mode.STOP
        assert SIGNALS[signal.SIGINT](SIGNALS[signal.SIGTERM](serving(2))).mode == Mode.STOP


def test_quit_ends_at_once_in_whatever_mode():
    for mode in Mode:
        assert SIGNALS[signal.SIGQUIT](Desired(2, 0, mode)) == Desired(2, 0, Mode.STOP)


def test_hup_asks_for_one_generation_more_and_nothing_else():
    assert SIGNALS[signal.SIGHUP](Desired(5, 7, Mode.SERVE)) == Desired(5, 8, Mode.SERVE)


def test_ttin_and_ttou_change_the_number_of_workers_but_never_to_none():
    assert SIGNALS[signal.SIGTTIN](serving(2)).workers == 3
    assert SIGNALS[signal.SIGTTOU](serving(2)).workers == 1
    assert SIGNALS[signal.SIGTTOU](serving(1)).workers == 1


@given(st.lists(st.sampled_from(sorted(SIGNALS)), max_size=30))
def test_no_signal_brings_a_server_back_that_is_ending(numbers):
    desired = serving(2)
    for number in numbers:
        changed = SIGNALS[signal.Signals(number)](desired)
        assert changed.mode >= desired.mode
        desired = changed


def test_every_signal_says_what_it_means_for_the_manual():
    assert all(change.__doc__ for change in SIGNALS.values())


# -- pauses between tries


def test_pauses_double_up_to_the_longest():
    backoff = Backoff()
    pauses = [backoff.failed(now=100.0) for _ in range(9)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert backoff.until == 130.0


def test_success_forgets_all_failures():
    backoff = Backoff()
    backoff.failed(1.0)
    backoff.failed(2.0)
    backoff.succeeded()
    assert (backoff.failures, backoff.until) == (0, 0.0)
    assert backoff.failed(3.0) == 0.5


@given(st.integers(1, 10_000))
def test_no_number_of_failures_is_too_large_for_a_pause(failures):
    backoff = Backoff()
    backoff.failures = failures
    assert 0 < backoff.failed(0.0) <= Backoff.LONGEST


# -- a candidate under a stream of changes


def test_the_first_candidate_is_given_up_at_once_and_each_next_one_later():
    patience = Patience()
    times = []
    for _ in range(6):
        times.append(patience.until(100.0) - 100.0)
        patience.gave_up()
    assert times == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0]
    patience.settled()
    assert patience.until(100.0) == 100.0
