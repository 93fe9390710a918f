.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
# ALL=1 leaves out no test: neither slow ones, nor those of the embedded ClickHouse, the simulator and
# ClickHouse clusters while their sources equal the upstream branch, nor, with Apache Kafka, those
# that Kafka does not decide.
ALL ?=
# What `make bench-compare` compares with.
BASE ?= main
PYTEST := $(BIN)/pytest --dist=load
STAMP := $(VENV)/.installed
# Each line from frame to row; the share of its lines and branches that unit tests alone run.
DATA_PATH := src/radar/codec/*,src/radar/consumer/*,src/radar/exchanges/*,src/radar/producer/*
FLOOR := 50
LOCK_FLAGS := --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links --quiet
# The container image leaves out the extra `local`, which is nine tenths of all.
IMAGE_EXTRAS := --extra alerts --extra dashboard --extra s3 --extra terminal
EXTRAS := $(IMAGE_EXTRAS) --extra local
# Programs that read exported files. They want older versions of radar's libraries.
TOOLS := hftbacktest==2.4.4 nautilus_trader==1.221.0
# Programs that read ClickHouse: for assistants, and the driver of Superset.
BI := mcp-clickhouse==0.7.0 clickhouse-connect[sqlalchemy]==1.12.0

# What builds the documentation site, and what describes a release.
# mermaidx brings mermaid.js, which the pages would load from another host otherwise.
SITE := mkdocs-material==9.8.2 mermaidx==0.10.1
RELEASE := hatchling cyclonedx-bom==7.5.0 twine==7.0.0
# What a release is built into, and its image with an optional digest (sha256:…).
DIST ?= dist
IMAGE ?= radar
DIGEST ?=

# What `make test-chart` renders with, and the schemas of Kubernetes.
HELM := v3.19.5
SCHEMAS := kubernetes-validate==1.37.0

# Another version of Apache Kafka than scripts/kafka.pom.xml names, in a folder of its own.
KAFKA_VERSION ?=
KAFKA := .kafka$(addprefix -,$(KAFKA_VERSION))

# Tests start hundreds of processes, each of which would compile radar's modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo up test screenshots smoothness page-speed fuzz chaos chaos-report bench bench-quick bench-compare kafka test-kafka test-wheel test-tools test-chart coverage lint format exchange generated lock test-stack test-bi dev-setup build site release sbom test-release kubernetes test-kubernetes

setup: $(STAMP) ## Create .venv with the command .venv/bin/radar

$(STAMP): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "radar needs Python 3.11 or newer; name one with: make setup PYTHON=python3.11"; exit 1; }
	@[ ! -L $(VENV) ] || { \
		echo "$(VENV) is a link: setup would empty the environment that it leads to; remove the link first"; \
		exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --no-compile --require-hashes --requirement requirements-dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## Run the whole pipeline against the simulated exchange, with the live view
	$(BIN)/radar up --simulate

up: setup ## Run the whole pipeline against the real exchange, with the live view
	$(BIN)/radar up

test: setup ## Run the test suite (WORKERS=N at a time, OPTIONS="-k name", ALL=1)
	$(PYTEST) --numprocesses=$(WORKERS) $(if $(ALL),,--sources=changed) \
		$(OPTIONS)

coverage: setup ## Measure the coverage of the unit tests, and hold the floor of the data path
	$(BIN)/coverage erase
	$(PYTEST) --numprocesses=$(WORKERS) --cov --cov-report= $(OPTIONS) tests/unit
	$(BIN)/coverage report
	$(BIN)/coverage report --include="$(DATA_PATH)" --fail-under=$(FLOOR) --format=total

test-wheel: setup ## Install the wheel into an empty environment and run a pipeline from it
	$(PYTEST) $(OPTIONS) tests/e2e/test_wheel.py

test-tools: setup ## Let hftbacktest and nautilus_trader read exported files (installs them into .venv-tools)
	$(PYTEST) $(OPTIONS) tests/e2e/test_export_tools.py

test-bi: setup ## Let an MCP server, SQLAlchemy and JDBC read the embedded ClickHouse (installs them into .venv-bi)
	$(PYTEST) $(OPTIONS) tests/e2e/test_ai_and_bi.py

screenshots: setup ## Take a picture of every page of the dashboard (SCREENSHOTS="FOLDER --url URL")
	PYTHONPATH=tests $(BIN)/python -m browser.screenshots $(or $(SCREENSHOTS),.screenshots)

smoothness: setup ## Measure how smooth the dashboard's pages are (SMOOTHNESS="--seconds 120 --rate 5000")
	PYTHONPATH=tests $(BIN)/python -m browser.smoothness $(SMOOTHNESS)

page-speed: setup ## Measure how soon the pages show 10 million trades (PAGE_SPEED="--rounds 9")
	PYTHONPATH=tests:. $(BIN)/python -m browser.speed $(PAGE_SPEED)

fuzz: setup ## Feed a million mutated frames to every parser (FUZZ="--seed N" repeats a run)
	PYTHONPATH=tests $(BIN)/python tests/fuzz.py $(FUZZ)

chaos: setup ## Do harm to a whole pipeline and compare (CHAOS="--seeds 9 --jobs 2", "--help")
	PYTHONPATH=tests $(BIN)/python -m chaos $(CHAOS)

chaos-report: setup ## Write docs/chaos.md from RESULTS, files of CHAOS="--results FILE"
	PYTHONPATH=tests $(BIN)/python -m chaos.report $(RESULTS) > docs/chaos.md.new; \
		failed=$$?; mv docs/chaos.md.new docs/chaos.md; exit $$failed

bench: $(VENV)/.bench ## Measure everything; writes docs/benchmarks.md (BENCH="--rounds 9")
	$(BIN)/python -m benchmarks --report docs/benchmarks.md $(BENCH)

bench-quick: $(VENV)/.bench ## Measure throughput and start-up, less of it
	$(BIN)/python -m benchmarks --quick --keep .bench/quick $(BENCH)

bench-compare: $(VENV)/.bench ## Compare the speed with another revision (BASE=main, BENCH="--rounds 5")
	PYTHONPATH=. $(BIN)/python -m benchmarks.compare $(BENCH) $(BASE)

$(VENV)/.bench: $(STAMP) requirements-bench.txt benchmarks/quix/requirements.txt
	$(BIN)/pip install --quiet --require-hashes --requirement requirements-bench.txt
	$(PYTHON) -m venv --clear $(VENV)-quix
	$(VENV)-quix/bin/pip install --quiet --require-hashes \
		--requirement benchmarks/quix/requirements.txt
	@touch $@

kafka: $(KAFKA)/.complete ## Get Apache Kafka into .kafka (needs Maven and Java; KAFKA_VERSION=4.3.1: that one)

$(KAFKA)/.complete: scripts/kafka.pom.xml
	@for tool in mvn java; do command -v $$tool >/dev/null || { \
		echo "no $$tool: make kafka needs Maven and Java 17 (Debian: maven, openjdk-17-jre-headless)"; \
		exit 1; }; done
	rm -rf $(KAFKA)/new
	mvn --quiet --batch-mode --file $< dependency:copy-dependencies \
		-DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(KAFKA)/new \
		$(if $(KAFKA_VERSION),-Dkafka.version=$(KAFKA_VERSION))
	rm -rf $(KAFKA)/libs && mv $(KAFKA)/new $(KAFKA)/libs
	@touch $@

test-kafka: setup kafka ## Run the tests that Kafka decides with Apache Kafka (ALL=1: all that use it; KAFKA_VERSION=)
	APACHE_KAFKA=$(CURDIR)/$(KAFKA) $(PYTEST) --numprocesses=$(WORKERS) --kafka=apache \
		$(if $(ALL),,--sources=changed -m kafka_decides) \
		--override-ini=cache_dir=.pytest_cache/kafka $(OPTIONS) tests/contract tests/e2e

test-stack: setup kafka ## Run the compose stack on a Docker engine (tests/deploy/stack.py)
	PYTHONPATH=tests $(BIN)/python -m deploy.stack $(OPTIONS)

lint: setup ## Check formatting, lint rules, types, imports and prose
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/prose.py

format: setup ## Format the code and apply safe lint fixes
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

exchange: ## Write the skeleton of a driver for one more exchange (NAME=coinbase)
	$(PYTHON) scripts/new_exchange.py $(NAME)

test-chart: setup .venv-chart/.installed ## Render the Helm chart and validate it (builds helm with Go)
	$(PYTEST) $(OPTIONS) tests/deploy/test_helm_chart.py

kubernetes: .kubernetes/.complete ## Compile the API server of Kubernetes into .kubernetes (needs Go; 10 minutes)

.kubernetes/.complete: scripts/kubernetes/build.sh scripts/kubernetes/go.mod scripts/kubernetes/go.sum
	scripts/kubernetes/build.sh .kubernetes
	@touch $@

test-kubernetes: setup .venv-chart/.installed .kubernetes/.complete ## Install the chart into an API server (needs etcd: Debian's etcd-server)
	@command -v etcd >/dev/null || { echo "no etcd: install Debian's etcd-server"; exit 1; }
	$(PYTEST) $(OPTIONS) tests/deploy/test_kubernetes_api.py

.venv-chart/.installed:
	@command -v go >/dev/null || { echo "no go: make test-chart builds helm with Go"; exit 1; }
	$(PYTHON) -m venv --clear .venv-chart
	.venv-chart/bin/pip install --quiet $(SCHEMAS)
	GOBIN=$(CURDIR)/.venv-chart/bin go install helm.sh/helm/v3/cmd/helm@$(HELM)
	@touch $@

site: .venv-site/.installed ## Build the documentation site into site/; a warning fails it
	NO_MKDOCS_2_WARNING=1 .venv-site/bin/mkdocs build --strict --quiet

release: .venv-release/.installed ## Build a release of the newest commit into DIST (IMAGE=ghcr.io/team/radar DIGEST=sha256:…)
	.venv-release/bin/python scripts/release.py $(DIST) --image $(IMAGE) --digest "$(DIGEST)"
	.venv-release/bin/twine check --strict $(DIST)/*.whl $(DIST)/radar-*[0-9].tar.gz

sbom: .venv-release/.installed ## Write the bills of materials of the lock files into DIST
	.venv-release/bin/python scripts/release.py $(DIST) --only-bills

test-release: .venv-release/.installed ## Build a release twice in two folders and compare the bytes
	rm -rf .release && mkdir .release
	for each in first second; do \
		.venv-release/bin/python scripts/release.py .release/$$each || exit 1; done
	diff .release/first/SHA256SUMS .release/second/SHA256SUMS
	cd .release/first && sha256sum --check --quiet SHA256SUMS
	@! grep -lE 'https?://[a-z.-]*(pypi|pythonhosted|simple/)' .release/first/*.json
	.venv-release/bin/twine check --strict .release/first/*.whl .release/first/radar-*[0-9].tar.gz

.venv-site/.installed .venv-release/.installed: .venv-%/.installed: requirements-%.txt
	$(PYTHON) -m venv --clear .venv-$*
	.venv-$*/bin/pip install --quiet --require-hashes --requirement $<
	@touch $@

