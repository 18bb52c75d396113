# Everything a fresh clone needs: Python 3.11 and make. Each target does its own set-up.
PYTHON ?= python3.11
VENV ?= .venv
# Processes of the test run; raise it on a machine with more cores.
JOBS ?= 2
# Folder with the recordings of the Free Spoken Digit Dataset, for `make digits`.
RECORDINGS ?= ../shared/data/fsdd/recordings

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGES := sari_data sari_train sari_bench

.DEFAULT_GOAL := help
.PHONY: help setup test lint format demo digits clean

help: ## show this text
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-10s %s\n", $$1, $$2}'

setup: $(STAMP) ## create the virtual environment and install everything into it

# Installed anew whenever the dependencies or their pins change.
$(STAMP): pyproject.toml constraints.txt
	@echo "make: installing sari and its pinned dependencies into $(VENV) (a few minutes the first time)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all,dev]"
	@touch $(STAMP)

lint: setup ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES)

format: setup ## put the code into the format that `make lint` checks
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup lint ## lint, then run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal --durations 10

demo: setup ## run the main job in the folder demo: corpus, base, SFT, GRPO, leaderboard
	PATH="$(abspath $(BIN)):$$PATH" bash recipes/demo.sh

digits: setup ## run the same on real recordings in the folder digits (RECORDINGS=folder)
	PATH="$(abspath $(BIN)):$$PATH" RECORDINGS="$(abspath $(RECORDINGS))" bash recipes/digits.sh

clean: ## remove caches, and the virtual environment in .venv
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
