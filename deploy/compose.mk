# The targets that run containers. WITH="simulate" (or "zookeeper", or both) adds the compose file
# of that name; keep it for all targets of a stack, e.g. with: export WITH=simulate
WITH ?=
N ?=
LIMIT ?= 10
LOGS ?= --follow --tail 100
comma := ,
COMPOSE = docker compose $(addprefix --file ,docker-compose.yml $(WITH:%=docker-compose.%.yml) \
	$(wildcard docker-compose.scale-*.yml))
# EXCHANGES=wallex,nobitex (or the same in .env) runs the producers of each.
EXCHANGES ?= $(or $(shell sed -n 's/^EXCHANGES=//p' .env 2>/dev/null | tail -n 1),wallex)
PRODUCERS := $(foreach each,$(subst $(comma), ,$(EXCHANGES)),$(each)-trades $(each)-depth)
$(shell EXCHANGES="$(EXCHANGES)" deploy/exchanges.sh)
# Variables without which compose does nothing, not even remove containers.
SECRETS := CLICKHOUSE_MIGRATOR_PASSWORD CLICKHOUSE_WRITER_PASSWORD CLICKHOUSE_READER_PASSWORD \
	GRAFANA_ADMIN_PASSWORD DASHBOARD_TOKEN
# One for each image: all services that share it build the same.
BUILT := topics wallex-trades
# As many as there are now, see scale-trades.
services = $$($(COMPOSE) config --services | grep -E '^($(1))$$')
IN_KAFKA = $(COMPOSE) exec -T --env KAFKA_HEAP_OPTS=-Xmx128m kafka /opt/kafka/bin
IN_CLICKHOUSE = $(COMPOSE) exec $$([ -t 0 ] || echo -T) clickhouse clickhouse-client --database radar
# What `make monitor` has started stops and starts with the rest from then on.
monitored = $$($(COMPOSE) --profile monitoring ps --all --quiet prometheus grafana | grep -q . \
	&& echo --profile monitoring)
# Says what does the same without an engine.
engine = @docker compose version >/dev/null 2>&1 && docker version >/dev/null 2>&1 || { \
	echo "make $@ needs a running Docker engine with the compose plugin; without one: $(1)"; exit 1; }; \
	WITH="$(WITH)" scripts/secrets.sh
ask = @[ -n "$(YES)" ] || { printf '%s [y/N] ' $(1); read -r answer; [ "$$answer" = y ]; } \
	|| { echo "nothing was done"; exit 1; }

.PHONY: dev-setup secrets start-pipeline start start-infra start-producers start-consumers stop restart \
	build status monitor health logs logs-trades logs-depth logs-producers kafka-topics \
	kafka-create-topics kafka-lag clickhouse-migrate clickhouse-cli clickhouse-query-trades \
	clickhouse-query-depth clickhouse-reset scale-trades scale-depth clean clean-all

dev-setup: setup ## Prepare to work on radar: .venv, and .env to set options in
	@[ -e .env ] || { cp env.example .env; echo "wrote .env: every option at its default"; }

secrets: ## Create the passwords of the stack that are missing in .env; changes none
	@WITH="$(WITH)" scripts/secrets.sh

build: ## Build the images of producers and consumers
	$(call engine,make setup)
	$(COMPOSE) build $(BUILT)

start-pipeline: ## Start everything in order, each step when the one before is healthy
	$(call engine,make demo)
	@$(MAKE) --no-print-directory start-infra
	@$(MAKE) --no-print-directory kafka-create-topics
	@$(MAKE) --no-print-directory clickhouse-migrate
	@$(MAKE) --no-print-directory start-producers
	@$(MAKE) --no-print-directory start-consumers
	$(COMPOSE) up --detach --wait dashboard
	@$(MAKE) --no-print-directory status

start: ## Start whatever does not run
	$(call engine,make up)
	$(COMPOSE) $(monitored) up --detach --wait

start-infra: ## Start Kafka and ClickHouse
	$(call engine,make up)
	$(COMPOSE) up --detach --wait kafka clickhouse

start-producers: ## Start the producers
	$(call engine,.venv/bin/radar produce trades)
	$(COMPOSE) up --detach --wait $(PRODUCERS)

start-consumers: ## Start the workers
	$(call engine,.venv/bin/radar consume trades)
	$(COMPOSE) up --detach --wait $(call services,.*-consumer-[0-9]+)

stop: ## Stop everything in order; containers and data stay
	$(call engine,Ctrl-C where radar up runs)
	$(COMPOSE) --profile monitoring stop

restart: ## Stop everything and start it again
	$(call engine,Ctrl-C where radar up runs, then make up)
	@$(MAKE) --no-print-directory stop
	@$(MAKE) --no-print-directory start

status: ## Tell what runs, how much is stored and what waits
	$(call engine,.venv/bin/radar status)
	@$(COMPOSE) --profile monitoring ps --all
	@$(COMPOSE) exec -T dashboard radar status

health: ## Tell the health of every container; fails if one is not healthy
	$(call engine,.venv/bin/radar health)
	@$(COMPOSE) --profile monitoring ps --all \
		--format '{{.Name}} {{.State}} {{if .Health}}{{.Health}}{{else}}-{{end}} {{.ExitCode}}' \
		| sort | awk '{ good = $$3 == "healthy" || ($$2 == "exited" && $$3 == "-" && $$4 == 0); \
			bad += !good; printf "%-20s %s\n", $$1, good && $$3 == "-" ? "done" : $$3 == "-" ? $$2 : $$3 } \
			END { exit bad > 0 || NR == 0 }'

