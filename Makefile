# Two commands for a newcomer: `make run` executes the course on the embedded data, `make test` runs all that CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install run test kit notebooks doctor clean

help:
	@echo "make run        set up, execute the notebooks on the embedded data, write build/index.html"
	@echo "make test       set up, run everything that CI runs"
	@echo "make kit        set up, write the student kit to build/kit.zip"
	@echo "make install    set up only: create $(VENV) and install labkit into it"
	@echo "make doctor     say what is installed and found on this machine"
	@echo "make notebooks  execute the notebooks in place, to store their outputs (maintainers)"
	@echo "make clean      remove build/ (the environment and data stay)"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@echo "== installing labkit into $(VENV) (a few minutes; PyTorch is large)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "labkit needs Python 3.11 or newer; name one with: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e ".[notebooks,test]"
	@touch $@

run: $(INSTALLED)
	@echo "== executing the notebooks, profile smoke"
	$(BIN)/labkit run --profile smoke --out build

test: $(INSTALLED)
	@echo "== style"
	$(BIN)/ruff check .
	@echo "== tests and notebooks"
	$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

kit: $(INSTALLED)
	$(BIN)/labkit release --out build/kit.zip

notebooks: $(INSTALLED)
	$(BIN)/labkit run --profile smoke --out build --in-place

doctor: $(INSTALLED)
	$(BIN)/labkit doctor

clean:
	rm -rf build
