# The single door to the project. `make` alone lists what there is.

# uv from the PATH, else brought in through pip, into a folder of its own. It never downloads a Python.
UV := $(or $(shell command -v uv 2>/dev/null),.cache/uv/bin/uv)
export UV_PYTHON_DOWNLOADS = never
export UV_PYTHON = >=3.11,<3.14
# Where the system keeps certificates, they count: a company's proxy may sign with its own.
export UV_SYSTEM_CERTS = $(if $(wildcard /etc/ssl/certs/*),true,false)

# Some images set it, and then each process of Airflow compiles all of Airflow anew: 5 s of CPU instead of 2, hundreds of times.
unexport PYTHONDONTWRITEBYTECODE

PYTHON := .venv/bin/python
LOWEST := .venv-lowest/bin/python
PYTEST_ARGS ?=
WWW := airflow_reindex_provider/plugin/www

LOCK := $(UV) pip compile - --group pyproject.toml:dev --universal --python-version 3.11 --generate-hashes \
	--no-emit-package airflow-reindex-provider --no-emit-package mysqlclient --no-header --upgrade --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install lock demo demo-up engines mysql peers test test-lowest storms lint types format bench page check-page screenshots build \
	check-wheel clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: .venv/.installed ## The environment (.venv), exactly as the lock says

demo: install ## Index a real corpus with a real Airflow, incrementally; ends by itself, leaves nothing running
	@$(PYTHON) -m airflow_reindex_provider.demo

demo-up: install ## The same, and leave the Airflow UI open until Ctrl-C
	@$(PYTHON) -m airflow_reindex_provider.demo --stay

engines: install ## A real OpenSearch and a real Elasticsearch on loopback, with their addresses, until Ctrl-C
	@$(PYTHON) -m airflow_reindex_provider.testing.engines

mysql: ## A MySQL server for the tests, of Debian's unstable release, into .cache: nothing is installed
	@test -x .cache/mysql/bin/mysqld || .ci/fetch-mysql .cache/mysql

peers: $(UV) ## What BENCH=peers compares with, into .cache/peers: nothing is installed
	@$(UV) venv --quiet --clear .cache/peers
	@$(UV) pip install --quiet --python .cache/peers 'dlt[postgres,sql-database]' pyarrow psycopg2-binary pgsync

test: install ## All tests, on a real Postgres and a real Airflow (PYTEST_ARGS="-k window" for some)
	$(PYTHON) -m pytest tests --ignore=tests/benchmarks --numprocesses auto $(PYTEST_ARGS)

test-lowest: .venv-lowest/.installed ## What versions matter to, on the lowest of pyproject.toml and on older engines
	REINDEX_OLDER_ENGINES=1 $(LOWEST) -m pytest tests/unit tests/conformance -m "versions and not storm" --numprocesses auto $(PYTEST_ARGS)

storms: install ## All tries of the tests that chance steers; make test makes a few of each
	REINDEX_STORMS=all $(PYTHON) -m pytest tests -m storm --numprocesses auto $(PYTEST_ARGS)

bench: install ## Print the benchmark figures; BENCH=search for some, BENCH_JSON=path writes them as JSON too
	@$(PYTHON) -m tests.benchmarks

lint: install ## Style and layering
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types: install ## Static types of the package
	$(PYTHON) -m mypy

format: install ## Put the code into shape
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

page: $(WWW)/node_modules/.installed ## Make the bundle of the page in Airflow's UI from its sources; needs Node.js
	@cd $(WWW) && npm run --silent format && npm run --silent build && node check.mjs

check-page: $(WWW)/node_modules/.installed ## Types and tests of the page; whether the committed bundle is what its sources give
	@cd $(WWW) && npm run --silent check

screenshots: install ## The pictures of the docs, by the browser test; needs Chromium
	REINDEX_SCREENSHOTS=docs/images $(PYTHON) -m pytest tests/browser

build: install ## The wheel and the source distribution, in dist/
	rm -rf dist
	$(UV) build --quiet --python $(PYTHON) --out-dir dist

check-wheel: build ## Install the wheel into a clean environment and ask Airflow for the provider
	@$(UV) venv --quiet --clear .cache/wheel
	@$(UV) pip install --quiet --python .cache/wheel --constraint requirements.lock dist/*.whl
	@AIRFLOW_HOME=$(CURDIR)/.cache/wheel/airflow .cache/wheel/bin/airflow providers list --output plain \
		| grep airflow-reindex-provider
	@cd .cache/wheel && bin/python -c "from importlib.resources import files; \
		package = files('airflow_reindex_provider'); \
		names = [dag.name for dag in (package / 'example_dags').iterdir() if dag.name.endswith('.py')]; \
		assert names, 'the wheel carries no example Dags'; \
		assert (package / 'py.typed').is_file(), 'the wheel carries no py.typed'; \
		page = package / 'plugin' / 'www'; \
		assert [part.name for part in page.iterdir()] == ['dist'], 'of the page, the wheel carries its bundle alone'; \
		assert (page / 'dist' / 'main.js').is_file(), 'the wheel carries no bundle of the page'; \
		print('example Dags:', *sorted(names))"

lock: $(UV) ## Make the lock files anew, with the newest versions
	echo '-e .[demo,opensearch,elasticsearch,lancedb,weaviate,openai,bedrock,cohere,wordllama,mysql,openlineage]' | $(LOCK) --output-file requirements.lock
	echo '-e .[demo,opensearch,elasticsearch,lancedb,weaviate,openai,bedrock,cohere,wordllama,mysql,openlineage]' | $(LOCK) --output-file requirements-lowest.lock --resolution lowest-direct

clean: ## Remove everything that make has made
	rm -rf .venv .venv-lowest .cache .demo dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis $(WWW)/node_modules

.venv/.installed: requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing .venv
	$(UV) pip sync --quiet --python .venv --require-hashes requirements.lock
	$(UV) pip install --quiet --python .venv --no-deps --editable .
	@touch $@

.venv-lowest/.installed: requirements-lowest.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing .venv-lowest
	$(UV) pip sync --quiet --python .venv-lowest --require-hashes requirements-lowest.lock
	$(UV) pip install --quiet --python .venv-lowest --no-deps --editable .
	@touch $@

$(WWW)/node_modules/.installed: $(WWW)/package-lock.json
	@command -v npm >/dev/null || { echo "The page's sources need Node.js 20.19 or later, with npm. Nothing else does."; exit 1; }
	@cd $(WWW) && npm ci --no-fund --no-audit --loglevel=error
	@touch $@

# Where the system's Python comes without venv, pip puts uv into the folder directly.
.cache/uv/bin/uv:
	python3 -m venv .cache/uv && .cache/uv/bin/python -m pip install --quiet uv \
		|| python3 -m pip install --quiet --target .cache/uv uv
