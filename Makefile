# make quickstart   trains, evaluates and tries a small family (a few minutes on two cores)
# make test         the tests (under ten minutes on two cores);  make test-long  those that train for longer
# make test-consumers  exports in the programs that they are for, which are installed into .pytest_cache/tools
# make lint         ruff and mypy;  make format  ruff's formatter
# Each installs what it needs into .venv first. Another Python: make PYTHON=/path/to/python3.11 test

PYTHON ?= $(or $(shell command -v python3.11),python3)
VENV := .venv
BIN := $(VENV)/bin
READY_TO_TRAIN := $(VENV)/.ready-to-train
READY := $(VENV)/.ready
RUN ?= runs/quickstart

.PHONY: setup quickstart test test-long test-consumers lint format clean

setup: $(READY)

$(READY_TO_TRAIN): pyproject.toml constraints.txt tools/set_up.py
	$(PYTHON) tools/set_up.py $(VENV) train
	touch $@

$(READY): pyproject.toml constraints.txt tools/set_up.py
	$(PYTHON) tools/set_up.py $(VENV) train,onnx,ray,report,serve,energy,dev
	touch $@ $(READY_TO_TRAIN)

quickstart: $(READY_TO_TRAIN)
	$(BIN)/polystill run recipes/quickstart.yaml --out $(RUN)

# Two workers, one thread each: more threads than cores make small models several times slower.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal $(ARGS)

test-long: $(READY)
	$(BIN)/python -m pytest -q -m long $(ARGS)

test-consumers: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m consumer $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
