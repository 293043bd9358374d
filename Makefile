# `make demo` and `make test` install everything they need inside the checkout. Each set-up step
# touches a file, so that it runs again only when its input has changed.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
UV := $(BIN)/uv
UV_VERSION := 0.13.9
SLITHER := .tools/slither
HALMOS := .tools/halmos
TORCH := .tools/torch
FLOWER := .tools/flower
DOCS := .tools/docs
RELEASE := .tools/release
NODE_MODULES := node_modules/.package-lock.json
# Processes of the Python tests: more than two cores, since many wait for chains. Each may load
# TensorFlow, and then has up to 1.6 GB.
JOBS := 3
# --python is needed: otherwise uv uses the active environment, if there is one.
INSTALL := UV_LINK_MODE=copy $(UV) pip install --quiet --python

# Runs a program and shows the last line of its output, or all of it if the program fails.
define concisely
log=$$(mktemp); if $(1) >"$$log" 2>&1; then tail -n 1 "$$log"; rm "$$log"; \
	else cat "$$log"; rm "$$log"; exit 1; fi
endef

.PHONY: help demo test test-torch test-flower lint contracts-test forge-test slither pytest assure symbolic kubo geth kaia kafka promtool helm chaos network-test bench slowdown docs release contracts lock clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.demo ## Train a model among ten parties on a chain in this process (Python only)
	@$(BIN)/flo demo $(ARGS)

test: lint contracts-test pytest ## Run every check and every test (Python, Node, Go and Java)

lint: .venv/.dev $(NODE_MODULES) ## Check format, style and types
	@echo "Checking format, style and types ..."
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@scripts/forge fmt --check

# Both compile all contracts on one core each, for minutes.
contracts-test: .venv/.dev $(NODE_MODULES) $(SLITHER)/.installed
	@$(MAKE) slither & slither=$$!; failed=0; \
		$(MAKE) forge-test || failed=1; wait $$slither || failed=1; exit $$failed

forge-test: .venv/.dev $(NODE_MODULES)
	@echo "Testing the contracts ..."
	@$(call concisely,scripts/forge test)

# Any finding fails. slither.config.json excludes detectors for what is used by design: phases end
# at absolute times (timestamp), pull payments use call (low-level-calls), and hashing and the
# forwarding of reverts use a few lines of assembly. Other exceptions are in the code, with their
# reason. The IR is off, so that all contracts are one compilation. The build directory is separate,
# because Slither cleans it first.
slither: .venv/.dev $(NODE_MODULES) $(SLITHER)/.installed
	@echo "Analysing the contracts ..."
	@$(call concisely,PATH="$(CURDIR)/scripts:$$PATH" FOUNDRY_PROFILE=legacy FOUNDRY_OUT=.tools/slither-out \
		FOUNDRY_CACHE_PATH=.tools/slither-cache $(SLITHER)/bin/slither .)

pytest: .venv/.dev $(NODE_MODULES) $(RELEASE)/.installed kubo geth kaia kafka promtool helm
	@echo "Testing the Python ..."
	@$(BIN)/pytest -n $(JOBS) --dist loadfile $(ARGS)

# PyTorch's wheels for Linux carry CUDA; so it has an environment of its own, which also sees the
# packages of the other one.
test-torch: $(TORCH)/.installed ## Run the tests that need PyTorch (4 GB on Linux)
	@echo "Testing with PyTorch ..."
	@$(TORCH)/bin/python -m pytest tests/pytorch $(ARGS)

test-flower: $(FLOWER)/.installed ## Test Flower apps as parties, in an environment of its own (Python only)
	@echo "Testing Flower apps ..."
	@$(FLOWER)/bin/pytest -q tests/flower $(ARGS)

ASSURE := PYTHONPATH=tests $(BIN)/python -m assurance

# See docs/assurance.md. The last two take hours; after an interruption, each continues.
assure: slither symbolic ## Check the contracts thoroughly (hours; can be stopped and resumed)
	@echo "Comparing the rules in Solidity with those in Python ..."
	@$(ASSURE).differential
	@echo "Undoing a wrong model of 25 million parameters ..."
	@$(call concisely,$(ASSURE).watching)
	@echo "Measuring what the tests cover ..."
	@$(ASSURE).coverage
	@echo "Checking the invariants ..."
	@$(ASSURE).campaigns
	@echo "Testing the tests with faulty contracts ..."
	@$(ASSURE).mutation
	@$(ASSURE).mutation --sample 300

