# Every target does its own set-up on a machine with Python >= 3.11, make and git; `make help` lists them.
# Another Python: make demo PYTHON=python3.12

.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
INPUT ?=
SEED ?=
DIR ?=
SECONDS ?= 600
PYTEST_ARGS ?=

export PATH := $(CURDIR)/$(BIN):$(PATH):/usr/sbin:/sbin

# Tests start some thousand processes; without bytecode each of them, and each worker, compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE

# Twice the cores: most tests wait for another process for a good part of their time.
WORKERS = $(shell echo $$((2 * $$(nproc))))
PARALLEL = -n $(WORKERS) --dist worksteal

# Tests that run much of the agent in one process take half as long again while coverage is measured: for who asks, and
# for continuous integration.
COVERAGE ?= $(filter true,$(CI))

# The first Python that is new enough; PYTHON= overrides.
define set_up
	@python=; for candidate in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	    if PATH="$${PATH#$(CURDIR)/$(BIN):}" command -v "$$candidate" >/dev/null 2>&1 && \
	       PATH="$${PATH#$(CURDIR)/$(BIN):}" "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        python=$$(PATH="$${PATH#$(CURDIR)/$(BIN):}" command -v "$$candidate"); break; fi; done; \
	if [ -z "$$python" ]; then \
	    echo "set-up: no Python 3.11 or newer among: $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)" >&2; \
	    echo "  next: sudo apt-get install python3   (or: make $@ PYTHON=/path/to/python3.11)" >&2; exit 1; fi; \
	"$$python" -c 'import venv' 2>/dev/null || { \
	    echo "set-up: this Python has no venv module" >&2; \
	    echo "  next: sudo apt-get install python3-venv" >&2; exit 1; }; \
	"$$python" .ci/environment.py $(1)
endef

.PHONY: help demo test check bench torture fuzz certs lock clean

help: ## This list
	@echo "usage: make TARGET [NAME=value]"; echo
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r name text; do \
	    printf '  %-9s %s\n' $$name "$$text"; done

demo: ## Watch one recording live and die; INPUT=clip.mp4 takes your own
	$(call set_up,demo)
	@$(BIN)/device-sim demo $(if $(INPUT),--input "$(INPUT)")

test: ## Every test, against real brokers, tools and peers; PYTEST_ARGS="-k name" for some, COVERAGE=1 (or CI=true) measures coverage too
	$(call set_up,test)
ifneq ($(strip $(PYTEST_ARGS)),)
	@$(BIN)/python -m pytest $(PARALLEL) $(PYTEST_ARGS)
else
	@# Compiled once, for all workers, and not under measurement.
	@ls -d tests/*/ | xargs -n 20 -P $$(nproc) $(BIN)/python -m pytest --collect-only -qq > /dev/null 2>&1 || :
ifeq ($(COVERAGE),)
	@$(BIN)/python -m pytest $(PARALLEL)
else
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(PARALLEL)
	@find . -maxdepth 1 -name '.coverage.*' -empty -delete  # a process that was killed as it began to write
	@$(BIN)/coverage combine -q
	@covered=$$($(BIN)/coverage report --format=total) || { $(BIN)/coverage report; exit 1; }; \
	    echo "statements and branches of agent/ that ran: $$covered %"
endif
endif

check: ## Style, types and layers
	$(call set_up,check)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: ## The table of speed and memory, with other tools measured beside ours
	$(call set_up,test)
	@$(BIN)/python -m tests.bench

torture: ## Kills, full disks, power cuts at the system calls; LONG=1 of each kind 10,000, SEED=n repeats a run; REAL=, WEATHER= as docs/reliability.md says
	$(call set_up,test)
	@$(BIN)/python -m tests.torture $(if $(LONG),--long) $(if $(SEED),--seed $(SEED)) \
	    $(if $(REAL),--real $(REAL)) $(if $(WEATHER),--weather $(WEATHER)) $(if $(POINTS),--points $(POINTS)) \
	    $(if $(MINUTES),--minutes $(MINUTES)) $(if $(WRITE),--write $(WRITE))

fuzz: ## Whatever bytes into every parser, by atheris; SECONDS=600 for all of them together
	$(call set_up,fuzz)
	@PYTHONPATH=$(CURDIR)/.venv/fuzz $(BIN)/python -m tests.fuzz --seconds $(SECONDS)

certs: ## A CA and TLS identities in DIR=folder
	$(call set_up,demo)
	@test -n "$(DIR)" || { echo "make certs: where to?" >&2; echo "  next: make certs DIR=my-certs" >&2; exit 2; }
	@$(BIN)/python -m certs init "$(DIR)"

lock: ## Resolve pyproject.toml anew into the lock files
	$(call set_up,lock)

clean: ## Remove everything that these targets made
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis \
	    .coverage .coverage.* htmlcov demo .fuzz tests/node/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