generated: setup ## Write the pages that follow from declarations: options, metrics, faults, columns
	$(BIN)/radar config --env-example > env.example
	$(BIN)/radar config --reference > docs/configuration.md
	$(BIN)/python -m radar.telemetry.metrics > docs/metrics.md
	PYTHONPATH=tests $(BIN)/python tests/fault_table.py > docs/faults.md
	PYTHONPATH=tests $(BIN)/python tests/data_dictionary.py > docs/data-dictionary.md
	PYTHONPATH=tests $(BIN)/python tests/chart_files.py

lock: ## Lock the dependencies again, with hashes
	uv pip compile $(LOCK_FLAGS) $(EXTRAS) pyproject.toml --output-file requirements.txt
	uv pip compile $(LOCK_FLAGS) $(IMAGE_EXTRAS) pyproject.toml --constraint requirements.txt \
		--output-file requirements-image.txt
	echo hatchling | uv pip compile $(LOCK_FLAGS) - --constraint requirements-dev.txt \
		--output-file requirements-build.txt
	uv pip compile $(LOCK_FLAGS) $(EXTRAS) --extra dev pyproject.toml \
		--output-file requirements-dev.txt
	uv pip compile $(LOCK_FLAGS) $(EXTRAS) --extra bench pyproject.toml \
		--constraint requirements.txt --output-file requirements-bench.txt
	uv pip compile $(LOCK_FLAGS) benchmarks/quix/requirements.in \
		--output-file benchmarks/quix/requirements.txt
	printf '%s\n' $(TOOLS) | uv pip compile $(LOCK_FLAGS) - --output-file requirements-tools.txt
	printf '%s\n' $(BI) | uv pip compile $(LOCK_FLAGS) - --output-file requirements-bi.txt
	printf '%s\n' $(SITE) | uv pip compile $(LOCK_FLAGS) - --output-file requirements-site.txt
	printf '%s\n' $(RELEASE) | uv pip compile $(LOCK_FLAGS) - --constraint requirements-dev.txt \
		--output-file requirements-release.txt

include deploy/compose.mk

dev-setup: setup ## Prepare to work on radar: .venv, and .env to set options in
	@[ -e .env ] || { cp env.example .env; echo "wrote .env: every option at its default"; }

build: ## Build the images under a tag of their own, which the next start uses
	$(call engine,make setup)
	@tag=$$(deploy/version.sh new) && RADAR_VERSION=$$tag $(COMPOSE) build $(BUILT) \
		&& deploy/version.sh use $$tag && echo "built $$tag: make update runs it, make rollback the one before"
