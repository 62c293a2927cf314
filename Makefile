PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: quickstart results test soak lint types clean

quickstart: .venv
	$(BIN)/python -m gpt_lightning quickstart

# The table of README's results: make results DATA=folder_of_data_sets BACKBONE=logs/pretrain_books_nano/version_0
results: .venv
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/results.py $(DATA) $(BACKBONE)

test: lint types
	$(BIN)/pytest

# Every promise of README's table, broken on purpose, hundreds of times: half an hour on two cores.
# make soak DATA=folder_of_data_sets adds texts that are not ours to ship.
soak: .venv
	SOAK=1 GPT_LIGHTNING_DATA=$(abspath $(DATA)) $(BIN)/pytest -m reliability

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
