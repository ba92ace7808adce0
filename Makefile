# Environment and everyday commands. All targets share one virtual environment, built from the lock.

STUDY ?= quickstart
ARCHIVE ?=
ROUNDS ?= 3
PYTHON ?= python3
FUZZ_SECONDS ?= 600

SHELL := /bin/sh
VENV := .venv
READY := $(VENV)/built
OUTSIDE := PATH='$(PATH)'
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

# The dissertation's study is config.yaml itself, any other one an overlay on it, or several; the last one has the name.
OVERLAY = $(if $(filter dissertation,$(STUDY)),,--configfile $(STUDY:%=workflow/studies/%.yaml))
NAME = $(lastword $(STUDY))
LOCAL_ARCHIVE = --config 'data={"source": "archive", "archive": "$(ARCHIVE)"}'
DATA = $(if $(ARCHIVE),$(LOCAL_ARCHIVE))
TABLES = $(if $(wildcard results/$(NAME)/tables/*.csv),results/$(NAME),results/reference/$(NAME))

.DEFAULT_GOAL := help
.PHONY: help environment study paper figures report publish test test-cluster test-conda test-crash fuzz lint bench
.DELETE_ON_ERROR:

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22
	@echo 'Settings: STUDY=$(STUDY) (dissertation, a name under workflow/studies, or several to be stacked), ARCHIVE=$(or $(ARCHIVE),path of a local zip)'

environment: $(READY) ## build the environment alone, with the command tvmap

UNKNOWN = $(foreach name,$(filter-out dissertation,$(STUDY)),$(if $(wildcard workflow/studies/$(name).yaml),,$(name)))

study: $(READY) ## run STUDY on all cores; results go to results/STUDY
	@test -z '$(strip $(UNKNOWN))' || { echo 'make: STUDY=$(strip $(UNKNOWN)) is not in workflow/studies; there are:' dissertation $(notdir $(basename $(wildcard workflow/studies/*.yaml))) >&2; exit 1; }
	snakemake --cores all --rerun-incomplete $(OVERLAY) $(DATA)

paper: $(READY) ## run the full dissertation study: a download of 1.2 GB and hours of training
	$(MAKE) study STUDY=dissertation

figures: $(READY) ## redraw the figures of STUDY from its tables alone
	python workflow/scripts/redraw_figures.py $(TABLES)

report: $(READY) ## write Snakemake's own report of a finished STUDY
	snakemake --report results/$(NAME)/snakemake-report.html $(OVERLAY) $(DATA)

publish: $(READY) ## copy what may be published of STUDY to results/reference/STUDY
	python workflow/scripts/publish_study.py results/$(NAME) results/reference/$(NAME)

bench: $(READY) ## measure the speed of the solvers and of a training step
	python tests/bench.py

test: lint ## check the code and run the tests
	python -m pytest

test-cluster: $(READY) ## run the small study on a real one-node Slurm that it installs and starts (Debian, as root)
	python -m pip install --quiet --disable-pip-version-check --requirement envs/requirements-cluster.txt
	python -m pytest -m cluster

test-conda: $(READY) ## run the small study with --use-conda, from an environment that has Snakemake alone
	python -m pip install --quiet --disable-pip-version-check --requirement envs/requirements-conda.txt
	python -m pytest -m conda --verbose

test-crash: $(READY) ## kill the small study at random moments of every rule, ROUNDS times, and compare how it ends
	CRASH_ROUNDS=$(ROUNDS) python -m pytest -m crash

fuzz: $(READY) ## fuzz the readers of images, archives and maps for FUZZ_SECONDS; findings go to fuzz/findings
	python -m pip install --quiet --disable-pip-version-check --requirement envs/requirements-fuzz.txt
	python tests/fuzz.py --seconds $(FUZZ_SECONDS)

lint: $(READY) ## check style, format, types and workflow
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow/rules
	mypy
	snakemake --lint

# A changed lock makes a new environment, so no package of the old one is left behind.
$(READY): envs/requirements.txt
	@$(OUTSIDE) command -v $(PYTHON) > /dev/null || { echo 'make: $(PYTHON) was not found; install Python 3.11 or later, or set PYTHON=...' >&2; exit 1; }
	@$(OUTSIDE) $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $$($(OUTSIDE) $(PYTHON) --version) is too old; set PYTHON=... to Python 3.11 or later" >&2; exit 1; }
	$(OUTSIDE) $(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement envs/requirements.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
