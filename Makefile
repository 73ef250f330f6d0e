# Everything below makes its own virtual environment first: `make run` and `make test` work on a fresh checkout.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
OLDEST := $(VENV)-oldest
PYTHON312 ?= $(shell for python in python3.12 $(HOME)/.pyenv/versions/3.12.*/bin/python; do \
	$$python -c '' 2>/dev/null && { echo $$python; break; }; done)
# Each of two workers begins with one half of the files, so that what tests of a file share is made once.
FAST := -m "not slow and not faults and not browser" -n 2 --dist worksteal \
	-o faulthandler_timeout=120 -o faulthandler_exit_on_timeout=true
# Without compiled files every process compiles dstrun and the tests: 5 s each.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install run test check fast coverage mutants oldest proof commands faults ranks browser gpu gpukit docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

install: $(INSTALLED) ## dstrun and its tools into .venv

run: $(INSTALLED) ## train LeNet-300-100 on scikit-learn's digits: no download, seconds
	$(BIN)/dstrun

test: check ## everything that must hold: format, lint, types, tests

check: $(INSTALLED) ## the same, in an environment that is there already
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/pytest $(FAST)

fast: $(INSTALLED) ## tests alone
	$(BIN)/pytest $(FAST) -x -q

coverage: $(INSTALLED) ## lines and branches that the fast suite runs, by module; at least 95 % of lines in what makes figures
	mkdir -p build/coverage
	$(BIN)/pytest $(FAST) -q --cov --cov-context=test --cov-report= \
		--junitxml=build/coverage/tests.xml
	$(BIN)/python tests/covered.py

mutants: $(INSTALLED) ## single wrong lines in what makes figures: the share that a test fails for; an hour
	[ -f build/coverage/tests.xml ] || $(MAKE) coverage
	$(BIN)/python tests/mutants.py

$(OLDEST)/installed: pyproject.toml
	@test -n "$(PYTHON312)" || { echo "make oldest: no python3.12 found; make oldest PYTHON312=/its/path" >&2; exit 1; }
	$(PYTHON312) -m venv $(OLDEST)
	$(PYTHON312) tests/helpers/least.py > $(OLDEST)/least.txt
	$(OLDEST)/bin/python -m pip install --quiet --editable '.[dev]' --constraint $(OLDEST)/least.txt
	touch $@

oldest: $(OLDEST)/installed ## tests alone with the least versions that pyproject.toml allows, in Python 3.12
	$(OLDEST)/bin/pytest $(FAST) -q

proof: $(INSTALLED) ## the long proofs, every command of the documents among them; real data from $$DSTRUN_DATA
	$(BIN)/pytest -m slow

commands: $(INSTALLED) ## every command of the README and the docs, as written; part of make proof
	$(BIN)/pytest -m slow tests/test_documents.py

faults: $(INSTALLED) ## kills, damaged files and wild command lines by the thousand: under an hour on two cores
	$(BIN)/pytest -m faults -n 2 -rP

ranks: $(INSTALLED) ## two ranks on real data: killed 20 times and resumed, and against one rank; a quarter of an hour
	$(BIN)/pytest -m faults tests/faults/test_ranks_killed.py -rP

browser: $(INSTALLED) ## the dashboard in headless Chromium, which Debian has and root may install here
	command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y chromium; } || true
	$(BIN)/pytest -m "browser and not slow"

gpu: $(INSTALLED) ## on a machine with a GPU: checks, speed and real runs, in eight minutes; build/gpu-results
	$(BIN)/python benchmarks/gpu.py

gpukit: $(INSTALLED) ## the same for a machine without a network: two folders to carry, build/gpu and build/gpu-images
	$(BIN)/python benchmarks/gpu_kit.py

docs: $(INSTALLED) ## docs/options.md from the options themselves, tables and claims of results from docs/runs
	$(BIN)/python docs/options.py > docs/options.md
	$(BIN)/python docs/results.py

clean: ## take away what make has made; runs in outputs/ stay
	rm -rf $(VENV) $(OLDEST) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
