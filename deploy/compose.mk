# The targets that run containers. WITH="simulate" (or "zookeeper", "cold", or several) adds the compose file
# of that name; keep it for all targets of a stack, e.g. with: export WITH=simulate
WITH ?=
N ?=
LIMIT ?= 10
LOGS ?= --follow --tail 100
comma := ,
# An address in the environment or in .env names a Kafka (ClickHouse) elsewhere. An address of this
# machine means the stack's own, which containers reach by its name.
option = $(or $($(1)),$(shell sed -n 's/^$(1)=//p' .env 2>/dev/null | tail -n 1))
elsewhere = $(filter-out 127.% localhost% [::1]%,$(call option,$(1)))
EXTERNAL := $(if $(call elsewhere,KAFKA_BROKER),external-kafka) \
	$(if $(call elsewhere,CLICKHOUSE_HOST),external-clickhouse)
OWN := $(if $(filter external-kafka,$(EXTERNAL)),,kafka) \
	$(if $(filter external-clickhouse,$(EXTERNAL)),,clickhouse)
DEFAULTED := $(if $(filter kafka,$(OWN)),KAFKA_BROKER=) \
	$(if $(filter clickhouse,$(OWN)),CLICKHOUSE_HOST= CLICKHOUSE_PORT= CLICKHOUSE_DB=)
COMPOSE = $(if $(strip $(DEFAULTED)),env $(strip $(DEFAULTED)) )docker compose $(addprefix --file ,docker-compose.yml $(patsubst %,docker-compose.%.yml,$(WITH) $(EXTERNAL)) \
	$(wildcard docker-compose.scale-*.yml))
# EXCHANGES=wallex,nobitex (or the same in .env) runs the producers of each.
EXCHANGES ?= $(or $(shell sed -n 's/^EXCHANGES=//p' .env 2>/dev/null | tail -n 1),wallex)
PRODUCERS := $(foreach each,$(subst $(comma), ,$(EXCHANGES)),$(each)-trades $(each)-depth)
$(shell EXCHANGES="$(EXCHANGES)" deploy/exchanges.sh)
# Variables without which compose does nothing, not even remove containers.
# Says what does the same where the stack has no such server of its own.
inside = @[ -n "$(filter $(1),$(OWN))" ] || { \
	echo "make $@ asks the stack's own $(1), and .env or the environment names another: $(2)"; exit 1; }
SECRETS := CLICKHOUSE_MIGRATOR_PASSWORD CLICKHOUSE_WRITER_PASSWORD CLICKHOUSE_READER_PASSWORD \
	GRAFANA_ADMIN_PASSWORD DASHBOARD_TOKEN
# One for each image: all services that share it build the same.
BUILT := topics wallex-trades
# As many as there are now, see scale-trades.
services = $$($(COMPOSE) config --services | grep -E '^($(1))$$')
WORKERS_THEN_PRODUCERS = $(call services,.*-consumer-[0-9]+) $(PRODUCERS) reconcile dashboard
# A service that is not ready ends the loop: the others keep running as they are.
roll = @for name in $(1); do echo "$$name"; \
	$(COMPOSE) up --detach --wait --no-deps --force-recreate $$name || exit 1; done
IN_KAFKA = $(COMPOSE) exec -T --env KAFKA_HEAP_OPTS=-Xmx128m kafka /opt/kafka/bin
IN_CLICKHOUSE = $(COMPOSE) exec $$([ -t 0 ] || echo -T) clickhouse clickhouse-client --database radar
# What `make monitor` has started stops and starts with the rest from then on.
monitored = $$($(COMPOSE) --profile monitoring ps --all --quiet prometheus grafana | grep -q . \
	&& echo --profile monitoring; \
	$(COMPOSE) --profile backup ps --all --quiet backup | grep -q . && echo --profile backup; \
	$(COMPOSE) --profile alerts ps --all --quiet alerts | grep -q . && echo --profile alerts)
# Says what does the same without an engine.
engine = @docker compose version >/dev/null 2>&1 && docker version >/dev/null 2>&1 || { \
	echo "make $@ needs a running Docker engine with the compose plugin; without one: $(1)"; exit 1; }; \
	WITH="$(WITH)" scripts/secrets.sh
# Containers of ClickHouse and of radar see BACKUP_FOLDER as /backups, with the user of ClickHouse.
backups = @[ -n "$(call option,BACKUP_FOLDER)" ] || { echo "set BACKUP_FOLDER in .env to a folder" \
	"of another disk, e.g. BACKUP_FOLDER=/mnt/backups, and run: make start"; exit 1; }; \
	$(COMPOSE) run --rm -T --no-deps --user 0:0 --cap-add CHOWN --entrypoint chown backup 101:101 /backups
