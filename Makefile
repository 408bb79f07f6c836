# `make demo` runs the main job on the embedded log, `make test` every test, `make bench` every
# benchmark at the size of ITEMS. All make .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test bench lint format lock clean

.venv/installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: .venv/installed
	$(BIN)/errata demo

test: .venv/installed
	$(BIN)/python -m pytest

ITEMS ?= 1000000
bench: .venv/installed
	for log in sqlite kafka; do \
		$(BIN)/python -m tests.bench.replay --items $(ITEMS) --log $$log && \
		$(BIN)/python -m tests.bench.views --items $(ITEMS) --log $$log && \
		$(BIN)/python -m tests.bench.appends --batched $$(( $(ITEMS) / 2 )) --log $$log || exit 1; \
	done
	$(BIN)/python -m tests.bench.replay --items $(ITEMS) --boxes
	$(BIN)/python -m tests.bench.versions --items $(ITEMS)
	$(BIN)/python -m tests.bench.releases --items $(ITEMS)
	$(BIN)/python -m tests.bench.releases --items $(ITEMS) --boxes

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Needs `uv`. The lock holds every platform's versions and hashes, and no index.
lock:
	uv pip compile --quiet --universal --all-extras --generate-hashes --no-emit-index-url --no-annotate \
		--no-header --python-version 3.11 --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv .cache .errata .pytest_cache .ruff_cache .hypothesis