# Python's garbage collector is off: when a solver's thread runs it, it may free objects that Z3 is
# using, which sometimes crashes halmos.
HALMOS_MAIN := import gc; gc.disable(); from halmos.__main__ import main; raise SystemExit(main())

symbolic: .venv/.dev $(NODE_MODULES) $(HALMOS)/.installed
	@echo "Proving properties of the libraries ..."
	@$(call concisely,PATH="$(CURDIR)/scripts:$$PATH" FOUNDRY_PROFILE=symbolic \
		$(HALMOS)/bin/python -c "$(HALMOS_MAIN)" \
		--forge-build-out $(HALMOS)/out --loop 256 --solver-timeout-assertion 10m --no-status)

kubo:
	@scripts/build_kubo.sh >/dev/null

geth:
	@scripts/build_geth.sh >/dev/null

kaia:
	@scripts/build_kaia.sh >/dev/null

kafka:
	@scripts/build_kafka.sh >/dev/null

promtool:
	@scripts/build_promtool.sh >/dev/null

helm:
	@scripts/build_helm.sh >/dev/null

network-test: .venv/.dev $(NODE_MODULES) geth kaia ## Run a federation on four validators with Clique, and with Istanbul BFT
	@# They wait for blocks, mostly: more of them than cores.
	@$(BIN)/pytest -q -n 4 --dist load tests/integration/test_validators.py

chaos: .venv/.dev $(NODE_MODULES) kubo ## Break a plain and a private federation of processes in some 150 ways (over an hour)
	@PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)
	@PYTHONPATH=tests $(BIN)/python -m chaos --private $(ARGS)
	@PYTHONPATH=tests $(BIN)/python -m chaos.twenty
	@PYTHONPATH=tests $(BIN)/python -m chaos.fifty
	@PYTHONPATH=tests $(BIN)/python -m chaos.ten_private

BENCH := build/bench

# Those of short/ and table/ judge and write what the others measure.
bench: .venv/.dev $(FLOWER)/.installed ## Run every benchmark, and write the tables of docs/performance.md (hours)
	@mkdir -p $(BENCH)
	@for file in benchmarks/[a-z]*.py benchmarks/{audit,growth,latency,training,transfers}/[a-z]*.py; do \
		echo "$$file"; name=$$(basename "$$file" .py); \
		if ! grep -q '"--json"' "$$file"; then PYTHONPATH=benchmarks $(BIN)/python "$$file"; else \
		PYTHONPATH=benchmarks $(BIN)/python "$$file" --json >$(BENCH)/$$name.new; \
		mv $(BENCH)/$$name.new $(BENCH)/$$name.json; fi; done
	@PYTHONPATH=benchmarks $(BIN)/python benchmarks/table/write.py

slowdown: .venv/.dev ## Compare a few short ratios with the recorded ones (a minute)
	@echo "Looking for slowdowns ..."
	@PYTHONPATH=benchmarks $(BIN)/python benchmarks/short/slowdown.py

docs: .venv/.dev $(DOCS)/.installed ## Build the documentation as a site, in build/site
	@echo "Building the documentation ..."
	@$(BIN)/python scripts/docs_site.py prepare build/docs
	@# Not with --quiet, which hides warnings from the strict mode too.
	@$(call concisely,NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build)
	@$(BIN)/python scripts/docs_site.py check build/site