ask = @[ -n "$(YES)" ] || { printf '%s [y/N] ' $(1); read -r answer; [ "$$answer" = y ]; } \
	|| { echo "nothing was done"; exit 1; }

.PHONY: help secrets start-pipeline start start-infra start-producers start-consumers stop restart \
	use update rolling-restart rollback status monitor alerts health logs logs-trades logs-depth logs-producers \
	kafka-topics kafka-create-topics kafka-lag clickhouse-migrate clickhouse-cli clickhouse-query-trades \
	clickhouse-query-depth backup backups backup-service restore clickhouse-reset scale-trades scale-depth clean clean-all

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-24s %s\n", $$1, $$2}'

secrets: ## Create the passwords of the stack that are missing in .env; changes none
	@WITH="$(WITH)" scripts/secrets.sh

use: ## Let the next start or update run another released image (VERSION=0.2.0; else: of these files)
	@tag="$(or $(VERSION),$(shell cat RELEASE 2>/dev/null))"; \
	[ -n "$$tag" ] || { echo "name the version: make use VERSION=0.2.0"; exit 1; }; \
	deploy/version.sh use "$$tag" && echo "make update runs $$tag, make rollback the one before"

update: ## Update the tables, then replace workers and producers one at a time
	$(call engine,make up)
	$(COMPOSE) run --rm -T migrations
	$(call roll,$(WORKERS_THEN_PRODUCERS))

rolling-restart: ## Restart workers and producers one at a time, each when the one before is ready
	$(call engine,Ctrl-C where radar up runs$(comma) then make up)
	$(call roll,$(WORKERS_THEN_PRODUCERS))

rollback: ## Run the images from before the last make build or make use; producers first
	$(call engine,make setup)
	@tag=$$(deploy/version.sh previous) && deploy/version.sh use $$tag && echo "back to $$tag"
	$(call roll,$(PRODUCERS) $(call services,.*-consumer-[0-9]+|reconcile|dashboard))

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
	@[ -z "$(strip $(OWN))" ] || $(COMPOSE) up --detach --wait $(OWN)

start-producers: ## Start the producers
	$(call engine,.venv/bin/radar produce trades)
	$(COMPOSE) up --detach --wait $(PRODUCERS)

start-consumers: ## Start the workers
	$(call engine,.venv/bin/radar consume trades)
	$(COMPOSE) up --detach --wait $(call services,.*-consumer-[0-9]+)

stop: ## Stop everything in order; containers and data stay
	$(call engine,Ctrl-C where radar up runs)
	$(COMPOSE) --profile monitoring --profile backup --profile alerts stop

restart: ## Stop everything and start it again
	$(call engine,Ctrl-C where radar up runs, then make up)
	@$(MAKE) --no-print-directory stop
	@$(MAKE) --no-print-directory start

status: ## Tell what runs, how much is stored and what waits
	$(call engine,.venv/bin/radar status)
	@$(COMPOSE) --profile monitoring --profile backup --profile alerts ps --all
	@$(COMPOSE) exec -T dashboard radar status

health: ## Tell the health of every container; fails if one is not healthy
	$(call engine,.venv/bin/radar health)
	@$(COMPOSE) --profile monitoring --profile backup --profile alerts ps --all \
		--format '{{.Service}} {{.State}} {{if .Health}}{{.Health}}{{else}}-{{end}} {{.ExitCode}}' \
		| sort | awk '{ good = $$3 == "healthy" || ($$2 == "exited" && $$3 == "-" && $$4 == 0); \
			bad += !good; printf "%-20s %s\n", $$1, good && $$3 == "-" ? "done" : $$3 == "-" ? $$2 : $$3 } \
			END { exit bad > 0 || NR == 0 }'

monitor: ## Start Prometheus (localhost:9090), Alertmanager (9093) and Grafana (localhost:3000)
	$(call engine,make up shows a live view)
	$(COMPOSE) --profile monitoring up --detach --wait prometheus alertmanager grafana \
		$(if $(filter kafka,$(OWN)),kafka-disk)
	@! grep -q '^  receiver: nobody$$' deploy/alertmanager/alertmanager.yml \
		|| echo "Alerts reach nobody: name a receiver in deploy/alertmanager/alertmanager.yml"
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
	$(call inside,kafka,docker compose run --rm topics topics)
	$(IN_KAFKA)/kafka-topics.sh --bootstrap-server kafka:29092 --describe

