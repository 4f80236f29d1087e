PYTHON ?= python3
BIN := .venv/bin
# Where it is set, each of the many processes that tests and sweeps start compiles the package anew.
export PYTHONDONTWRITEBYTECODE =
# A file's tests share what they made once. All tests have a process more than there are cores, as those that start
# processes wait a third of their time.
PYTEST := $(BIN)/pytest -q --dist loadfile --no-loadscope-reorder

.PHONY: install sweep test quick check-all check lint fmt demo bench

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

sweep: install  ## the main job on the embedded data: train the paper's grid, print the table, draw the plot
	$(BIN)/mnv2-sweep run spaces/paper_grid.yaml
	$(BIN)/mnv2-sweep plot --pareto paper_grid

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

test: lint  ## linters and tests, under 4 minutes on two cores
	$(PYTEST) -n 3 -m "not heavy"

quick: install  ## under a minute: without what is marked slow
	$(PYTEST) -n 2 -m "not slow and not heavy"

check-all: install  ## what is heavier still: a Ray cluster, an empty environment, a browser
	$(PYTEST) -n 1 -m heavy

check: test

fmt: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: install  ## two minutes to a plot
	$(BIN)/mnv2-sweep run spaces/quick.yaml

.venv/.bench: .venv/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	touch $@

bench: .venv/.bench  ## about an hour on two cores
	$(BIN)/python benchmarks/counters.py
	$(BIN)/python benchmarks/check_fvcore.py
	$(BIN)/python benchmarks/split.py
	$(BIN)/python benchmarks/photos.py
	$(BIN)/python benchmarks/photos.py decode
	$(BIN)/python benchmarks/small_maps.py
	$(BIN)/python benchmarks/train.py
	$(BIN)/python benchmarks/memory.py --seconds 300
	$(BIN)/python benchmarks/estimate.py 3
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/failures.py
	$(BIN)/python benchmarks/together.py
	$(BIN)/python benchmarks/chaos.py
	$(BIN)/python benchmarks/many.py
	$(BIN)/python benchmarks/fuzz_yaml.py
	$(BIN)/python benchmarks/odds.py
	$(BIN)/python benchmarks/doubt.py
	$(BIN)/python benchmarks/recommend.py
	$(BIN)/python benchmarks/until.py
	$(BIN)/python benchmarks/boxes.py
