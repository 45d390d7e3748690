.DEFAULT_GOAL := help
MEMBERS := $(patsubst %/pyproject.toml,%,$(wildcard libs/*/pyproject.toml services/*/pyproject.toml)) deploy/gateway deploy/local
# The first Python that is new enough and can create a virtual environment.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PY := .venv/bin/python

##@ Run (PORT=8000, RUN_DIR=.run; every setting is in .env.example)
run: .venv/run ## Start everything here; Ctrl-C stops it
	@$(PY) -m stack up
dev: .venv/dev ## The same with reload on save and debug logs, DEBUG=catalog for a debugger
	@$(PY) -m stack up --dev
start: .venv/run ## Start everything in the background
	@$(PY) -m stack start
stop: ## Stop what runs in the background
	@$(call if_installed,stop,echo "not running")
status: ## List the processes, their memory and where the data is
	@$(call if_installed,status,echo "stack: not running; start it with: make run" >&2; exit 3)
logs: ## Follow the logs, LOGS=catalog for one
	@$(call if_installed,logs,echo "stack: there are no logs yet; start it with: make run" >&2; exit 1)
admin: .venv/run ## Make an account of the running stack an admin, EMAIL=you@example.com; asks for a password
	@$(PY) -m stack exec auth -- python -m auth create-admin "$(or $(EMAIL),$(error EMAIL=you@example.com is needed))"
clean: ## Delete what is built (.venv and caches), no data
	@if [ -e .venv/run ] && $(PY) -m stack status >/dev/null 2>&1; then echo "running; stop it first with: make stop" >&2; exit 1; fi
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name .run -prune -o -name __pycache__ -prune -exec rm -rf {} +
reset: .venv/run ## Delete all data of the stack; lists it and asks first, unless YES=1
	@$(PY) -m stack reset

##@ Run in containers
up: export REVISION = $(shell git rev-parse HEAD 2>/dev/null)
up: ## Build and start with docker compose
	docker compose up --build --detach --wait
down: ## Stop and remove the containers
	docker compose down

##@ Develop
setup: .venv/dev ## Install everything for development into .venv
test: .venv/dev ## Run the tests, T=path for one
	@$(PY) -m pytest $(if $(T),"$(T)",--numprocesses 4 --dist loadgroup tests)
coverage: .venv/dev ## Run the tests and list the lines and branches that they miss, in all processes; T=path for one
	@$(PY) -m coverage erase; $(PY) -m coverage run -m pytest $(if $(T),"$(T)",--numprocesses 2 --dist loadgroup tests); \
		status=$$?; $(PY) -m coverage combine --quiet && $(PY) -m coverage report && exit $$status
compose-test: .venv/dev ## Test docker compose on a real engine, SHORT=1 for half of it
	@$(PY) -m tests.deploy.compose
k8s-test: .venv/dev ## Test the chart on the cluster of KUBECONFIG; IMAGE_LOAD="kind load docker-image", SHORT=1, SCENARIOS=install,network-policies
	@$(PY) -m tests.deploy.k8s
chaos: .venv/dev ## Kill workers at random for minutes, KILLS=15
	@$(PY) -m pytest -m chaos -s tests
soak: .venv/dev ## Run load, syncs and PostgreSQL outages while memory is measured, MINUTES=30
	@$(PY) -m tests.load.soak --minutes $(or $(MINUTES),30)
hostile: .venv/dev ## Send hostile requests to every route: what they cost, and whether others wait
	@$(PY) -m tests.load.hostile
mutants: .venv/dev ## Remove one guard after the other: tests must fail; SHORT=1 for 10 near the last commit
	@$(PY) -m tests.mutants $(if $(SHORT),--touched-by HEAD~1 --most 10)
lint: .venv/dev ## Check style, types and architecture rules
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .
	@$(PY) -m mypy && $(PY) -m tests.architecture_lint
format: .venv/dev ## Rewrite the code in our style
	@$(PY) -m ruff check --fix . && $(PY) -m ruff format .
bench: .venv/dev ## Measure against the budgets and write the tables of the README and docs/performance.md; BASELINE=../checkout
	@$(PY) -m tests.load.bench $(if $(BASELINE),--baseline "$(BASELINE)")

##@ Schemas and generated files
migrate: .venv/run ## Upgrade the schemas of the running stack
	@for service in $(notdir $(wildcard services/*)); do $(PY) -m stack exec $$service -- python -m $$service migrate || exit 1; done
migration: .venv/run ## Write a migration from the models: SERVICE=catalog M="add a column"
	@$(PY) -m stack exec $(or $(SERVICE),$(error SERVICE=... is needed: one of $(notdir $(wildcard services/*)))) -- python -m alembic revision --autogenerate -m "$(or $(M),$(error M="what it does" is needed))"
openapi: .venv/run ## Write the merged OpenAPI document
	@$(PY) -m tools.openapi
statements: .venv/dev ## Write the SQL that the services run, from their statements in SQLAlchemy
	@$(PY) -m tools.statements
chart: .venv/dev ## Write the comments of values.yaml into the chart's README and schema
	@$(PY) -m tools.chart
settings: .venv/dev ## Write .env.example and docs/settings.md from the declarations
	@$(PY) -m tools.settings
metrics: .venv/dev ## Write docs/metrics.md from what the processes register
	@$(PY) -m tools.metrics
lock: .venv/dev ## Resolve the dependencies and write the lock files
	@$(PY) -m tools.lock && $(MAKE) --no-print-directory sbom
sbom: .venv/dev ## Write the bill of materials (CycloneDX) from the lock file
	@$(PY) -m tools.sbom
release: .venv/dev ## Write VERSION=x.y.z into every file that names it and date the changelog; commits nothing
	@$(PY) -m tools.release "$(or $(VERSION),$(error VERSION=x.y.z is needed))"

help:
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/run: requirements.lock $(MEMBERS:=/pyproject.toml)
	@$(call install,$<)
	@touch $@
.venv/dev: requirements-dev.lock $(MEMBERS:=/pyproject.toml)
	@$(call install,$<)
	@touch .venv/run $@

define install
$(if $(PYTHON),,echo "Python 3.11 or newer with its venv module is needed (on Debian: apt install python3-venv); name one with PYTHON=..." >&2; exit 1;) \
command -v "$(PYTHON)" >/dev/null || { echo "$(PYTHON) is not found; PYTHON names a Python 3.11 or newer" >&2; exit 1; }; \
"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is too old: Python 3.11 or newer is needed" >&2; exit 1; }; \
"$(PYTHON)" deploy/install.py $(1) $(MEMBERS)
endef

# Commands that only look at a stack install nothing: without an installation nothing runs.
define if_installed
if [ -e .venv/run ]; then $(PY) -m stack $(1); else $(2); fi
endef

.PHONY: run dev start stop status logs admin clean reset up down setup test coverage compose-test k8s-test chaos soak hostile mutants lint format bench migrate migration openapi statements chart settings metrics lock sbom release help
