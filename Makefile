# pi-protocol. `make demo` runs the main job, `make test` all tests; both set everything up by themselves.
# Needs Python 3.11+, Node 20+ with npm, make and gcc. Set-up pieces are cached: a second run installs nothing.

PYTHON ?= python3
BIN := .venv/bin
STAMPS := .make
PYTHON_DONE := .venv/done
NODE_DONE := node_modules/done

AUDIT := $(STAMPS)/audit/bin

.PHONY: help setup demo test soak model bench bench-training bench-verification bench-loss lint format contracts clean gas slither proofs mutants coverage


help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

demo: setup ## the main job: a whole paid run on this machine (make demo ARGS="--cheat copy --seed 3")
	$(BIN)/pi demo $(ARGS)

test: setup lint ## every test: Python, contracts, real processes on a real chain (make test ARGS="-n 0 -s tests/sdk")
	$(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: setup ## ruff, pyright, forge fmt
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	npx --no-install pyright
	npx --no-install forge fmt --check

format: setup ## rewrites the sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	npx --no-install forge fmt

soak: setup ## ten demos, different seeds, three cheats in turn (about 40 minutes)
	$(BIN)/python tests/soak.py $(ARGS)

model: setup ## 10,000 random traces through the contracts and their model in Python (about 20 minutes)
	PI_MODEL_TRACES=10000 $(BIN)/pytest -s tests/contracts/test_model.py $(ARGS)

bench: setup ## the benchmarks; tables on the terminal, JSON in benchmarks/results
	$(BIN)/python -m benchmarks $(ARGS)

bench-training: setup ## the training engine's benchmarks, and what stands in results/training.json (about 30 minutes)
	PI_LOSS_MINUTES=10 $(BIN)/python -m benchmarks outer_step overhead utilisation churn side_by_side loss training

bench-verification: setup ## attacks, honest work, activation proofs, costs, the audit, fuzzing: results/verification.json
	$(BIN)/python -m benchmarks attacks honest toploc cost audit fuzz verification

bench-loss: setup ## all of the loss grid, on from where it was (hours; results/loss.json)
	$(BIN)/python -m benchmarks loss training

contracts: setup ## builds the contracts and exports ABI and bytecode to the SDK
	npx --no-install forge build contracts/src
	$(BIN)/python tools/export_abi.py

gas: setup ## measures the gas of every operation anew, into contracts/snapshots/gas.json
	$(BIN)/python tools/gas.py $(ARGS)

slither: setup $(AUDIT)/slither ## static analysis; every high or medium finding has a reason in tools/slither.py
	PATH="$(CURDIR)/$(AUDIT):$$PATH" $(BIN)/python tools/slither.py $(ARGS)

proofs: setup $(AUDIT)/slither ## halmos proves the arithmetic of stakes, cases, rounds and the outer step for all arguments
	PATH="$(CURDIR)/$(AUDIT):$$PATH" $(BIN)/python tools/symbolic.py $(ARGS)

mutants: setup ## faults put into copies of the two custodians, which the tests must notice (about 15 minutes)
	$(BIN)/python tools/mutate.py $(ARGS)

coverage: setup ## lines and branches of the contracts that the Solidity tests reach
	$(BIN)/python tools/coverage.py $(ARGS)

clean: ## removes what set-up and runs made
	rm -rf .venv node_modules $(STAMPS) runs contracts/out contracts/cache

setup: $(PYTHON_DONE) $(NODE_DONE) $(STAMPS)/contracts

$(PYTHON_DONE): requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(AUDIT)/slither: tools/requirements-audit.txt
	test -x $(AUDIT)/python || $(PYTHON) -m venv $(STAMPS)/audit
	$(AUDIT)/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(NODE_DONE): package.json package-lock.json
	npm ci --no-fund --no-audit --loglevel=error
	@touch $@

$(STAMPS)/contracts: $(NODE_DONE) $(PYTHON_DONE) foundry.toml tools/solc $(wildcard contracts/src/*.sol contracts/src/*/*.sol)
	npx --no-install forge build contracts/src
	@mkdir -p $(STAMPS)
	@touch $@
