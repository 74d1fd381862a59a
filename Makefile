# Two commands on a fresh machine: `make demo` and `make test`. Both install into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/bash

.PHONY: demo test install lint tables clean

$(VENV)/installed: setup.py constraints.txt refit_mv/__init__.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1); use: make PYTHON=python3.11"; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python's venv module is missing; install it: sudo apt-get install python3-venv"; exit 2; }
	@$(PYTHON) -c 'import ctypes; [ctypes.CDLL(name) for name in ("libGL.so.1", "libglib-2.0.so.0")] if __import__("sys").platform == "linux" else None' 2>/dev/null || { echo "OpenCV needs two system libraries; install them: sudo apt-get install libgl1 libglib2.0-0"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@# A processor build of torch, where the index serves one: the default wheel brings several gigabytes of CUDA.
	$(BIN)/python -m pip install --quiet -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	@touch $@

install: $(VENV)/installed

demo: install
	$(BIN)/refit-mv demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --project pyproject.toml

test: lint
	$(BIN)/python -m pytest -n auto

# The measured tables on the pages, from the CSV files in docs/tables.
tables: install
	$(BIN)/python docs/tables.py

clean:
	rm -rf $(VENV) demo build *.egg-info
