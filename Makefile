PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: quickstart results bench gpu real-weights test soak lint types docs docs-serve clean

quickstart: .venv
	$(BIN)/python -m gpt_lightning quickstart

# The table of docs/results.md: make results DATA=folder_of_datasets BACKBONE=logs/pretrain_books_nano/version_0
results: .venv
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/results.py $(DATA) $(BACKBONE)

# Measure every claim about speed, also for other libraries, into benchmarks/RESULTS.md: make bench DATA=folder_of_datasets
# PEERS=folder_of_their_scripts. The machine should do nothing else meanwhile. MODEL generates the texts if it exists, and
# litgpt is measured if it is installed (pip install --no-deps litgpt).
MODEL ?= data/smollm2
BARE := .venv-bare
bench: .venv $(BARE)/.installed
	$(BIN)/python benchmarks/bench.py $(DATA) $(PEERS) --bare $(BARE)/bin/python $(if $(wildcard $(MODEL)),--model $(MODEL))

# On a machine with a GPU: the tests that compare it with a CPU, and the time of a training step of two models of 124M
# parameters against a plain loop and Hugging Face's Trainer, into benchmarks/GPU.md. It takes at most eight minutes.
gpu: .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt accelerate
	$(BIN)/python benchmarks/gpu.py

# Compare a published model with Hugging Face's and lm-eval's code: make real-weights DATA=folder_of_datasets
# PEER=hf_finetune.py. It takes hours, since it fine-tunes 35 times. Earlier measurements are kept.
real-weights: .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt gguf accelerate
	$(BIN)/python benchmarks/smollm2.py $(MODEL)
	$(BIN)/python benchmarks/real_weights.py $(MODEL) $(DATA)/tinyshakespeare/test.txt $(DATA)/self_instruct_human/train.jsonl
	$(BIN)/python benchmarks/harness_tasks.py $(DATA) data/lm_eval_tasks
	$(BIN)/python benchmarks/harness.py $(MODEL) data/lm_eval_tasks
	$(BIN)/python benchmarks/fine_tune.py sentiment $(DATA)/rt_polarity --model $(MODEL) --examples 320 --peer $(PEER)
	$(BIN)/python benchmarks/fine_tune.py ner $(DATA)/wnut17 --model $(MODEL) --examples 320 --peer $(PEER)
	$(BIN)/python benchmarks/fine_tune.py qa $(DATA)/squadshifts_wiki --model $(MODEL) --examples 96 --batch_size 8 --peer $(PEER)
	$(BIN)/python benchmarks/published_recipes.py $(MODEL) $(DATA) --peer $(PEER)

# One process for each core; a file's tests stay in one process, since they share what is expensive to make.
test: lint types
	$(BIN)/pytest -n auto --dist loadfile

# Try to violate every guarantee of docs/reliability.md, thousands of times: it takes 55 minutes of CPU time.
# make soak DATA=folder_of_datasets adds texts that the project does not ship.
soak: .venv
	SOAK=1 GPT_LIGHTNING_DATA=$(abspath $(DATA)) $(BIN)/pytest -m reliability

lint: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv
	$(BIN)/mypy

# Build the documentation as a site in site/. A broken link is an error. docs-serve shows the site while you write.
docs: .venv
	$(BIN)/zensical build --strict --clean

docs-serve: .venv
	$(BIN)/zensical serve

# The stamp is written last, so that an interrupted installation starts again.
.venv: .venv/.installed
.venv/.installed: EXTRAS := [test]
# Other environments get the package and its dependencies only, as users have it; what the tests need slows imports down.
%/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $*
	$*/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.$(EXTRAS)'
	touch $@

clean:
	rm -rf .venv $(BARE) data logs/*/ site .cache .mypy_cache .ruff_cache .pytest_cache
