# The developer's door; `make` alone lists what it can do. PYTHON=python3.13 chooses an interpreter.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
JOBS ?= 2
# Each process of the tests would compile them and qd anew.
unexport PYTHONDONTWRITEBYTECODE

# Missing system packages: installed where that is possible without asking, else named.
APT = if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(1) >/dev/null; \
	else echo "make: $(1) is missing: $(2)" >&2; $(3); fi

.DEFAULT_GOAL := help
.PHONY: help demo test compat quick lint format bench chaos soak mutations clock operator golden redis clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: $(VENV)/.demo ## see qd at work: a shop's orders, on a server of its own, in demo-out/
	$(RUN)/python -m qd.examples.demo

test: $(VENV)/.dev redis lint ## all that CI runs
	$(RUN)/pytest -n $(JOBS) --dist worksteal

compat: $(VENV)/.dev ## all of the comparison with Go's asynq: 100,000 random operations, minutes of waiting
	CI=true COMPAT_FULL=1 COMPAT_OPERATIONS=100000 \
	$(RUN)/pytest -n $(JOBS) --dist worksteal tests/compat tests/inspector/test_doctor*.py

quick: lint ## lint, types and the tests that start nothing (seconds)
	$(RUN)/pytest -q $(wildcard tests/unit tests/property tests/architecture)

lint: $(VENV)/.dev ## style, types, direction of imports
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/mypy
	$(RUN)/lint-imports

format: $(VENV)/.dev ## put the code into shape
	$(RUN)/ruff check --fix
	$(RUN)/ruff format

bench: $(VENV)/.dev ## the benchmarks, peers beside qd: a quarter of an hour
	$(RUN)/python -m tests.bench $(ARGS)

chaos: $(VENV)/.dev ## kill, freeze and starve a real fleet; SCENES="storm poison", PROFILE=short
	$(RUN)/python -m tests.chaos $(SCENES) --profile $(or $(PROFILE),full)

soak: $(VENV)/.dev ## an hour of work under one fault after the other; MINUTES=10
	$(RUN)/python -m tests.chaos.soak --minutes $(or $(MINUTES),60)

mutations: $(VENV)/.dev ## break each line that keeps tasks safe, and see its test turn red
	$(RUN)/python -m tests.chaos.mutate $(ARGS)

operator: $(VENV)/.dev ## how soon commands answer, with a million tasks in Redis; SCENES="reads scan"
	$(RUN)/python -m tests.bench.operator $(SCENES)

clock: $(VENV)/.dev ## cron times against a watched clock, a million delayed tasks; SCENES="dst flood"
	$(RUN)/python -m tests.bench.clock $(SCENES)

golden: $(VENV)/.dev ## write the golden help texts and tables anew; look at the difference before you commit
	$(RUN)/pytest -q tests/cli/test_help.py tests/cli/test_tables.py --update-golden

# The tests of rediss:// need a server that can TLS; the one from PyPI cannot.
redis:
	@command -v redis-server >/dev/null || \
	{ $(call APT,redis-server,install it for the tests with TLS,test "$$CI" != true); }

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist demo-out .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	.import_linter_cache
	find qd tests -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment of its own: a system's Python may refuse packages (PEP 668).
$(RUN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "make: qd needs Python 3.11 or newer; try make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	{ $(call APT,python3-venv,install it or choose another interpreter with PYTHON=,false); }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(RUN)/python
	$(RUN)/python -m pip install -q --disable-pip-version-check -e '.[server]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(RUN)/python
	$(RUN)/python -m pip install -q --disable-pip-version-check -e '.[server,test,lint]'
	@touch $@ $(VENV)/.demo
