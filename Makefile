# `make` alone lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
SUITE ?= demo
CORES ?= all
OVERRIDES ?=
comma := ,
DATASET ?=
METHOD ?=
BACKBONE ?=
FILTERS := $(DATASET:%=--dataset %) $(METHOD:%=--method %) $(BACKBONE:%=--backbone %)

VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME
# Snakemake and DVC want a home; a container's user may have none.
export HOME ?= $(or $(TMPDIR),/tmp)

# The suites of photos need an optional dependency of pyproject.toml.
INSTALLED := $(VENV)/.installed $(if $(findstring grocery,$(SUITE))$(findstring cars_half,$(SUITE)),$(VENV)/.installed-grocery)

.PHONY: help install reproduce smoke same-bytes same-networks own-photos test-large remote-check emulator slurm slurm-daemons bench bench-quick test coverage pythons browser screenshots docs lint format expected lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15
	@echo
	@echo "Variables: SUITE=$(SUITE) CORES=$(CORES) OVERRIDES='regularizer.weight=1.0 seeds=[0,1]'"

reproduce: $(INSTALLED) ## rebuild a suite (SUITE=demo), print the graded table and where the report lies
	@rm -f data/*/no-data.txt # compose leaves what they say out of dvc.yaml
	@hier compose suite=$(SUITE) $(FILTERS) $(OVERRIDES)
	@hier recover
	@snakemake --cores $(CORES) --quiet rules host reason || { ls data/*/no-data.txt >/dev/null 2>&1 && \
		echo "going on without the data that could not be had" && snakemake --cores $(CORES) --quiet rules host reason; }
	@for suite in $(subst $(comma), ,$(patsubst [%],%,$(SUITE))); do \
		echo "table:  results/$$suite/table.md"; echo "report: results/$$suite/report/index.html"; done
	@hier verify

smoke: $(INSTALLED) ## four layouts × each method × four backbones on made-up data, a few steps each
	@PYTHONPATH=src:tests python -m fakes.smoke .smoke

same-bytes: $(INSTALLED) emulator ## prove that portable kernels give the same bytes on emulated processors (3 minutes)
	@PYTHONPATH=src:tests python -m fakes.same_bytes .same-bytes

own-photos: $(INSTALLED) ## do what docs/your-own-photos.md says, command by command (2 minutes)
	@PYTHONPATH=src:tests python -m fakes.own_photos .own-photos

same-networks: $(INSTALLED) emulator ## the same of two steps of larger networks (5 minutes)
	@PYTHONPATH=src:tests python -m fakes.same_networks

emulator: ## install QEMU's user emulation, if there is none (Debian's qemu-user)
	@command -v qemu-x86_64 >/dev/null && exit 0; \
	test "$$(id -u)" = 0 || sudo=sudo; \
	{ $$sudo apt-get update -qq && $$sudo apt-get install -y -qq qemu-user >/dev/null; } || \
		{ echo "could not install it: install QEMU's user emulation by other means, so that qemu-x86_64 is on the PATH"; exit 1; }

slurm: $(VENV)/.installed-slurm slurm-daemons ## run the suite smoke on a Slurm of two nodes whose jobs are stopped in every way (5 minutes)
	@pytest --quiet tests/workflow/test_slurm_profile.py
	@PYTHONPATH=src:tests python -m fakes.slurm .slurm

slurm-daemons: ## install Slurm and munge, if there are none (Debian's slurm-wlm)
	@command -v sbatch >/dev/null && { command -v munged || test -x /usr/sbin/munged; } >/dev/null && exit 0; \
	test "$$(id -u)" = 0 || sudo=sudo; \
	{ $$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null; } || \
		echo "could not install Slurm, so make slurm is skipped; install slurmctld, slurmd and munge by other means"

bench: $(INSTALLED) ## time loss, search, images, a step and the engines, on a quiet machine; 1 where a bound is missed
	@$(call bench)

bench-quick: $(INSTALLED) ## the same in small, against half of each bound (4 minutes)
	@$(call bench,--quick)

define bench
status=0; for each in regularizer retrieval images step processes engines; do \
	printf '\n## %s\n\n' $$each; python benchmarks/$$each.py $(1) || status=1; \