kafka-create-topics: ## Create missing topics (GROW=1: and grow them to KAFKA_NUM_PARTITIONS)
	$(call engine,.venv/bin/radar topics $(if $(GROW),--grow))
	$(COMPOSE) run --rm -T topics topics $(if $(GROW),--grow)

kafka-lag: ## Tell how far the workers are behind
	$(call engine,.venv/bin/radar lag)
	$(call inside,kafka,docker compose exec dashboard radar lag)
	$(IN_KAFKA)/kafka-consumer-groups.sh --bootstrap-server kafka:29092 --describe --all-groups

clickhouse-migrate: ## Create or update the tables
	$(call engine,.venv/bin/radar migrate)
	$(COMPOSE) run --rm -T migrations

clickhouse-cli: ## Open ClickHouse's client (or pipe queries into it)
	$(call engine,.venv/bin/radar query 'SELECT 1')
	$(call inside,clickhouse,use its own client)
	@$(IN_CLICKHOUSE)

clickhouse-query-trades: ## Show the newest trades (LIMIT=10)
	$(call engine,.venv/bin/radar query 'SELECT * FROM trades ORDER BY event_time DESC LIMIT $(LIMIT)')
	$(call inside,clickhouse,use its own client)
	@$(IN_CLICKHOUSE) --query "SELECT event_time, symbol, side, price, base_amount, quote_amount \
		FROM trades ORDER BY event_time DESC LIMIT $(LIMIT) FORMAT PrettyCompactMonoBlock"

clickhouse-query-depth: ## Show the newest order books (LIMIT=10)
	$(call engine,.venv/bin/radar query 'SELECT * FROM order_book LIMIT $(LIMIT)')
	$(call inside,clickhouse,use its own client)
	@$(IN_CLICKHOUSE) --query "SELECT symbol, best_bid, best_ask, bid_received_at, ask_received_at \
		FROM order_book ORDER BY bid_received_at DESC LIMIT $(LIMIT) FORMAT PrettyCompactMonoBlock"

backup: ## Back up ClickHouse into BACKUP_FOLDER while radar runs (FULL=1: everything)
	$(call engine,.venv/bin/radar backup create)
	$(call backups)
	$(COMPOSE) run --rm -T --no-deps backup backup create $(if $(FULL),--full)

backups: ## List the backups (FROM=s3://BUCKET/PREFIX: the copies there)
	$(call engine,.venv/bin/radar backup list)
	$(call backups)
	@$(COMPOSE) run --rm -T --no-deps backup backup list $(if $(FROM),--from $(FROM))

backup-service: ## Make backups every BACKUP_EVERY_HOURS from now on
	$(call engine,.venv/bin/radar backup follow)
	$(call backups)
	$(COMPOSE) up --detach --wait backup

alerts: ## Send alerts to the services of ALERT_URLS from now on, after a test message to each
	$(call engine,.venv/bin/radar alerts test)
	$(COMPOSE) run --rm -T --no-deps alerts alerts test
	$(COMPOSE) up --detach --wait alerts

restore: ## Replace the tables by a backup; asks first (BACKUP=name, FROM=s3://…, YES=1: does not ask)
	$(call engine,.venv/bin/radar backup restore)
	$(call backups)
	$(call ask,"Replace every row in ClickHouse by the backup $(or $(BACKUP),newest)?")
	$(COMPOSE) stop $(call services,.*-consumer-[0-9]+|reconcile|dashboard|backup|alerts)
	$(COMPOSE) run --rm -T --no-deps backup backup restore $(BACKUP) $(if $(FROM),--from $(FROM)) --yes
	@$(MAKE) --no-print-directory start

clickhouse-reset: ## Delete all tables and make them anew; asks first (YES=1: does not)
	$(call engine,.venv/bin/radar reset)
	$(call inside,clickhouse,use its own client)
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
		|| env $(SECRETS:%=%=unused) $(COMPOSE) --profile monitoring --profile backup --profile alerts down --remove-orphans
	rm -rf $(VENV) $(VENV)-quix .venv-chart .venv-site .venv-release .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f docker-compose.scale-*.yml

clean-all: ## Remove all of that and all data; asks first (YES=1: does not)
	$(call ask,"Delete all data: the volumes of the containers and .radar/?")
	@$(MAKE) --no-print-directory clean
	@! docker version >/dev/null 2>&1 \
		|| docker volume ls --quiet --filter label=com.docker.compose.project=radar \
		| xargs --no-run-if-empty docker volume rm
	rm -rf .radar .kafka .kubernetes .stack
