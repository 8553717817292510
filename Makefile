# Everything happens in .venv, from the locks; nothing is installed outside this folder. What `make bench` compares with
# is not part of the project, nor in its locks: Envoy goes into benchmarks/.cache.
# `make PYTHON=python3.13 …` takes another Python; `make demo ARGS=--once` and `make test ARGS="-k cache"` hand arguments on.

PYTHON ?= python3
ARGS ?=
MIN_BRANCHES := 95
# One more than there are cores, since many tests wait.
TESTERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # there is one .venv
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input install
# From the tree itself and editable; the build backend comes from the lock that was installed before, not from the net.
INSTALL_PROJECT := $(PIP) --no-deps --no-build-isolation --editable .
# Each lock holds everything it needs; --universal: for every platform and every Python that the project allows.
COMPILE := $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.PHONY: help install demo test check bench soak lock clean FORCE

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

install: .venv/.installed ## install into .venv; the command is .venv/bin/shop-auth-proxy

demo: .venv/.installed ## install into .venv, then try the proxy against simulated shops (ARGS=--once: a few calls only)
	@exec $(BIN)/shop-auth-proxy demo $(ARGS)

test: .venv/.installed-dev ## install the development tools into .venv, then run all tests (ARGS="-k cache": some)
	@$(BIN)/python -m pytest -n $(TESTERS) $(ARGS)

check: .venv/.installed-dev ## what CI runs: lint, format, types, Dockerfile, known vulnerabilities, and the tests with their branch coverage
	@echo "ruff check";  $(BIN)/python -m ruff check --quiet
	@echo "ruff format"; $(BIN)/python -m ruff format --check --quiet || \
		{ echo "Not formatted; run: $(BIN)/ruff format" >&2; $(BIN)/python -m ruff format --diff --quiet; exit 1; }
	@echo "mypy";        $(BIN)/python -m mypy --strict
	@echo "hadolint";    $(BIN)/hadolint Dockerfile
	@echo "pip-audit";   $(BIN)/python .ci/audit.py requirements.lock requirements-build.lock requirements-dev.lock
	@echo "pytest";      $(BIN)/python -m coverage erase
	@# Many tests run real processes: on a crowded machine one may come too late. What failed has to pass by itself.
	@$(BIN)/python -m coverage run -m pytest -q -n $(TESTERS) $(ARGS) || \
		{ test $$? = 1 || exit 1; echo "These run once more, by themselves; find out why they failed above, even if they pass now:" >&2; \
		$(BIN)/python -m pytest -q --last-failed --last-failed-no-failures none --maxfail 1; }
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report
	@# The report weighs lines and branches together; the branches alone have to reach the goal too.
	@$(BIN)/python -m coverage json --quiet -o - | $(BIN)/python -c 'import json, sys; \
		percent = json.load(sys.stdin)["totals"]["percent_branches_covered"]; \
		print(f"branches alone: {percent:.1f} % (goal: $(MIN_BRANCHES) %)"); \
		sys.exit(percent < $(MIN_BRANCHES))'

bench: .venv/.installed-dev ## compare the speed with that of other proxies (ARGS="--only calls --rounds 2": a first look)
	@$(BIN)/python -m benchmarks.compare $(ARGS)

soak: .venv/.installed-dev ## all faults at once beside a healthy shop, for ten minutes (ARGS="--seconds 100": shorter)
	@$(BIN)/python -m benchmarks.soak $(ARGS)

lock: .venv/.made ## renew the locks: the newest versions that pyproject.toml allows
	@$(PIP) --upgrade uv
	@$(COMPILE) --upgrade --group dev pyproject.toml -o requirements-dev.lock
	@$(COMPILE) --upgrade --constraints requirements-dev.lock --extra fast --extra shared pyproject.toml -o requirements.lock
	@$(COMPILE) --upgrade --constraints requirements-dev.lock --group build -o requirements-build.lock
	@# A lock that names a place works only where that place can be reached.
	@! grep -nE '://|^ *-[^-]|--(index|extra|find|trusted|no-index)| @ ' requirements.lock requirements-build.lock requirements-dev.lock

clean: ## remove .venv and everything else that was made here
	@rm -rf .venv dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache benchmarks/.cache benchmarks/results
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: each is younger than what it was made from, or is made again.
.venv/.installed: .venv/.made requirements.lock requirements-build.lock pyproject.toml
	@echo "installing into .venv …"
	@$(PIP) --require-hashes -r requirements.lock -r requirements-build.lock
	@$(INSTALL_PROJECT)
	@touch $@

.venv/.installed-dev: .venv/.made requirements-dev.lock pyproject.toml
	@echo "installing into .venv, with the development tools …"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@$(INSTALL_PROJECT)
	@touch $@

# An environment is bound to its Python and to its place: if one of the two is gone, it is made again.
ifeq ($(shell test -x $(BIN)/python && grep -qsxF "$$(pwd -P)" .venv/.made && echo usable),)
.venv/.made: FORCE
endif

.venv/.made:
	@command -v "$(PYTHON)" >/dev/null || \
		{ echo "There is no $(PYTHON) here. Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is $$("$(PYTHON)" -V 2>&1), but 3.11 or newer is needed: make PYTHON=python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) can't make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@"$(PYTHON)" -m venv --clear .venv
	@pwd -P > $@
