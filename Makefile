PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Three processes keep two cores busy: some wait for a browser or a service.
PARALLEL := --numprocesses 3 --dist loadfile
ONE_THREAD := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1

.PHONY: demo test test-all lint bench docs notebooks dist clean

demo: $(READY)
	$(BIN)/galaxy-da demo --out demo

test: lint
	$(ONE_THREAD) $(BIN)/python -m pytest -m "not slow" $(PARALLEL)

test-all: lint
	$(ONE_THREAD) $(BIN)/python -m pytest $(PARALLEL)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m benchmarks

docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# Run the tutorials and keep their outputs.
notebooks: $(READY)
	$(BIN)/python docs/generators/run_notebooks.py

# Build wheel and source, check them, and install the wheel where nothing else is.
dist: $(READY)
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*
	$(BIN)/python -m venv --clear build/clean
	build/clean/bin/python -m pip install --quiet -c constraints.txt dist/*.whl
	cd build && clean/bin/galaxy-da --version && clean/bin/galaxy-da surveys sdss

clean:
	rm -rf demo build dist docs/_build docs/_generated .pytest_cache .mypy_cache .ruff_cache

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)