# The files of the commit that is checked out, not those of the working tree.
release: .venv/.dev $(RELEASE)/.installed ## Build the release twice with equal bytes, with its SBOM, in dist, and install it alone
	@echo "Building the sdist and the wheel, twice ..."
	@$(BIN)/python scripts/release/build.py dist
	@$(BIN)/python scripts/release/sbom.py dist
	@echo "Installing the wheel without extras ..."
	@$(BIN)/python scripts/release/bare.py dist/*.whl

contracts: .venv/.dev $(NODE_MODULES) ## Compile the contracts into the package
	@$(BIN)/flo contracts build

# Keep addresses and local directories of this machine out of the lock files.
LOCK := $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

lock: .venv/.uv ## Choose new versions of all Python packages
	@echo "Choosing package versions ..."
	@$(LOCK) pyproject.toml --extra dev -o requirements/dev.lock
	@$(LOCK) pyproject.toml --extra demo -c requirements/dev.lock -o requirements/demo.lock
	@$(LOCK) requirements/torch.in -c requirements/dev.lock --overrides requirements/torch.overrides \
		-o requirements/torch.lock
	@$(LOCK) requirements/slither.in -o requirements/slither.lock
	@$(LOCK) requirements/halmos.in -o requirements/halmos.lock
	@$(LOCK) requirements/docs.in -o requirements/docs.lock
	@$(LOCK) requirements/release.in -o requirements/release.lock
	@$(LOCK) pyproject.toml requirements/flower.in --extra demo --extra flower -o requirements/flower.lock

clean: ## Remove everything that was set up or built
	@rm -rf .venv .tools node_modules out cache build dist .pytest_cache .mypy_cache .ruff_cache
	@rm -rf .hypothesis

.venv/.uv:
	@echo "Creating the Python environment in .venv ..."
	@python=$${PYTHON:-$$(scripts/find_python)}; "$$python" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

.venv/.demo: .venv/.uv requirements/demo.lock pyproject.toml
	@echo "Installing what the demo needs (about 2 GB with TensorFlow, once) ..."
	@$(INSTALL) $(BIN)/python --require-hashes -r requirements/demo.lock
	@$(INSTALL) $(BIN)/python --no-deps -e .
	@touch $@

.venv/.dev: .venv/.uv requirements/dev.lock pyproject.toml
	@echo "Installing what development needs (about 2 GB with TensorFlow, once) ..."
	@$(INSTALL) $(BIN)/python --require-hashes -r requirements/dev.lock
	@$(INSTALL) $(BIN)/python --no-deps -e .
	@$(UV) pip check --quiet --python $(BIN)/python
	@touch $@ .venv/.demo

$(NODE_MODULES): package.json package-lock.json .npmrc
	@command -v npm >/dev/null || { echo "Node.js 18 or later, with npm, is missing: see nodejs.org." >&2; exit 1; }
	@echo "Installing the Solidity toolchain ..."
	@npm ci --loglevel=error >/dev/null
	@touch $@

$(SLITHER)/.installed: .venv/.uv requirements/slither.lock
	@echo "Installing Slither ..."
	@$(UV) venv --quiet --clear --python $(BIN)/python $(SLITHER)
	@$(INSTALL) $(SLITHER)/bin/python --require-hashes -r requirements/slither.lock
	@touch $@

$(HALMOS)/.installed: .venv/.uv requirements/halmos.lock
	@echo "Installing halmos ..."
	@$(UV) venv --quiet --clear --python $(BIN)/python $(HALMOS)
	@$(INSTALL) $(HALMOS)/bin/python --require-hashes -r requirements/halmos.lock
	@touch $@

$(DOCS)/.installed: .venv/.uv requirements/docs.lock
	@echo "Installing what builds the documentation ..."
	@$(UV) venv --quiet --clear --python $(BIN)/python $(DOCS)
	@$(INSTALL) $(DOCS)/bin/python --require-hashes -r requirements/docs.lock
	@touch $@

$(RELEASE)/.installed: .venv/.uv requirements/release.lock
	@echo "Installing what makes and checks a release ..."
	@$(UV) venv --quiet --clear --python $(BIN)/python $(RELEASE)
	@$(INSTALL) $(RELEASE)/bin/python --require-hashes -r requirements/release.lock
	@touch $@

$(TORCH)/.installed: .venv/.dev requirements/torch.lock
	@echo "Installing PyTorch ..."
	@$(UV) venv --quiet --clear --python $(BIN)/python $(TORCH)
	@$(INSTALL) $(TORCH)/bin/python --no-deps --require-hashes -r requirements/torch.lock
	@$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
		>"$$($(TORCH)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/dev.pth"
	@touch $@

$(FLOWER)/.installed: .venv/.uv requirements/flower.lock pyproject.toml
	@echo "Installing Flower, with what its tests need (about 2 GB with TensorFlow, once) ..."
	@$(UV) venv --quiet --clear --python $(BIN)/python $(FLOWER)
	@$(INSTALL) $(FLOWER)/bin/python --require-hashes -r requirements/flower.lock
	@$(INSTALL) $(FLOWER)/bin/python --no-deps -e .
	@touch $@
