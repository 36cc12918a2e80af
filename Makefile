# Each target sets up .venv from the lock when it must, and is a thin name for a command one could type oneself.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
POOL ?= local
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export HF_HUB_OFFLINE := 1

REPORTED := .dvc/tmp/reported.lock # the dvc.lock that report.html is of; DVC writes an equal one anew every time
FAST := python -m pytest -m "not long" -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: repro flow ui worker report results test test-portable test-aten test-avx2 test-sse41 test-numpy test-long bench gpu-kit docs lint format setup clean

repro: setup ## run what is not up to date, then print the results
	@frcnn repro
	@echo
	@cmp -s dvc.lock $(REPORTED) && test -f report.html || { frcnn report && cp dvc.lock $(REPORTED); }
	@frcnn results

flow: setup ## the same under Prefect, side by side where the machine allows, with pages to watch it
	frcnn flow

ui: setup ## Prefect's pages
	frcnn ui

worker: setup ## run the graph whenever someone presses Run in Prefect's pages
	frcnn worker --pool $(POOL)

report: setup ## one page on the run as it stands
	frcnn report

results: setup
	@frcnn results

test: setup ## the fast tests
	$(FAST)

test-portable: ## the tests as on lesser processors; each setting is a target too
	$(MAKE) --keep-going test-aten test-avx2 test-sse41 test-numpy

test-aten: setup ## all fast tests, torch without vector instructions
	ATEN_CPU_CAPABILITY=default $(FAST)

test-avx2: setup ## those whose numbers could differ, oneDNN without AVX-512
	ONEDNN_MAX_CPU_ISA=AVX2 $(FAST) --portable

test-sse41: setup ## the same, oneDNN without AVX
	ONEDNN_MAX_CPU_ISA=SSE41 $(FAST) --portable

test-numpy: setup ## the same, numpy without AVX2 and AVX-512
	NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4 AVX512_ICL AVX512_SPR" $(FAST) --portable

test-long: setup ## drills, sweeps and real data
	python -m pytest -m long

bench: setup ## ratios against peers, into docs/performance.md
	python -m benchmarks

gpu-kit: setup ## what python -m benchmarks.gpu_truth needs on a bare GPU machine, into .gpu
	python -m benchmarks.gpu_kit --out .gpu

docs: setup ## the documentation as a site, into site/
	@test -x .venv-docs/bin/mkdocs || { uv venv --quiet --python $(BIN)/python .venv-docs && \
	  uv pip install --quiet --python .venv-docs/bin/python --requirement docs/requirements.txt; }
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

lint: setup
	ruff format --check .
	ruff check .
	mypy

format: setup
	ruff format .
	ruff check --fix .

LINKED := data/raw data/weights data/initial_detector data/external_proposals

setup: $(BIN)/.ready $(LINKED) .dvc/plots.html

$(LINKED):
	mkdir -p $@

$(BIN)/.ready: requirements.lock bootstrap.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11, 3.12 or 3.13 is needed; run make PYTHON=python3.12")'
	@echo "installing what requirements.lock lists into .venv, 7 GB; this takes a minute or more"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r bootstrap.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

.dvc/plots.html: pipeline/report/dvc_plots.py $(BIN)/.ready
	python -m pipeline.report.dvc_plots

clean: ## forget every artifact (the cache in .dvc/cache stays)
	find data -mindepth 1 -maxdepth 1 ! -name .gitignore $(LINKED:%=! -path %) -exec rm -rf {} +
