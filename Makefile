PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: quickstart results bench real-weights test soak lint types clean

quickstart: .venv
	$(BIN)/python -m gpt_lightning quickstart

# The table of README's results: make results DATA=folder_of_data_sets BACKBONE=logs/pretrain_books_nano/version_0
results: .venv
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/results.py $(DATA) $(BACKBONE)

# Every claim about speed, beside others, into benchmarks/RESULTS.md: make bench DATA=folder_of_data_sets
# PEERS=folder_of_their_scripts. The machine should do nothing else meanwhile.
bench: .venv
	$(BIN)/python benchmarks/bench.py $(DATA) $(PEERS)

# A published model in our hands, beside Hugging Face's and lm-eval's: make real-weights DATA=folder_of_data_sets
# PEER=hf_finetune.py; hours, as it fine-tunes eleven times. What was measured already is not measured again.
MODEL ?= data/smollm2
real-weights: .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt gguf accelerate
	$(BIN)/python benchmarks/smollm2.py $(MODEL)
	$(BIN)/python benchmarks/real_weights.py $(MODEL) $(DATA)/tinyshakespeare/test.txt
	$(BIN)/python benchmarks/harness_tasks.py $(DATA) data/lm_eval_tasks
	$(BIN)/python benchmarks/harness.py $(MODEL) data/lm_eval_tasks
	$(BIN)/python benchmarks/fine_tune.py sentiment $(DATA)/rt_polarity --model $(MODEL) --examples 320 --peer $(PEER)
	$(BIN)/python benchmarks/fine_tune.py ner $(DATA)/wnut17 --model $(MODEL) --examples 320 --peer $(PEER)
	$(BIN)/python benchmarks/fine_tune.py qa $(DATA)/squadshifts_wiki --model $(MODEL) --examples 96 --batch_size 8 --peer $(PEER)
	$(BIN)/python benchmarks/published.py $(MODEL) $(DATA)

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
