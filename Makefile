# `make all` and `make test` need Python 3.11 or later and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
CORES ?= 8
# Another configuration: make report CONFIG=config/paper.yaml
CONFIG ?=
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES) all $(if $(CONFIG),--configfile $(CONFIG))

# Runs of hours have folders of their own: what is done stays there, and the same command goes on.
RUNS := build
# Rows of a reference that was begun elsewhere, see `reference`.
ROWS ?=
# Where data sets lie that nobody downloads: clothing/ of it holds the photographs of config/reference.yaml.
INFOADV_DATA ?= data
RUN = $(BIN)/snakemake --cores $(CORES) all --configfile config/$@.yaml --directory $(RUNS)/$@

.PHONY: help all test lint report docs pictures options findings reruns tuning networks reference lock clean

help:
	@echo "make all      set up .venv, then run the benchmark on the default configuration"
	@echo "make test     set up .venv, then run the tests"
	@echo "make lint     check style, types and workflow"
	@echo "make report   make all that is missing, then write report.html"
	@echo "make docs     write the documentation to site/, HTML that opens offline"
	@echo "make pictures draw the pictures of attacks and metrics in docs/pictures"
	@echo "make options  write the reference in config/README.md from the schemas"
	@echo "make findings write docs/findings.md and the results in README.md from results/reference"
	@echo "make reruns   write down which rules an edit of each module reruns"
	@echo "make tuning   run the grids of config/tuning.yaml, and write results/tuning"
	@echo "make networks train the networks of the reference, and write results/networks"
	@echo "make reference  run config/reference.yaml and config/profiles.yaml, or go on where they stopped; write results/reference"
	@echo "make lock     pin the newest versions in requirements.lock (needs uv)"
	@echo "make clean    remove results, figures and logs; what is tracked stays"

all: $(STAMP)
	$(SNAKEMAKE)

test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check --line-length 110 Snakefile workflow
	$(BIN)/snakemake --lint

report: all
	$(SNAKEMAKE) --report report.html --report-stylesheet workflow/report/report.css

# A warning is an error. The variable silences an advertisement of the theme.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

pictures: $(STAMP)
	$(BIN)/python docs/pictures.py

options: $(STAMP)
	$(BIN)/python -m infoadv options --write config/README.md

findings: $(STAMP)
	$(BIN)/python -m infoadv findings --tables results/reference --write docs/findings.md
	$(BIN)/python docs/fill_readme.py

reruns: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m helpers.code_inputs

tuning: $(STAMP)
	$(RUN)
	rm -rf results/tuning && mkdir -p results/tuning
	cp $(addprefix $(RUNS)/tuning/results/tables/,tuning.csv tuning.md targets.csv targets.md provenance.csv) results/tuning

# Hours of training, once: the networks of both runs of `make reference`. Each is a model artefact that says what made it. Those
# that are in results/networks already, of the specification that is asked for, are taken from there. An ensemble holds its members
# once more, and is joined anew by whoever wants it.
networks: $(STAMP)
	mkdir -p $(RUNS)/networks results/networks
	ln -sfn "$(abspath $(INFOADV_DATA))/clothing" $(RUNS)/networks/clothing
	ln -sfn "$(abspath results/networks)" $(RUNS)/networks/networks
	set -e; for run in reference profiles; do \
	  $(BIN)/snakemake --cores $(CORES) models --configfile config/$$run.yaml --directory $(RUNS)/networks; done
	rm -rf results/networks
	cp -r $(RUNS)/networks/results/models results/networks
	rm -f results/networks/*/without_*

# The attacks, then the information profiles.
# How much is left says `infoadv status --configfile config/reference.yaml --directory build/reference`.
# To go on on another machine: make reference ROWS=FOLDER, a copy of build without results/{data,models,attacks,checkpoints} of each run,
# at the same commit. It is copied once; what it holds is not made again. Snakemake goes by times: networks and data sets come first, figures last.
reference: $(STAMP)
	mkdir -p results/networks
	set -e; [ -z "$(ROWS)" ] || [ -d "$(ROWS)" ] || { echo "make: ROWS=$(ROWS): no such folder" >&2; exit 1; }; \
	for run in reference profiles; do \
	  mkdir -p $(RUNS)/$$run; \
	  ln -sfn "$(abspath $(INFOADV_DATA))/clothing" $(RUNS)/$$run/clothing; \
	  ln -sfn "$(abspath results/networks)" $(RUNS)/$$run/networks; \
	  snakemake="$(BIN)/snakemake --cores $(CORES) --keep-going --configfile config/$$run.yaml --directory $(RUNS)/$$run"; \
	  if [ -n "$(ROWS)" ] && [ -d "$(ROWS)/$$run" ] && [ ! -e $(RUNS)/$$run/.rows ]; then \
	    $$snakemake data models; cp -r "$(ROWS)/$$run/." $(RUNS)/$$run; \
	    for last in results/transfer results/tables figures; do \
	      [ ! -d $(RUNS)/$$run/$$last ] || find $(RUNS)/$$run/$$last -type f -exec touch {} +; done; \
	    touch $(RUNS)/$$run/.rows; fi; \
	  $$snakemake all; done
	rm -rf results/reference figures/reference && mkdir -p results/reference/profiles figures/reference/profiles
	for kind in csv md tex; do \
	  cp $(RUNS)/reference/results/tables/*.$$kind results/reference && \
	  cp $(RUNS)/profiles/results/tables/*.$$kind results/reference/profiles || exit 1; done
	for kind in png pdf; do \
	  cp $(RUNS)/reference/figures/*.$$kind figures/reference && \
	  cp $(RUNS)/profiles/figures/*.$$kind figures/reference/profiles || exit 1; done
	mkdir -p results/reference/rows/reference/results
	for kind in metrics transfer calibration benchmarks; do \
	  cp -r $(RUNS)/reference/results/$$kind results/reference/rows/reference/results || exit 1; done
	$(BIN)/python docs/small_figures.py figures/reference
	$(MAKE) findings

# No index address goes into the lock: pip and uv take packages from where they are configured to.
lock:
	uv pip compile --universal --all-extras pyproject.toml --output-file requirements.lock \
	  --custom-compile-command "make lock" --quiet

# Source distributions in the lock build with its own setuptools, so the build is pinned as well (no build isolation).
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: Python 3.11 or later is needed; name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@if uv --version > /dev/null 2>&1; then install="uv pip install --quiet --compile-bytecode --python $(BIN)/python"; \
	else install="$(BIN)/python -m pip install --quiet --disable-pip-version-check"; fi; \
	set -ex; \
	$$install "$$(grep '^setuptools==' requirements.lock)"; \
	$$install --no-build-isolation --requirement requirements.lock; \
	$$install --no-build-isolation --no-deps --editable .
	@touch $@

clean:
	rm -rf .snakemake logs report.html site
	mkdir -p results figures
	find results figures -mindepth 1 -maxdepth 1 ! -name reference ! -name networks ! -name tuning -exec rm -rf {} +