monitor: ## Start Prometheus (localhost:9090) and Grafana (localhost:3000)
	$(call engine,make up shows a live view)
	$(COMPOSE) --profile monitoring up --detach --wait prometheus grafana
	@echo "Grafana: http://localhost:3000 (user admin, GRAFANA_ADMIN_PASSWORD of .env), Prometheus: http://localhost:9090"

logs: ## Follow the logs of everything (LOGS="--since 10m")
	$(call engine,tail -f .radar/logs/*.log)
	$(COMPOSE) logs $(LOGS)

logs-trades: ## Follow the logs of the trades producer and workers
	$(call engine,tail -f .radar/logs/*trades*.log)
	$(COMPOSE) logs $(LOGS) $(call services,[a-z0-9]+-trades|trades-consumer-[0-9]+)

logs-depth: ## Follow the logs of the depth producer and workers
	$(call engine,tail -f .radar/logs/*depth*.log)
	$(COMPOSE) logs $(LOGS) $(call services,[a-z0-9]+-depth|depth-consumer-[0-9]+)

logs-producers: ## Follow the logs of the producers
	$(call engine,tail -f .radar/logs/*-trades.log .radar/logs/*-depth.log)
	$(COMPOSE) logs $(LOGS) $(PRODUCERS)

kafka-topics: ## Describe the topics
	$(call engine,.venv/bin/radar topics)
	$(IN_KAFKA)/kafka-topics.sh --bootstrap-server kafka:29092 --describe

kafka-create-topics: ## Create missing topics (GROW=1: and grow them to KAFKA_NUM_PARTITIONS)
	$(call engine,.venv/bin/radar topics $(if $(GROW),--grow))
	$(COMPOSE) run --rm -T topics topics $(if $(GROW),--grow)

kafka-lag: ## Tell how far the workers are behind
	$(call engine,.venv/bin/radar lag)
	$(IN_KAFKA)/kafka-consumer-groups.sh --bootstrap-server kafka:29092 --describe --all-groups

clickhouse-migrate: ## Create or update the tables
	$(call engine,.venv/bin/radar migrate)
	$(COMPOSE) run --rm -T migrations

clickhouse-cli: ## Open ClickHouse's client (or pipe queries into it)
	$(call engine,.venv/bin/radar query 'SELECT 1')
	@$(IN_CLICKHOUSE)

clickhouse-query-trades: ## Show the newest trades (LIMIT=10)
	$(call engine,.venv/bin/radar query 'SELECT * FROM trades ORDER BY event_time DESC LIMIT $(LIMIT)')
	@$(IN_CLICKHOUSE) --query "SELECT event_time, symbol, side, price, base_amount, quote_amount \
		FROM trades ORDER BY event_time DESC LIMIT $(LIMIT) FORMAT PrettyCompactMonoBlock"

clickhouse-query-depth: ## Show the newest order books (LIMIT=10)
	$(call engine,.venv/bin/radar query 'SELECT * FROM order_book LIMIT $(LIMIT)')
	@$(IN_CLICKHOUSE) --query "SELECT symbol, best_bid, best_ask, bid_received_at, ask_received_at \
		FROM order_book ORDER BY bid_received_at DESC LIMIT $(LIMIT) FORMAT PrettyCompactMonoBlock"

clickhouse-reset: ## Delete all tables and make them anew; asks first (YES=1: does not)
	$(call engine,.venv/bin/radar reset)
	$(call ask,"Delete every row in ClickHouse? Workers go on where they are in Kafka.")
	$(COMPOSE) stop $(call services,.*-consumer-[0-9]+)
	$(IN_CLICKHOUSE) --database default --query "DROP DATABASE IF EXISTS radar SYNC"
	@$(MAKE) --no-print-directory clickhouse-migrate
	@$(MAKE) --no-print-directory start-consumers

scale-trades: ## Run N trades workers: make scale-trades N=6
	$(call engine,TRADES_WORKERS=$(N) make up)
	$(call scale,trades,3,radar_trades)

scale-depth: ## Run N depth workers: make scale-depth N=4
	$(call engine,DEPTH_WORKERS=$(N) make up)
	$(call scale,depth,2,radar_depths)

define scale
	@deploy/scale.sh $(1) $(2) $(N)
	@$(MAKE) --no-print-directory scaled
	@partitions=$$($(COMPOSE) exec -T $(1)-consumer-1 radar topics \
		| sed -n 's/^$(3): \([0-9]*\) partitions.*/\1/p'); \
	[ "$$partitions" -ge $(N) ] || echo "Only $$partitions of the $(N) workers have something to do:" \
		"$(3) has $$partitions partitions. More: make kafka-create-topics GROW=1 KAFKA_NUM_PARTITIONS=$(N)"
endef

# By itself, so that it sees the file that was just written.
.PHONY: scaled
scaled:
	$(COMPOSE) up --detach --wait --remove-orphans --no-recreate

clean: ## Remove containers, caches and the virtual environment; data stays
	@! docker version >/dev/null 2>&1 \
		|| env $(SECRETS:%=%=unused) $(COMPOSE) --profile monitoring down --remove-orphans
	rm -rf $(VENV) $(VENV)-quix .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f docker-compose.scale-*.yml

clean-all: ## Remove all of that and all data; asks first (YES=1: does not)
	$(call ask,"Delete all data: the volumes of the containers and .radar/?")
	@$(MAKE) --no-print-directory clean
	@! docker version >/dev/null 2>&1 \
		|| docker volume ls --quiet --filter label=com.docker.compose.project=radar \
		| xargs --no-run-if-empty docker volume rm
	rm -rf .radar .kafka .stack
