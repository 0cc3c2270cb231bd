# The commands of the project; `make` or `make help` lists them.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do "$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null && echo "$$p" && break; done)
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

.DEFAULT_GOAL := help
.PHONY: help serve test check format lint types contracts openapi permissions schemas audit bench lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "错误: 需要 Python 3.11-3.14" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The project is installed without isolation: its build tool comes from the hashed list, like everything else.
$(RUNTIME): $(BIN)/python pyproject.toml requirements/build.txt requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(DEV): $(RUNTIME) requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

serve: $(RUNTIME) ## start everything and serve on 127.0.0.1:8000 (PORT=… for another port)
	@exec $(BIN)/liuzhang serve $(if $(PORT),--port $(PORT))

test: $(DEV) ## run all tests, file by file on every processor, each process with an embedded PostgreSQL
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

check: format lint types contracts ## everything CI checks beside the tests

format: $(DEV) ## is the code formatted
	$(BIN)/ruff format --check .

lint: $(DEV) ## ruff
	$(BIN)/ruff check .

types: $(DEV) ## pyright, strict
	$(BIN)/basedpyright

contracts: $(DEV) ## import contracts of the architecture
	$(BIN)/lint-imports

openapi: $(RUNTIME) ## write openapi.json
	$(BIN)/liuzhang openapi

permissions: $(RUNTIME) ## write docs/permissions.md
	$(BIN)/liuzhang permissions

schemas: $(RUNTIME) ## write the JSON Schemas of the seed files
	$(BIN)/liuzhang seed-schema

audit: $(RUNTIME) ## compare the seed with the printed document (SOURCE=file)
	$(BIN)/liuzhang audit-seed --source $(SOURCE)

bench: $(DEV) ## measure reading, compliance at 10 million obligations, reports at the deadline, files
	$(BIN)/python -m benchmarks.read
	$(BIN)/python -m benchmarks.compliance
	$(BIN)/python -m benchmarks.deadline_rush
	$(BIN)/python -m benchmarks.files

lock: ## renew the hashed requirement files (needs uv)
	printf 'setuptools>=80\n' | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate -o requirements/build.txt
	uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate -o requirements/dev.txt
	uv pip compile pyproject.toml -c requirements/dev.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate -o requirements/runtime.txt
	uv pip compile pyproject.toml --extra otel -c requirements/dev.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate -o requirements/otel.txt

clean: ## remove the environment and caches, never data
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .hypothesis build *.egg-info
