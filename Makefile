PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: quickstart results test lint types clean

quickstart: .venv
	$(BIN)/python -m gpt_lightning quickstart

# The table of README's results: make results DATA=folder_of_data_sets BACKBONE=logs/pretrain_books_nano/version_0
results: .venv
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/results.py $(DATA) $(BACKBONE)

test: lint types
	$(BIN)/pytest

lint: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv
	$(BIN)/mypy

# The stamp is written last, so that an interrupted installation is taken up again.
.venv: .venv/.installed
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

clean:
	rm -rf .venv data logs/*/ .mypy_cache .ruff_cache .pytest_cache
