# The development environment lives in .venv; every target makes it when it is missing.
PYTHON ?= python3
BIN := .venv/bin
SECONDS ?= 60

.PHONY: help test test-all fuzz lint types demo demo-flask bench attack docs clean

help:  ## show what there is
	@awk -F ' *## ' '/^[a-z-]+:.*##/ { sub(/:.*/, "", $$1); printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Four at once, as most tests wait for processes; those of a file share servers, and stay together.
test: .venv/installed lint types  ## lint, types and the test suite
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile

.venv/browser: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[browser]'
	@touch $@

test-all: test .venv/browser .venv/sslyze/installed  ## the same, and what takes longer: a real browser (apt install chromium-driver), sslyze, other versions, the tutorials
	$(BIN)/python -m pytest -m slow
	$(BIN)/python tests/versions.py
	$(BIN)/python tests/walkthrough.py

# Its libraries are others than ours.  Where there is no wheel of its OpenSSL, its tests are left out, and say so.
.venv/sslyze/installed: .venv/installed
	$(BIN)/python -m venv .venv/sslyze
	@.venv/sslyze/bin/python -m pip install --quiet --disable-pip-version-check --only-binary nassl 'sslyze>=6.1' && \
	    touch $@ || { rm -rf .venv/sslyze; echo "sslyze cannot be installed here: its tests are left out" >&2; }

# Building atheris takes a clang with libFuzzer, so only its wheels are taken.
.venv/fuzz: .venv/installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary atheris --editable '.[fuzz]' || \
	    { echo "make fuzz: no atheris for $$($(BIN)/python -V) on this system; there are wheels for CPython 3.10 to 3.13" \
	    "on Linux: make clean, then make fuzz PYTHON=python3.13" >&2; exit 1; }
	@touch $@

fuzz: .venv/fuzz  ## guided random bytes for the parsers (Linux, Python 3.10 to 3.13): make fuzz SECONDS=60
	$(BIN)/python tests/fuzz/fuzzing.py $(SECONDS)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

demo: .venv/installed  ## serve the Django example on http://127.0.0.1:8000
	cd example_projects/django_shop && ../../$(BIN)/python manage.py migrate --verbosity 0
	cd example_projects/django_shop && ../../$(BIN)/python manage.py seed
	cd example_projects/django_shop && ../../$(BIN)/python manage.py collectstatic --noinput --verbosity 0
	cd example_projects/django_shop && exec ../../$(BIN)/python manage.py serve --workers 2 --access-logfile -

demo-flask: .venv/installed  ## serve the Flask example on http://127.0.0.1:8000
	cd example_projects/flask_notes && ../../$(BIN)/flask init-db
	cd example_projects/flask_notes && exec ../../$(BIN)/flask serve --workers 2 --access-logfile -

bench: .venv/installed  ## measure beside the peers (Linux, wrk; all of it takes about two hours); options: make bench BENCH=--quick
	$(BIN)/python tests/bench/run.py $(BENCH)

attack: .venv/installed  ## what a normal client feels while others attack, beside the peers (Linux; 20 minutes); options: make attack ATTACK="--scale 0.1"
	$(BIN)/python tests/attacks/run.py $(ATTACK)

docs: .venv/installed  ## draw the manual pages that are made from declarations
	$(BIN)/python -m server_core.reference docs/reference
	$(BIN)/python -m django_serve.translations docs/reference
	$(BIN)/python -m flask_serve.translations docs/reference

clean:  ## remove what the other targets made
	rm -rf example_projects/django_shop/db.sqlite3 example_projects/django_shop/staticfiles example_projects/flask_notes/instance
	rm -rf .venv .bench .fuzz .versions build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
