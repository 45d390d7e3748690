.DEFAULT_GOAL := help
MEMBERS := libs/common services/auth services/catalog services/sync deploy/local
# The first Python that is new enough and can make a virtual environment.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PY := .venv/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check

##@ Run (PORT=8000, RUN_DIR=.run; every setting is in .env.example)
run: .venv/run ## Start everything here; Ctrl-C stops it
	@$(PY) -m stack up
start: .venv/run ## The same in the background
	@$(PY) -m stack start
stop: .venv/run ## Stop what runs in the background
	@$(PY) -m stack stop
status: .venv/run ## List the processes and their memory
	@$(PY) -m stack status
logs: .venv/run ## Follow the logs, LOGS=catalog for one
	@$(PY) -m stack logs
clean: .venv/run ## Delete all data of the stack
	@$(PY) -m stack clean

##@ Run in containers
up: ## Build and start with docker compose
	docker compose up --build --detach --wait
down: ## Stop and remove the containers
	docker compose down

##@ Develop
test: .venv/dev ## Run the tests, T=path for one
	@$(PY) -m pytest $(if $(T),"$(T)",--numprocesses 3 --dist loadgroup tests)
compose-test: .venv/dev ## Try docker compose for real, SHORT=1 for the half
	@$(PY) -m tests.compose
k8s-test: .venv/dev ## Try the chart on the cluster of KUBECONFIG; IMAGE_LOAD="kind load docker-image", SHORT=1, SCENARIOS=1,5
	@$(PY) -m tests.k8s
chaos: .venv/dev ## Random kills for minutes, KILLS=15
	@$(PY) -m pytest -m chaos -s tests
soak: .venv/dev ## Load, syncs and PostgreSQL cuts while memory is watched, MINUTES=30
	@$(PY) -m tests.load.soak --minutes $(or $(MINUTES),30)
hostile: .venv/dev ## Hostile requests to every route: what they cost, and whether others wait
	@$(PY) -m tests.load.hostile
lint: .venv/dev ## Check style, types and house rules
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .
	@$(PY) -m mypy && $(PY) -m tests.house
format: .venv/dev ## Rewrite the code in house style
	@$(PY) -m ruff check --fix . && $(PY) -m ruff format .
bench: .venv/dev ## Measure against the budgets
	@$(PY) -m tests.load.bench

##@ Schemas and generated files
migrate: .venv/run ## Upgrade the schemas of the running stack
	@for service in auth catalog sync; do $(PY) -m stack exec $$service -- python -m $$service migrate || exit 1; done
migration: .venv/run ## Write a migration: SERVICE=catalog M="add a column"
	@$(PY) -m stack exec $(or $(SERVICE),$(error SERVICE=auth, catalog or sync is needed)) -- python -m alembic revision --autogenerate -m "$(or $(M),$(error M="what it does" is needed))"
openapi: .venv/run ## Write the merged OpenAPI document
	@$(PY) -m stack.openapi
chart: .venv/dev ## Write the table of values in the chart's README
	@$(PY) -m stack.chart
lock: .venv/dev ## Resolve the dependencies anew
	@UV="$(CURDIR)/.venv/bin/uv" sh deploy/lock.sh && $(MAKE) --no-print-directory sbom
sbom: .venv/dev ## Write the bill of materials from the lock, CycloneDX
	@$(PY) deploy/sbom.py >sbom.cdx.json

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
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is too old: Python 3.11 or newer is needed" >&2; exit 1; }; \
echo "installing $(1) into .venv ..."; \
$(PY) -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv || exit 1; \
$(PIP) --require-hashes -r $(1) && $(PIP) --no-build-isolation --no-deps $(MEMBERS:%=-e %)
endef

.PHONY: run start stop status logs clean up down test compose-test k8s-test chaos soak hostile lint format bench migrate migration openapi chart lock sbom help