done; exit $$status
endef

# Three at a time for two cores: tests of locks, kills and engines wait for a good part of theirs.
test: $(INSTALLED) .validator/.installed lint ## lint, type-check and run the tests
	@pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder -m "not large"

test-large: $(INSTALLED) ## run the tests left out of `test`: packages of large networks, runs on four processes, known figures (4 minutes)
	@pytest --numprocesses 2 --dist load -m large tests/deployment tests/training tests/evaluation tests/reporting

remote-check: $(INSTALLED) ## push two suites to an S3 server of this machine, kill ten pushes, mend, clone and pull (1 minute)
	@HIER_PUSH_KILLS=10 pytest tests/workflow/test_remotes.py

# Apart from `test`: what counts every branch slows down all that it counts, and `test` asks nothing of it.
coverage: $(INSTALLED) .validator/.installed ## run the tests and list the lines and branches that none of them reaches
	@pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered

pythons: ## run the suite smoke on the oldest and on the newest Python found here, each in a clone of its own
	@.ci/pythons

browser: ## install a browser, in which the tests open the pages, if there is none (Debian's chromium)
	@for each in chromium chromium-browser google-chrome; do command -v $$each >/dev/null && exit 0; done; \
	test "$$(id -u)" = 0 || sudo=sudo; \
	{ $$sudo apt-get update -qq && $$sudo apt-get install -y -qq chromium >/dev/null; } || \
		{ echo "could not install it: install Chromium by other means, so that chromium is on the PATH"; exit 1; }

screenshots: $(INSTALLED) ## photograph the pages in results/grocery/report for the README (docs/screenshots)
	@python docs/screenshots.py

docs: $(INSTALLED) ## make HTML of docs/ in docs/_build/html, with the API reference; a warning is an error
	@PYTHONPATH=src python docs/commands.py && python docs/tables.py
	@PYTHONPATH=src sphinx-build -W --keep-going -n -q docs docs/_build/html && echo "docs: docs/_build/html/index.html"

lint: $(INSTALLED) ## ruff (lint and format), mypy, and the order of the rooms (import-linter)
	@ruff check . && ruff format --check --quiet . && mypy && PYTHONPATH=src lint-imports

format: $(INSTALLED) ## format the code
	@ruff format . && ruff check --fix .

expected: reproduce ## rebuild a suite and record its results as the expected ones
	@hier verify --update-expected
	@snakemake --cores $(CORES) --quiet rules host reason
	@hier verify

install: $(INSTALLED) ## make .venv from requirements.lock

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed, and $(PYTHON) is none; name one with: make PYTHON=python3.13"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) has no module venv; install it (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked packages into $(VENV) (a few minutes the first time)"
	@pip install --quiet --disable-pip-version-check -r requirements.lock
	@pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-%: $(VENV)/.installed
	@pip install --quiet --disable-pip-version-check -c requirements.lock --no-build-isolation --editable ".[$*]"
	@touch $@

# The validator of RO-Crates wants older packages than the project's: it has an environment of its own.
.validator/.installed:
	@$(PYTHON) -m venv .validator
	@.validator/bin/pip install --quiet --disable-pip-version-check roc-validator==0.13.0
	@touch $@

lock: ## write requirements.lock anew from pyproject.toml's ranges (then run the tests)
	@rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	@$(VENV)-lock/bin/pip install --quiet setuptools ".[dev]"
	@{ sed '/^[^#]/,$$d' requirements.lock; \
	   $(VENV)-lock/bin/pip freeze --all | grep -vE '^(pip|hier)\b' | sed -E 's/\+cpu$$//; s/^faiss-cpu==.*/&; sys_platform != "darwin"/'; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock && rm -rf $(VENV)-lock

clean: ## remove what the pipeline made (DVC's cache and what git keeps stay, and folders that are links)
	@for each in data runs results .checkpoints .hier .snakemake logs; do \
		if test -L $$each; then echo "$$each is a link and stays; empty it with: rm -rf $$each/*"; \
		else rm -rf $$each; git ls-files --deleted -z $$each 2>/dev/null | xargs -0r git checkout --quiet --; fi; \
	done
