"""The files that deploy radar agree with each other and with the code."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from dotenv import dotenv_values

from radar import __version__
from radar.consumer.worker import DRAIN_TIMEOUT_S
from radar.exchanges import names
from radar.producer.producer import FINISH_TIMEOUT_S
from radar.settings import load, variables
from radar.store.backup import ASIDE
from radar.store.expiry import COLD_VOLUME
from radar.store.schema import newest

ROOT = Path(__file__).parents[2]
PRODUCERS = ("wallex-trades", "wallex-depth")
CONSUMERS = (
    *("trades-consumer-1", "trades-consumer-2", "trades-consumer-3"),
    *("depth-consumer-1", "depth-consumer-2", "quiet-consumer-1"),
)
ONE_SHOTS = ("topics", "migrations")
EXAMINER = "reconcile"
MONITORING = {"prometheus", "alertmanager", "kafka-disk", "grafana"}
PORTS = {
    "kafka": (9092, 9101),
    "clickhouse": (8123, 9000),
    "dashboard": (8080,),
    "prometheus": (9090,),
    "alertmanager": (9093,),
    "grafana": (3000,),
}
TARGETS = (
    *("dev-setup", "secrets", "start-pipeline", "start", "start-infra", "start-producers"),
    *("start-consumers", "stop", "restart", "build", "update", "rolling-restart", "rollback"),
    *("status", "monitor", "health", "logs"),
    *("logs-trades", "logs-depth", "logs-producers", "kafka-topics", "kafka-create-topics"),
    *("kafka-lag", "clickhouse-cli", "clickhouse-query-trades", "clickhouse-query-depth"),
    *("backup", "backups", "backup-service", "restore"),
    *("clickhouse-reset", "scale-trades", "scale-depth", "clean", "clean-all"),
)
WITHOUT_ENGINE = {"dev-setup", "secrets", "clean", "clean-all"}
EMBEDDED = ("chdb", "noida_db", "pandas", "pyarrow", "setproctitle")
SCREENS = ("httptools", "prompt_toolkit", "starlette", "textual", "uvicorn")


class Loader(yaml.SafeLoader):
    """Knows what compose adds to YAML."""


def _override(loader: Loader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


Loader.add_constructor("!override", _override)
Loader.add_constructor("!reset", lambda _loader, _node: None)


def compose(name: str = "docker-compose.yml") -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((ROOT / name).read_text(), Loader)
    return loaded


SERVICES: dict[str, dict[str, Any]] = compose()["services"]
SECRETS = (
    *("CLICKHOUSE_MIGRATOR_PASSWORD", "CLICKHOUSE_WRITER_PASSWORD", "CLICKHOUSE_READER_PASSWORD"),
    *("GRAFANA_ADMIN_PASSWORD", "DASHBOARD_TOKEN"),
)
SECRET_FILES: dict[str, dict[str, str]] = compose("docker-compose.secrets.yml")["secrets"]


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_compose_has_the_services_that_users_know() -> None:
    others = {EXAMINER, "alerts", "backup", *MONITORING}
    assert set(SERVICES) == {*PORTS, *PRODUCERS, *CONSUMERS, *ONE_SHOTS, *others}
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert {name for name, given in profiles.items() if given == ["monitoring"]} == MONITORING
    assert {name for name, given in profiles.items() if given} == MONITORING | {"alerts", "backup"}


@pytest.mark.parametrize("name", SERVICES)
def test_compose_service_is_limited_and_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert "container_name" not in service  # two stacks on one machine would collide
    assert service["cap_drop"] == ["ALL"]
    assert re.search(r":v?[0-9]+\.[0-9]+|:\$\{RADAR_VERSION:-[0-9.]+\}", service["image"])
    limits = service["deploy"]["resources"]["limits"]
    assert limits["cpus"]
    assert limits["memory"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    if name in ONE_SHOTS:
        assert service["restart"] == "on-failure:3"
    else:
        assert service["restart"] == "unless-stopped"
        assert service["stop_grace_period"]
    # Kafka's image writes its configuration when it starts.
    assert service.get("read_only") is (None if name == "kafka" else True)


def reached_by(name: str) -> set[str]:
    """Return the services that share a network with this one."""
    own = set(SERVICES[name]["networks"])
    return {other for other, service in SERVICES.items() if own & set(service["networks"])}


def test_compose_networks_separate_those_that_have_nothing_to_say_to_each_other() -> None:
    declared = set(compose()["networks"])
    assert {network for each in SERVICES.values() for network in each["networks"]} == declared
    readers = {"dashboard", "alerts"}
    assert reached_by("kafka") == {"kafka", "topics", *PRODUCERS, *CONSUMERS, EXAMINER, *readers}
    assert not reached_by("grafana") & {"kafka", "kafka-disk", *PRODUCERS}
    assert not reached_by("alertmanager") & {"kafka", "clickhouse"}
    assert not reached_by("clickhouse") & {"kafka", "topics", "alertmanager"}


@pytest.mark.parametrize("name", SERVICES)
def test_compose_networks_let_a_container_reach_what_it_needs(name: str) -> None:
    service = SERVICES[name]
    environment = service.get("environment", {})
    # Of those that end, the end is awaited.
    needed = set(service.get("depends_on", {})) - set(ONE_SHOTS)
    needed |= {"clickhouse"} if environment.get("CLICKHOUSE_HOST") else set()
    # All have the options of Kafka; the test above names those that use them.
    addresses = " ".join(str(environment[key]) for key in environment if key != "KAFKA_BROKER")
    if name == "prometheus":
        addresses += (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text()
    if name == "grafana":
        sources = ROOT / "deploy" / "grafana" / "provisioning" / "datasources"
        addresses += "".join(path.read_text() for path in sources.iterdir())
    needed |= {other for other in SERVICES if re.search(rf"\b{other}:[0-9]", addresses)}
    assert needed <= reached_by(name)


@pytest.mark.parametrize("name", PORTS)
def test_compose_ports_are_those_of_this_machine_only(name: str) -> None:
    assert SERVICES[name]["ports"] == [f"127.0.0.1:{port}:{port}" for port in PORTS[name]]
    assert SERVICES[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", [*PRODUCERS, *CONSUMERS, EXAMINER])
def test_compose_role_is_checked_by_the_image_and_stops_in_the_time_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert "ports" not in service
    assert service["healthcheck"]["test"] == ["CMD", "radar", "health"]
    needed_s = FINISH_TIMEOUT_S if name in PRODUCERS else DRAIN_TIMEOUT_S
    assert seconds(service["stop_grace_period"]) > needed_s
    assert service["environment"].get("WORKER_ID") == (name if name in CONSUMERS else None)


def test_compose_roles_wait_for_what_they_need() -> None:
    for name in PRODUCERS:
        assert SERVICES[name]["depends_on"] == {
            "kafka": {"condition": "service_healthy"},
            "topics": {"condition": "service_completed_successfully"},
        }
    for name in (*CONSUMERS, EXAMINER):
        assert SERVICES[name]["depends_on"] == {
            "kafka": {"condition": "service_healthy"},
            "clickhouse": {"condition": "service_healthy"},
            "topics": {"condition": "service_completed_successfully"},
            "migrations": {"condition": "service_completed_successfully"},
        }


def test_compose_passes_every_option_on() -> None:
    """An option that is added to the declaration must not be forgotten in the containers."""
    passed = {name for service in SERVICES.values() for name in service.get("environment", {})}
    local = {"KAFKA_HOME", "TRADES_WORKERS", "DEPTH_WORKERS", "RADAR_DATA_DIR", "LOG_FILE_BYTES"}
    # Inside its container it is always the same; files of secrets are in their own compose file.
    local |= {"DASHBOARD_PORT", "DASHBOARD_TOKEN_FILE", "CLICKHOUSE_PASSWORD_FILE"}
    in_the_image = {"METRICS_HOST", "METRICS_PORT"}
    # deploy/exchanges.sh writes those of the other exchanges.
    elsewhere_named = {
        name for name in variables() if name.partition("_")[0].lower() in set(names()) - {"wallex"}
    }
    assert set(variables()) - passed - local - in_the_image == elsewhere_named
    elsewhere = compose("docker-compose.producers.yml")["services"]["wallex-trades"]["environment"]
    producing = set(SERVICES["wallex-trades"]["environment"])
    assert producing <= set(elsewhere)


def test_clickhouse_writes_backups_to_the_folder_that_radar_looks_at() -> None:
    mounted = "${BACKUP_FOLDER:-./deploy/backups}:/backups"
    service = SERVICES["backup"]
    assert mounted in SERVICES["clickhouse"]["volumes"]
    assert mounted in service["volumes"]
    assert service["user"] == SERVICES["clickhouse"]["user"]  # which may delete the files
    assert service["environment"]["BACKUP_DIR"] == "/backups"
    tree = ElementTree.parse(ROOT / "deploy" / "clickhouse" / "config.xml")
    disk = load().backup_disk
    assert tree.findtext(f"storage_configuration/disks/{disk}/path") == "/backups/"
    assert tree.findtext("backups/allowed_disk") == disk
    # The rights of a backup and of a restore, which first renames the present database.
    for right in ("BACKUP", "DROP DATABASE", f"ON radar{ASIDE}.*", "READ, WRITE ON DISK"):
        assert right in grants("radar_migrator")


def test_clickhouse_has_the_cold_volume_that_radar_names() -> None:
    tiered = ElementTree.parse(ROOT / "deploy" / "clickhouse" / "tiered.xml")
    policy = tiered.find(f"storage_configuration/policies/{load().cold_storage_policy}")
    assert policy is not None
    disks = {each.tag: each.findtext("disk") for each in policy.iterfind("volumes/*")}
    assert disks == {"default": "default", COLD_VOLUME: "cold"}
    added = compose("docker-compose.cold.yml")
    service = added["services"]["clickhouse"]
    assert (
        "./deploy/clickhouse/tiered.xml:/etc/clickhouse-server/config.d/tiered.xml:ro"
        in (service["volumes"])
    )
    assert set(service["environment"]) == {
        each.attrib["from_env"] for each in tiered.iter() if "from_env" in each.attrib
    }
    (secret,) = service["secrets"]
    assert secret["source"] in added["secrets"]
    # The credentials are in the secret alone, and merge with the disk.
    given = ElementTree.parse(ROOT / "deploy" / "examples" / "cold-credentials.xml")
    credentials = given.find("storage_configuration/disks/cold")
    assert credentials is not None
    assert {each.tag for each in credentials} == {"access_key_id", "secret_access_key"}
    assert tiered.find("storage_configuration/disks/cold/access_key_id") is None
    for name in (*CONSUMERS, "migrations"):
        assert {"COLD_AFTER_DAYS", "COLD_STORAGE_POLICY"} <= set(SERVICES[name]["environment"])


@pytest.mark.parametrize("target", ["backup", "backups", "backup-service", "restore"])
def test_backups_want_a_folder_of_another_disk(target: str, tmp_path: Path) -> None:
    assert '[ -n "" ] ||' in planned(target, tmp_path)
    (tmp_path / ".env").write_text("BACKUP_FOLDER=/mnt/backups\n")
    assert '[ -n "/mnt/backups" ] ||' in planned(target, tmp_path)


SECURITY = {name for name in variables() if re.match(r"KAFKA_S(ASL|SL|ECURITY)_", name)}
STORE_SECURITY = {"CLICKHOUSE_SECURE", "CLICKHOUSE_CA_FILE"}


@pytest.mark.parametrize("name", [*PRODUCERS, *CONSUMERS, EXAMINER, "topics", "dashboard"])
def test_compose_role_reaches_a_secured_kafka_elsewhere(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert environment["KAFKA_BROKER"] == "${KAFKA_BROKER:-kafka:29092}"
    assert set(environment) >= SECURITY
    assert "./deploy/certs:/certs:ro" in SERVICES[name]["volumes"]


@pytest.mark.parametrize("name", [*CONSUMERS, EXAMINER, "migrations", "dashboard"])
def test_compose_role_reaches_a_secured_clickhouse_elsewhere(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert environment["CLICKHOUSE_HOST"] == "${CLICKHOUSE_HOST:-clickhouse}"
    assert set(environment) >= STORE_SECURITY
    assert "./deploy/certs:/certs:ro" in SERVICES[name]["volumes"]


def planned(target: str, directory: Path, **environment: str) -> str:
    """Return the commands of a make target for a copy of the files, without running them."""
    for name in ("Makefile", "deploy/compose.mk", "deploy/exchanges.sh"):
        (directory / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, directory / name)
    given = {"KAFKA_BROKER", "CLICKHOUSE_HOST", "CLICKHOUSE_PORT", "WITH", "BACKUP_FOLDER"}
    clean = {name: value for name, value in os.environ.items() if name not in given}
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", target],
        cwd=directory,
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ({}, "kafka clickhouse"),
        ({"KAFKA_BROKER": "127.0.0.1:9092", "CLICKHOUSE_HOST": "localhost"}, "kafka clickhouse"),
        ({"KAFKA_BROKER": "one.example:9093,two.example:9093"}, "clickhouse"),
        ({"CLICKHOUSE_HOST": "db.example"}, "kafka"),
    ],
)
@pytest.mark.parametrize("place", ["environment", ".env"])
def test_make_starts_no_server_of_its_own_where_an_address_names_another(
    given: dict[str, str], own: str, place: str, tmp_path: Path
) -> None:
    if place == ".env":
        lines = "".join(f"{name}={value}\n" for name, value in given.items())
        (tmp_path / ".env").write_text(lines)
        given = {}
    said = planned("start-infra", tmp_path, **given)
    assert re.search(rf"up --detach --wait +{own} *$", said, re.MULTILINE)
    for name, server in (("external-kafka", "kafka"), ("external-clickhouse", "clickhouse")):
        assert (f"docker-compose.{name}.yml" in said) is (server not in own.split())
        assert compose(f"docker-compose.{name}.yml")["services"][server] == {"scale": 0}
    # Containers would look for an address of this machine in themselves.
    assert ("KAFKA_BROKER= " in said) is ("kafka" in own.split())
    assert ("CLICKHOUSE_HOST= " in said) is ("clickhouse" in own.split())


def test_make_starts_nothing_where_both_servers_are_elsewhere(tmp_path: Path) -> None:
    given = {"KAFKA_BROKER": "a.example:9093", "CLICKHOUSE_HOST": "b.example"}
    said = planned("start-infra", tmp_path, **given)
    assert '[ -z "" ] ||' in said


def version(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(directory / "deploy" / "version.sh"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("deploy/version.sh", "src/radar/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_each_build_has_a_tag_of_its_own_version(project: Path) -> None:
    done = version(project, "new")
    assert re.fullmatch(rf"{re.escape(__version__)}-\d{{8}}T\d{{6}}Z-\w+\n", done.stdout)


def test_version_before_the_present_one_can_run_again(project: Path) -> None:
    (project / ".env").write_text("SYMBOLS=USDTTMN\nRADAR_VERSION=0\n")
    done = version(project, "previous")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    for tag in ("1", "2", "3"):
        assert version(project, "use", tag).returncode == 0
    assert values(project / ".env") == {"SYMBOLS": "USDTTMN", "RADAR_VERSION": "3"}
    assert (project / ".env").stat().st_mode & 0o777 == 0o600
    assert version(project, "previous").stdout == "2\n"
    version(project, "use", "2")
    assert version(project, "previous").stdout == "3\n"  # what ran before: a way back
    assert version(project, "use", "a b; c").returncode == 1
    assert values(project / ".env")["RADAR_VERSION"] == "2"


def test_workers_are_replaced_before_producers_and_rolled_back_after_them(tmp_path: Path) -> None:
    def order(target: str) -> list[str]:
        said = planned(target, tmp_path)
        found = re.search(r"^for name in (.*?); do", said, re.MULTILINE | re.DOTALL)
        assert found is not None
        assert "up --detach --wait --no-deps --force-recreate $name || exit 1" in said
        return re.findall(r"consumer|wallex-trades|wallex-depth", found[1])

    assert order("update") == order("rolling-restart") == ["consumer", *PRODUCERS]
    assert order("rollback") == [*PRODUCERS, "consumer"]
    assert "run --rm -T migrations" in planned("update", tmp_path)


@pytest.mark.parametrize("chosen", ["nobitex,binance", "wallex,kraken", "wallex"])
def test_producers_of_all_chosen_exchanges_are_written(chosen: str, tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "exchanges.sh", tmp_path / "deploy")
    environment = os.environ | {"EXCHANGES": chosen}
    subprocess.run([tmp_path / "deploy" / "exchanges.sh"], env=environment, check=True)
    written = tmp_path / "docker-compose.scale-exchanges.yml"
    if chosen == "wallex":
        assert not written.exists()
        return
    services = yaml.safe_load(written.read_text())["services"]
    for exchange in chosen.split(","):
        for dataset in ("trades", "depth"):
            service = services.get(f"{exchange}-{dataset}")
            if exchange == "wallex":
                assert service is None  # docker-compose.yml has it
                continue
            assert service["command"] == ["produce", dataset, "--exchange", exchange]
            own = {name for name in variables() if name.startswith(f"{exchange.upper()}_")}
            assert set(service["environment"]) == own
            for observer in ("alerts", "dashboard"):
                told = services[observer]["environment"]["MONITOR_PROCESSES"]
                assert f"{exchange}-{dataset}:9100" in told
            assert f"{exchange.upper()}_REST_URL" in services[EXAMINER]["environment"]
    assert ("wallex-trades" in services) is ("wallex" not in chosen)


def test_prometheus_looks_for_the_producers_of_every_exchange() -> None:
    text = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text()
    for exchange in names():
        for dataset in ("trades", "depth"):
            assert re.search(rf"^ +- {exchange}-{dataset}(:9100)?$", text, re.MULTILINE)


def test_compose_simulation_has_volumes_of_its_own() -> None:
    override = compose("docker-compose.simulate.yml")
    stores = {"kafka-data", "clickhouse-data"}
    assert {volume["name"] for volume in override["volumes"].values()} == {
        f"radar_simulated-{name}" for name in stores
    }
    for name in PRODUCERS:
        environment = override["services"][name]["environment"]
        assert environment["EXCHANGE_WS_URL"] == "ws://exchange:8765/ws"


def test_secrets_have_no_default_in_any_file() -> None:
    """A password that stands in a public file is none."""
    required = set()
    for path in (*ROOT.glob("docker-compose*.yml"), *(ROOT / "deploy").rglob("*")):
        if not path.is_file() or "secrets" in path.parts:
            continue
        text = path.read_text(errors="replace")
        for name, rest in re.findall(r"\$\{(\w*(?:PASSWORD|TOKEN|SECRET)\w*)([^}]*)\}", text):
            if rest:
                assert rest == ":?run make secrets", f"{path}: {name}{rest}"
                required.add(name)
        for name, value in re.findall(r"^(\w*(?:PASSWORD|TOKEN))=(.*)$", text, re.MULTILINE):
            assert not value, f"{path}: {name}"
    assert required == set(SECRETS)
    example = (ROOT / "env.example").read_text()
    assert not re.search(r"^# \w*(PASSWORD|TOKEN)=.", example, re.MULTILINE)


def secrets(
    directory: Path, *, program: str = "scripts/secrets.sh", **environment: str
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return subprocess.run(
        [str(ROOT / program)],
        cwd=directory,
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def values(path: Path) -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(path).items()}


def test_secrets_are_random_private_and_created_once(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    done = secrets(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert path.stat().st_mode & 0o777 == 0o600
    first = values(path)
    assert set(first) == set(SECRETS)
    assert len(set(first.values())) == len(SECRETS)
    assert all(len(value) == 48 for value in first.values())
    assert not any(value in done.stdout for value in first.values())
    again = secrets(tmp_path)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert values(path) == first
    other = tmp_path / "other"
    other.mkdir()
    secrets(other)
    assert not set(values(other / ".env").values()) & set(first.values())
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == [".env"]


def test_secrets_that_are_there_and_other_lines_stay(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    kept = ["# mine", "SYMBOLS=USDTTMN", "export GRAFANA_ADMIN_PASSWORD = 'a $word # x'", "X=é"]
    path.write_text("\n".join([*kept, "DASHBOARD_TOKEN=", 'CLICKHOUSE_READER_PASSWORD=""']))
    path.chmod(0o644)
    assert secrets(tmp_path, CLICKHOUSE_WRITER_PASSWORD="of-the-environment").returncode == 0
    lines = path.read_text().splitlines()
    assert lines[: len(kept)] == kept
    added = values(path)
    assert len(added["DASHBOARD_TOKEN"]) == len(added["CLICKHOUSE_READER_PASSWORD"]) == 48
    assert "CLICKHOUSE_WRITER_PASSWORD" not in added
    assert path.read_text().count("DASHBOARD_TOKEN") == 1
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "line",
    [
        *("GRAFANA_ADMIN_PASSWORD=admin", "DASHBOARD_TOKEN='radar-on-this-machine' # old"),
        *("CLICKHOUSE_WRITER_PASSWORD=radar_writer", "CLICKHOUSE_READER_PASSWORD=change-me-3"),
    ],
)
def test_secret_that_was_published_is_refused_in_one_line(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"{line}\n")
    name, _, _ = line.partition("=")
    for done in (secrets(tmp_path), secrets(tmp_path / "..", **{name: "admin"})):
        assert done.returncode == 1
        assert done.stderr.startswith(f"secrets: the value of {name} is public")
        assert done.stderr.count("\n") == 1
    assert (tmp_path / ".env").read_text() == f"{line}\n"


def test_secrets_are_written_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / ".env").symlink_to("elsewhere")
    done = secrets(tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert (tmp_path / "elsewhere").read_text() == ""


def test_secret_files_are_behind_a_private_folder(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    assert secrets(tmp_path, WITH="simulate secrets").returncode == 0
    folder = tmp_path / "deploy" / "secrets"
    assert folder.stat().st_mode & 0o777 == 0o700
    words = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(words) == {each["file"].rpartition("/")[2] for each in SECRET_FILES.values()}
    assert len(set(words.values())) == len(words)
    assert secrets(tmp_path, WITH="secrets").returncode == 0
    assert words == {path.name: path.read_text() for path in folder.iterdir()}


def test_compose_secrets_replace_every_password() -> None:
    overrides = compose("docker-compose.secrets.yml")["services"]
    replaced = set()
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.match(r"\$\{CLICKHOUSE_\w+_PASSWORD", value or ""):
                assert not overrides[name]["environment"][variable], f"{name}: {variable}"
                assert overrides[name]["secrets"]
                replaced.add(name)
    dashboard, grafana = overrides["dashboard"], overrides["grafana"]
    assert not dashboard["environment"]["DASHBOARD_TOKEN"]
    assert dashboard["environment"]["DASHBOARD_TOKEN_FILE"] == "/run/secrets/dashboard_token"
    assert grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD"] is None
    file = grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"]
    assert file == "/run/secrets/grafana_admin"
    assert {"dashboard_token", "grafana_admin"} <= {*dashboard["secrets"], *grafana["secrets"]}
    assert replaced == {
        "clickhouse",
        "migrations",
        "alerts",
        "backup",
        "grafana",
        "dashboard",
        EXAMINER,
        *CONSUMERS,
    }


def users() -> dict[str, ElementTree.Element]:
    tree = ElementTree.parse(ROOT / "deploy" / "clickhouse" / "users.xml")
    found = tree.find("users")
    assert found is not None
    return {user.tag: user for user in found}


def grants(user: str) -> str:
    return "\n".join(query.text or "" for query in users()[user].iter("query"))


def test_clickhouse_users_have_the_least_rights() -> None:
    assert set(users()) == {"default", "radar_migrator", "radar_writer", "radar_reader"}
    assert not re.search("CREATE|ALTER|DROP|TRUNCATE|ALL", grants("radar_writer"))
    assert not re.search("CREATE|ALTER|DROP|TRUNCATE|ALL|INSERT", grants("radar_reader"))
    for table in newest().tables:
        assert f"GRANT SELECT, INSERT ON radar.{table}" in grants("radar_writer")


def test_clickhouse_users_get_their_passwords_from_the_environment() -> None:
    given = SERVICES["clickhouse"]["environment"]
    for name, user in users().items():
        if name != "default":
            password = user.find("password")
            assert password is not None
            assert password.get("from_env") in given
            assert password.text is None


def pins(name: str) -> dict[str, str]:
    """Return the packages that a lock file names, each with its version, marker and hashes."""
    text = re.sub(r"^ *#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE)
    found = re.findall(r"^([a-z0-9-]+)(==(?:.*\\\n)*.*)", text, re.MULTILINE)
    merged: dict[str, str] = {}
    for package, pin in found:
        merged[package] = merged.get(package, "") + pin
    return merged


def test_image_installs_what_is_locked_but_for_the_embedded_stores() -> None:
    everything, image = pins("requirements.txt"), pins("requirements-image.txt")
    left_out = {"chdb-core", "noida-db", "pandas", "pyarrow"}
    assert set(everything) - set(image) == left_out | {"python-multipart", "setproctitle"}
    # Both need time zones only where the system has none, which pandas says of one system more.
    versions = [pins.pop("tzdata").partition(" ; ")[0] for pins in (image, everything)]
    assert versions[0] == versions[1]
    assert image.items() <= everything.items()
    assert pins("requirements-build.txt").items() <= pins("requirements-dev.txt").items()


def test_roles_run_without_the_embedded_stores() -> None:
    modules = (
        *(
            "radar.producer.producer",
            "radar.consumer.worker",
            "radar.store.migrate",
            "radar.processes",
        ),
        *("radar_simulator", "radar.status.render", "radar.reading.query"),
        *("radar.ui.web.app", "radar.status.collect"),
    )
    code = f"import sys; sys.modules.update(dict.fromkeys({EMBEDDED!r}))\n"
    code += "\n".join(f"import {module}" for module in modules)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_producers_and_workers_run_without_any_extra() -> None:
    modules = (
        *("radar.producer.producer", "radar.consumer.worker", "radar.store.migrate"),
        *("radar.processes", "radar.cli.main", "radar.status.render", "radar.reading.query"),
        *("radar.telemetry.endpoints", "radar.checks.doctor", "radar.consumer.dlq.reader"),
    )
    code = f"import sys; sys.modules.update(dict.fromkeys({EMBEDDED + SCREENS!r}))\n"
    code += "\n".join(f"import {module}" for module in modules)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_images_are_tagged_with_the_version_of_the_package() -> None:
    files = [ROOT / "Dockerfile", *ROOT.glob("docker-compose*.yml")]
    text = "".join(path.read_text() for path in files if ".scale-" not in path.name)
    assert set(re.findall(r"VERSION(?::-|=)([0-9][^}\s]*)", text)) == {__version__}


def test_dockerfile_pins_its_base_and_runs_as_nobody_special() -> None:
    text = (ROOT / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", text, re.MULTILINE)
    assert {base for base, _ in bases if ":" in base} == {"python:3.11.15-slim-bookworm"}
    assert {"producer", "consumer"} <= {stage for _, stage in bases}
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)
    # A restart does not help a worker that waits for ClickHouse, so only liveness counts.
    assert re.search(r'^HEALTHCHECK .* CMD \["radar", "health", "--alive"\]$', text, re.MULTILINE)
    assert "--require-hashes" in text


@pytest.mark.parametrize("target", TARGETS)
def test_make_help_lists_the_target_in_one_line(target: str) -> None:
    assert re.search(rf"^  {target} +\S.*$", make("help").stdout, re.MULTILINE)


@pytest.mark.parametrize("target", [name for name in TARGETS if name not in WITHOUT_ENGINE])
def test_make_target_without_an_engine_names_the_local_command(target: str) -> None:
    # An engine that runs on this machine stays out of it.
    done = make(target, "N=4", "YES=1", DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert done.returncode != 0
    assert done.stdout.count("\n") == 1
    assert re.match(
        rf"make {target} needs a running Docker engine with the compose plugin;"
        r" without one: (make|\.venv/bin/radar|Ctrl-C|tail|(TRADES|DEPTH)_WORKERS=4)",
        done.stdout,
    )


@pytest.mark.parametrize("answer", ["", "n\n"])
def test_make_clean_all_does_nothing_without_a_yes(answer: str, tmp_path: Path) -> None:
    # In a copy, lest a failure of the test deletes what the developer has.
    for name in ("Makefile", "deploy/compose.mk"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / ".radar").mkdir()
    done = subprocess.run(
        ["make", "--no-print-directory", "clean-all"],
        cwd=tmp_path,
        env=os.environ | {"DOCKER_HOST": "unix:///nonexistent/docker.sock"},
        input=answer,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stdout.endswith("nothing was done\n")
    assert (tmp_path / ".radar").is_dir()


def scale(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "deploy" / "scale.sh"), *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def test_scale_up_adds_workers_with_names_of_their_own(tmp_path: Path) -> None:
    assert scale(tmp_path, "trades", "3", "5").returncode == 0
    written = yaml.safe_load((tmp_path / "docker-compose.scale-trades.yml").read_text())
    assert written["services"] == {
        name: {
            "extends": {"file": "docker-compose.yml", "service": "trades-consumer-1"},
            "environment": {"WORKER_ID": name},
        }
        for name in ("trades-consumer-4", "trades-consumer-5")
    }


def test_scale_down_stops_the_last_workers(tmp_path: Path) -> None:
    assert scale(tmp_path, "trades", "3", "1").returncode == 0
    written = yaml.safe_load((tmp_path / "docker-compose.scale-trades.yml").read_text())
    assert written["services"] == {
        name: {"scale": 0} for name in ("trades-consumer-2", "trades-consumer-3")
    }


def test_scale_back_leaves_no_file(tmp_path: Path) -> None:
    for wanted in ("4", "2"):
        assert scale(tmp_path, "depth", "2", wanted).returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wanted", ["", "0", "-1", "many"])
def test_scale_wrong_number_says_what_is_wanted(wanted: str, tmp_path: Path) -> None:
    done = scale(tmp_path, "depth", "2", wanted)
    assert done.returncode == 2
    assert done.stderr == "say how many workers, 1 or more: make scale-depth N=4\n"


@pytest.mark.parametrize("path", sorted((ROOT / "deploy" / "examples").glob("*.env")))
def test_example_names_only_variables_that_are_read(path: Path) -> None:
    compose_text = (ROOT / "docker-compose.yml").read_text()
    names = re.findall(r"^([A-Z_]+)=", path.read_text(), re.MULTILINE)
    assert names
    for name in names:
        assert name in variables() or re.search(rf"\$\{{{name}:[-?]", compose_text)
