# Two commands do everything on a bare machine with Python 3.11+ and make:
#   make demo    sets up .venv and runs `flow build model.yaml`
#   make test    sets up .venv and runs the tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-all check bench oracles prove qor clean

$(READY): pyproject.toml constraints.txt build-constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bnnflow needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=build-constraints.txt $(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,check,finn-base,hardware,route]'
	touch $@

demo: $(READY)
	$(BIN)/flow build model.yaml

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-all: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'slow or not slow'

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python benchmarks/simulator.py
	$(BIN)/python benchmarks/compile.py

# Installs finn-plus and finn-base in .oracles/ (about 1.5 GB), has them judge our results, writes docs/results/interop.md.
oracles: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.oracles.run

# Installs yosys and z3 in .proofs/ (about 0.5 GB), proves the hardware's modules, writes docs/results/proofs.md.
prove: $(READY)
	$(BIN)/python -m tests.proofs.run $(WORDS)

# Maps a fixed set of designs by yosys and writes benchmarks/qor.csv; status 1 where a figure is 3 % above the one there.
qor: $(READY)
	PYTHONPATH=. $(BIN)/python benchmarks/qor.py $(WORDS)

clean:
	rm -rf $(VENV) .oracles .proofs dist .pytest_cache .mypy_cache .ruff_cache
