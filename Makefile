# make quickstart   trains, evaluates and tries a small family (a few minutes on two cores)
# make test         the tests (six minutes on two cores);  make test-long  those that train for longer
# make test-consumers  exports in the programs that they are for, which are installed into .pytest_cache/tools
# make chaos        kills, full disks, damage, swaps and jumping clocks at random moments
# make lint         ruff and mypy;  make format  ruff's formatter
# make results      recomputes the figures of the pages that show results; fails on a mismatch
# make docs         the documentation as a site, in site/
# Each installs what it needs into .venv first. Another Python: make PYTHON=/path/to/python3.11 test

PYTHON ?= $(or $(shell command -v python3.11),python3)
VENV := .venv
BIN := $(VENV)/bin
READY_TO_TRAIN := $(VENV)/.ready-to-train
READY := $(VENV)/.ready
READY_FOR_DOCS := $(VENV)/.ready-for-docs
RUN ?= runs/quickstart

.PHONY: setup quickstart test test-long test-consumers chaos lint format results docs clean

setup: $(READY)

$(READY_TO_TRAIN): pyproject.toml constraints.txt tools/set_up.py
	$(PYTHON) tools/set_up.py $(VENV) train,report
	touch $@

$(READY): pyproject.toml constraints.txt tools/set_up.py
	$(PYTHON) tools/set_up.py $(VENV) train,bergamot,onnx,ray,report,serve,energy,dev
	touch $@ $(READY_TO_TRAIN)

$(READY_FOR_DOCS): pyproject.toml constraints.txt tools/set_up.py
	$(PYTHON) tools/set_up.py $(VENV) docs
	touch $@

quickstart: $(READY_TO_TRAIN)
	$(BIN)/polystill run recipes/quickstart.yaml --out $(RUN)

# Two workers, one thread each: more threads than cores make small models several times slower. A test that hangs fails
# after ten minutes; the slowest takes one.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal --timeout 600 $(ARGS)

test-long: $(READY)
	$(BIN)/python -m pytest -q -m long $(ARGS)

test-consumers: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m consumer --timeout 1200 $(ARGS)

# CHAOS_SEED=7 repeats the moments of a run; CHAOS_PART=0.1 does a tenth of everything.
chaos: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m chaos tests/chaos $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

results: $(READY)
	$(BIN)/python -m experiments.pages $(ARGS)

docs: $(READY_FOR_DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site .mypy_cache .pytest_cache .ruff_cache .hypothesis
