"""The compose stack on a real engine: `make test-stack`.

It needs root, Debian's docker.io and debootstrap, Go and Maven, and about 20 minutes.

It runs the unmodified Dockerfile and compose files against the simulated exchange, in a copy of the
project: every service healthy, data flowing, every make target, containers killed and back, nothing
lost. No registry is needed: stand-ins take the names of the official images. They differ in this:

- python: Debian 12 with its own Python 3.11, made by debootstrap, and this machine's pip options.
- apache/kafka: the same Debian and Kafka's jars from Maven, with ZooKeeper where they have it.
  Kafka's own program makes the configuration from the environment; the start scripts and the tools
  are short ones of ours.
- clickhouse/clickhouse-server: ClickHouse's engine from its wheel (chDB) behind HTTP. It takes the
  users and passwords of users.xml, but refuses by the first word of a statement where the server
  has grants; there is no native protocol (9000) and there are no metrics (9363).
- prom/alertmanager, prom/node-exporter: Debian's.
- prom/prometheus: Debian's Prometheus 2.42. Its promtool has no `check ready`, which the health
  check calls, so a script of ours asks `/-/ready` for it.
- grafana/grafana: no Grafana. A program of ours starts where Grafana could (it may read what it
  provisions and write its volume) and asks the stores with the passwords that it was given.

The engine is a dockerd of this script's own, with all that it makes in `--work`, which stays for
the next run. With `--official` it is the engine that answers, with the official images.
"""

import argparse
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import combinations
from pathlib import Path

import msgspec
from pydantic import SecretStr

from radar import __version__
from radar.checks.reconciliation import compare_trades, stored_trades
from radar.settings import load
from radar.store.client import Store
from radar_simulator import LedgerTrade

ROOT = Path(__file__).parents[2]
STANDINS = Path(__file__).parent / "standins"
COMPOSE_VERSION = "v2.40.3"
PACKAGES = (
    *("ca-certificates", "python3", "python3-venv", "python3-pip", "openjdk-17-jre-headless"),
    *("prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "wget"),
)
SERVICES = (
    *("kafka", "clickhouse", "exchange", "wallex-trades", "wallex-depth"),
    *("trades-consumer-1", "trades-consumer-2", "trades-consumer-3"),
    *("depth-consumer-1", "depth-consumer-2", "quiet-consumer-1"),
    *("reconcile", "dashboard"),
)
MONITORING = ("prometheus", "alertmanager", "kafka-disk", "grafana")
START_TIMEOUT_S = 120
PROJECT = "label=com.docker.compose.project=radar"
# What a stack is, without what was made in it and what is set for another.
NOT_COPIED = (
    *(".git", ".venv*", ".kafka", ".stack", ".radar", ".bench", ".*_cache", ".hypothesis", ".env"),
    *("tests", "docs", "secrets", "docker-compose.scale-*.yml", "__pycache__"),
)
ONCE = {"topics", "migrations"}
WITHOUT_METRICS = {"kafka", "clickhouse", "exchange"}
FILES = ("simulate", "secrets", "zookeeper")
MAKE_TIMEOUT_S = 900


class Failed(Exception):
    """What the stack did is not what it should do."""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(*command: str, text: str | None = None, quiet: bool = True, **options: object) -> str:
    """Run a command; return what it printed."""
    try:
        done = subprocess.run(
            command,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if quiet else None,
            text=True,
            check=False,
            timeout=MAKE_TIMEOUT_S,
            **options,  # type: ignore[call-overload]
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(str(error)) from error
    if done.returncode:
        raise Failed(f"{' '.join(command)[:200]}: exit code {done.returncode}\n{done.stdout}")
    return str(done.stdout)


def eventually(condition: Callable[[], bool], what: str, timeout_s: float = 120) -> None:
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            if condition():
                return
        except Failed:
            if time.monotonic() > deadline_s:
                raise
        if time.monotonic() > deadline_s:
            raise Failed(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(0.5)


# --- the engine


@contextmanager
def own_engine(work: Path) -> Iterator[None]:
    """Run an engine; provide it and the compose plugin in the environment of what is run."""
    if os.getuid() != 0 or shutil.which("dockerd") is None:
        raise Failed("cannot start an engine: be root, and apt-get install docker.io debootstrap")
    os.environ["DOCKER_CONFIG"] = str(work / "docker-config")
    compose_plugin(work)
    directory = work / "engine"
    directory.mkdir(exist_ok=True)
    os.environ["DOCKER_HOST"] = f"unix://{directory}/docker.sock"
    with (directory / "log").open("ab") as log:
        dockerd = subprocess.Popen(
            [
                *("dockerd", "--host", os.environ["DOCKER_HOST"]),
                *("--data-root", str(directory / "data"), "--exec-root", str(directory / "run")),
                *("--pidfile", str(directory / "pid")),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        eventually(answers, f"the engine answers (log: {directory}/log)", START_TIMEOUT_S)
        yield
    finally:
        dockerd.send_signal(signal.SIGTERM)
        dockerd.wait(60)


def answers() -> bool:
    done = subprocess.run(["docker", "version"], capture_output=True, check=False)
    return done.returncode == 0


def compose_plugin(work: Path) -> None:
    """Build the compose plugin with Go where the machine has none."""
    done = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if done.returncode == 0:
        return
    module = f"github.com/docker/compose/v2@{COMPOSE_VERSION}"
    work.joinpath("go").mkdir(exist_ok=True)
    found = json.loads(run("go", "mod", "download", "-json", module, quiet=False, cwd=work / "go"))
    source = work / "go" / "compose"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(found["Dir"], source)
    run("chmod", "-R", "u+w", str(source))
    plugin = work / "docker-config" / "cli-plugins" / "docker-compose"
    flags = f"-s -w -X github.com/docker/compose/v2/internal.Version={COMPOSE_VERSION}"
    plugin.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["go", "build", "-trimpath", "-ldflags", flags, "-o", str(plugin), "./cmd"],
        cwd=source,
        check=True,
    )


# --- images


def official_images() -> set[str]:
    """Return the images that the compose files and the Dockerfile name and do not build."""
    paths = (ROOT / "Dockerfile", *ROOT.glob("docker-compose*.yml"))
    text = "\n".join(path.read_text() for path in paths)
    return {
        image
        for image in re.findall(r"(?:image: |^FROM )(\S+)", text, re.MULTILINE)
        if re.search(r":v?\d", image)
    }


def make_standins(work: Path) -> None:
    """Make what is missing of the official images."""
    context = work / "standins"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(STANDINS, context)
    made_of = ("--filter", f"label=packages={' '.join(PACKAGES)}", "radar-standin/base")
    if not run("docker", "image", "ls", "--quiet", *made_of):
        make_base(work)
    context.joinpath("pip.conf").write_text(pip_options())
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", context)
    shutil.copy(ROOT / "requirements.txt", context)
    shutil.copytree(ROOT / "src" / "radar", context / "radar")
    recipes = {
        "python": "python",
        "apache/kafka": "kafka",
        "clickhouse/clickhouse-server": "clickhouse",
        "prom/prometheus": "prometheus",
        "prom/alertmanager": "alertmanager",
        "prom/node-exporter": "node-exporter",
        "grafana/grafana": "grafana",
    }
    # The others are made from it.
    for image in sorted(official_images(), key=lambda image: not image.startswith("python:")):
        name, _, version = image.partition(":")
        arguments: tuple[str, ...] = ()
        if name == "apache/kafka":
            shutil.copytree(kafka_libs(work, version), context / f"libs-{version}")
            arguments = ("--build-arg", f"LIBS=libs-{version}")
        build = ("docker", "build", "--network", "host", "--quiet", *arguments, "--tag", image)
        run(*build, "--file", str(context / f"{recipes[name]}.Dockerfile"), str(context))


def kafka_libs(work: Path, version: str) -> Path:
    """Return the folder of a Kafka's jars; gets those that `make kafka` does not."""
    libs = ROOT / ".kafka" / "libs"
    if (libs / f"kafka-clients-{version}.jar").exists():
        return libs
    libs = work / f"kafka-{version}"
    if not libs.exists():
        fetched = work / "kafka-new"
        shutil.rmtree(fetched, ignore_errors=True)
        run(
            *("mvn", "--quiet", "--batch-mode", "--file", str(ROOT / "scripts" / "kafka.pom.xml")),
            *("dependency:copy-dependencies", "-DincludeScope=runtime"),
            # Before 4.0 it has a binding of its own for the log.
            *(f"-Dkafka.version={version}", "-DexcludeArtifactIds=slf4j-reload4j"),
            f"-DoutputDirectory={fetched}",
        )
        fetched.rename(libs)
    return libs


def make_base(work: Path) -> None:
    """Make a Debian of what the stand-ins need, from where this machine gets its packages."""
    root = work / "debian"
    shutil.rmtree(root, ignore_errors=True)
    include = ",".join(PACKAGES)
    run("debootstrap", "--variant=minbase", f"--include={include}", "bookworm", str(root))
    archive = work / "debian.tar"
    run("tar", "--create", "--file", str(archive), "--directory", str(root), "--exclude=./dev", ".")
    label = f'LABEL packages="{" ".join(PACKAGES)}"'
    run("docker", "import", "--change", label, str(archive), "radar-standin/base:latest")
    archive.unlink()
    shutil.rmtree(root)


def pip_options() -> str:
    """Return this machine's own pip options, so that the stand-in finds the same index."""
    lines = ["[global]", "break-system-packages = true"]
    for line in run(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.partition(".")
        if section == "global":
            lines.append(f"{option} = {value.strip(chr(39))}")
    return "\n".join(lines) + "\n"


# --- what the stack must do


def copy_of_the_project(work: Path) -> Path:
    """Return a copy that targets may delete from, as `clean` does."""
    tree = work / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*NOT_COPIED))
    return tree


def make(target: str, *arguments: str, text: str = "") -> str:
    return run("make", "--no-print-directory", target, *arguments, text=text)


def refused(target: str, *arguments: str, text: str = "") -> str:
    """Run a make target that must fail; return what it printed."""
    try:
        said = make(target, *arguments, text=text)
    except Failed as error:
        return str(error)
    raise Failed(f"make {target} did not fail: {said}")


def compose(*arguments: str) -> str:
    """Run compose as the targets do, with the files of the stack that runs."""
    return run("docker", "compose", *files(os.environ["WITH"].split()), *arguments)


def files(names: list[str]) -> list[str]:
    scaled = sorted(str(path) for path in Path().glob("docker-compose.scale-*.yml"))
    chosen = ["docker-compose.yml", *(f"docker-compose.{name}.yml" for name in names), *scaled]
    return [argument for name in chosen for argument in ("--file", name)]


def containers(*options: str) -> set[str]:
    """Return the services that have a container."""
    names = ("--filter", PROJECT, "--format", '{{.Label "com.docker.compose.service"}}')
    return set(run("docker", "ps", *options, *names).split())


def container(service: str) -> str:
    """Return the name that compose gives the container of a service."""
    return f"radar-{service}-1"


def volumes() -> set[str]:
    return set(run("docker", "volume", "ls", "--quiet", "--filter", PROJECT).split())


def get(url: str, user: str = "", password: str = "") -> str:
    """Ask a port of the stack."""
    request = urllib.request.Request(url)
    if user:
        given = b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {given}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        raise Failed(f"{url}: {error} {error.read().decode()}") from error
    except OSError as error:
        raise Failed(f"{url}: {error}") from error


def query(sql: str) -> str:
    return make("clickhouse-cli", text=sql).strip()


def count(table: str) -> int:
    return int(query(f"SELECT count() FROM {table}"))


def inspect(service: str, template: str) -> str:
    return run("docker", "inspect", "--format", template, container(service)).strip()


def inspect_image(image: str, template: str) -> str:
    return run("docker", "image", "inspect", "--format", template, image).strip()


def health(service: str) -> str:
    return inspect(service, "{{.State.Health.Status}}")


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise Failed(what)


def exchange(question: str) -> str:
    """Ask the simulated exchange, which has no port on this machine."""
    code = (
        "import httpx;"
        f"print(httpx.get('http://127.0.0.1:8765/simulator/{question}', timeout=30).text, end='')"
    )
    return run("docker", "exec", container("exchange"), "python", "-c", code)


def healthy_again(timeout_s: float = 180) -> None:
    for each in sorted(containers("--all") - ONCE):
        eventually(lambda each=each: health(each) == "healthy", f"{each} is healthy", timeout_s)  # type: ignore[misc]


def more_trades() -> None:
    before = count("trades")
    eventually(lambda: count("trades") > before, "more trades", 180)


def developer_prepares() -> None:
    said = make("dev-setup")
    expect("wrote .env" in said, said)
    expect(
        f"radar {__version__}" in run(".venv/bin/radar", "version"),
        "the command of the environment",
    )
    expect("wrote .env" not in make("dev-setup"), ".env is kept")


def images_build() -> None:
    make("build")
    tag = secret("RADAR_VERSION")
    expect(tag.startswith(f"{__version__}-"), f"the tag of the build: {tag}")
    for image in (f"radar-producer:{tag}", f"radar-consumer:{tag}"):
        size = int(inspect_image(image, "{{.Size}}")) - int(
            inspect_image("python:3.11.15-slim-bookworm", "{{.Size}}")
        )
        say(f"    {image}: {size / 1e6:.0f} MB above its base")
        user = inspect_image(image, "{{.Config.User}}")
        expect(user == "10001:10001", "runs as a user of its own")
        check = inspect_image(image, "{{.Config.Healthcheck.Test}}")
        expect("radar health --alive" in check, "health check")
    closed = ("docker", "run", "--rm", "--read-only", "--network", "none", "--cap-drop", "ALL")
    expect(
        f"radar {__version__}" in run(*closed, f"radar-consumer:{tag}", "version"),
        "runs read-only",
    )
    code = (
        "import importlib.util as u, shutil;"
        "print([m for m in ('chdb', 'noida_db', 'pip', 'pandas') if u.find_spec(m)],"
        "[t for t in ('gcc', 'cc', 'make') if shutil.which(t)])"
    )
    # The base brings a pip of its own, outside of radar's environment.
    found = run(*closed, "--entrypoint", "python", f"radar-consumer:{tag}", "-c", code)
    expect(found.strip() == "[] []", f"holds what it should not: {found}")


def pipeline_starts() -> None:
    make("start-pipeline")
    for name in SERVICES:
        expect(health(name) == "healthy", f"{name} is {health(name)}")
        expect(inspect(name, "{{.HostConfig.SecurityOpt}}") == "[no-new-privileges:true]", name)
        expect(
            inspect(name, "{{.HostConfig.ReadonlyRootfs}}") == str(name != "kafka").lower(), name
        )
        user = inspect(name, "{{.Config.User}}")
        expect(user not in {"", "0", "root"}, f"{name} runs as {user!r}")
    make("health")


def data_flows() -> None:
    for table in ("trades", "order_book"):
        eventually(lambda table=table: count(table) > 0, f"rows in {table}")  # type: ignore[misc]
    more_trades()
    users = query("SELECT count() FROM schema_migrations")
    expect(int(users) >= 4, "the migrator's tables")


def targets_work() -> None:
    expect("USDTTMN" in make("clickhouse-query-trades", "LIMIT=200"), "trades are shown")
    expect("USDTTMN" in make("clickhouse-query-depth", "LIMIT=200"), "order books are shown")
    expect("radar_trades" in make("kafka-topics"), "topics are shown")
    expect("radar_trades: 3 partitions" in make("kafka-create-topics"), "topics are listed")
    expect("clickhouse-trades-consumers" in make("kafka-lag"), "lag is shown")
    expect("trades-consumer-1" in make("status"), "status")
    expect("up to date" in make("clickhouse-migrate"), "tables")
    logs = "LOGS=--tail 20"
    expect("wallex-depth" in make("logs-producers", logs), "logs of producers")
    expect("trades-consumer-2" in make("logs-trades", logs), "logs of trades")
    expect("depth-consumer-2" in make("logs-depth", logs), "logs of depth")
    expect("kafka" in make("logs", logs), "logs")
    # What is killed by hand stays away until it is asked for.
    run("docker", "kill", *map(container, ("trades-consumer-3", "wallex-depth", "kafka")))
    said = refused("health")
    for target, name in (
        ("start-infra", "kafka"),
        ("start-producers", "wallex-depth"),
        ("start-consumers", "trades-consumer-3"),
    ):
        expect(bool(re.search(rf"^{name} +(exited|unhealthy)$", said, re.MULTILINE)), said)
        make(target)
        expect(health(name) == "healthy", name)
    run("docker", "kill", container("trades-consumer-3"))
    make("start")
    make("health")


def kill(name: str) -> None:
    """Kill a container's process; wait until the engine has started it again and all is healthy."""
    restarts = int(inspect(name, "{{.RestartCount}}"))
    os.kill(int(inspect(name, "{{.State.Pid}}")), signal.SIGKILL)
    eventually(lambda: int(inspect(name, "{{.RestartCount}}")) > restarts, f"{name} restarts")
    healthy_again()


def killed_producers_come_back() -> None:
    """What they lose in such a moment is the ledger test's business (make chaos)."""
    for name in ("wallex-trades", "wallex-depth"):
        kill(name)
    more_trades()


def waiting() -> int:
    lag = json.loads(
        run("docker", "exec", container("trades-consumer-1"), "radar", "lag", "--json")
    )
    return sum(row["lag"] for row in lag["partitions"])


@contextmanager
def silence() -> Iterator[list[LedgerTrade]]:
    """Let the exchange pause, until all is stored; provide its ledger."""
    exchange("quiesce")
    try:
        eventually(lambda: bool(json.loads(exchange("ledger"))["drained"]), "all is sent")
        stored = -1

        def settled() -> bool:
            nonlocal stored
            before, stored = stored, count("trades")
            return before == stored and waiting() == 0

        eventually(settled, "all is stored")
        lines = exchange("ledger/trades?all=1").splitlines()
        yield [msgspec.json.decode(line, type=LedgerTrade) for line in lines]
    finally:
        exchange("resume")


def nothing_is_lost() -> None:
    """Kill all that stands between a producer and the tables; compare, trade for trade."""
    with silence() as ledger:
        last_before = ledger[-1].seq
    for name in ("trades-consumer-1", "clickhouse", "kafka"):
        kill(name)
    with silence() as ledger:
        store = Store(
            load().model_copy(
                update={
                    "clickhouse_host": "127.0.0.1",
                    "clickhouse_user": "radar_reader",
                    "clickhouse_password": SecretStr(secret("CLICKHOUSE_READER_PASSWORD")),
                }
            )
        )
        try:
            stored = stored_trades(store, 0)
        finally:
            store.close()
    since = compare_trades([trade for trade in ledger if trade.seq > last_before], stored)
    ever = compare_trades(ledger, stored)
    say(f"    sent meanwhile: {since.sent:,}, lost: {since.lost}; stored ever: {ever.stored:,},")
    say(f"    more often than they happened or otherwise: {ever.unexpected}")
    expect(since.sent > 0, "the exchange sent nothing")
    expect((since.lost, ever.unexpected) == (0, 0), f"{since}, {ever}")


def targets() -> dict[str, str]:
    """Return whether Prometheus reaches radar's processes, by instance."""
    answer = json.loads(get("http://127.0.0.1:9090/api/v1/query?query=up%7Bjob%3D%22radar%22%7D"))
    return {row["metric"]["instance"]: row["value"][1] for row in answer["data"]["result"]}


def monitoring_starts() -> None:
    make("monitor")
    for name in MONITORING:
        expect(health(name) == "healthy", name)
    wanted = {f"{name}:9100": "1" for name in SERVICES if name not in WITHOUT_METRICS}
    eventually(lambda: targets() == wanted, f"Prometheus sees {wanted}")
    rules = json.loads(get("http://127.0.0.1:9090/api/v1/rules"))["data"]["groups"]
    expect(sum(len(group["rules"]) for group in rules) > 10, f"rules: {rules}")
    for source in ("prometheus", "clickhouse"):
        expect('"status":"OK"' in data_source(source), source)


def data_source(uid: str, password: str = "") -> str:
    """Let Grafana ask one of its stores."""
    url = f"http://127.0.0.1:3000/api/datasources/uid/{uid}/health"
    return get(url, "admin", password or secret("GRAFANA_ADMIN_PASSWORD")).replace(" ", "")


def versions_roll() -> None:
    """Replace each container while data flows, by the next version and by the one before."""
    before = secret("RADAR_VERSION")
    make("build")
    after = secret("RADAR_VERSION")
    expect(after != before, f"{after} is a version of its own")
    for target, tag in (("update", after), ("rollback", before), ("rolling-restart", before)):
        make(target)
        expect(secret("RADAR_VERSION") == tag, f"{target}: {secret('RADAR_VERSION')}")
        for name in ("wallex-trades", "trades-consumer-1", "quiet-consumer-1", "dashboard"):
            expect(inspect(name, "{{.Config.Image}}").endswith(f":{tag}"), f"{target}: {name}")
        make("health")
        more_trades()


def secret(name: str) -> str:
    """Return a password that `make secrets` has created."""
    found = re.search(rf"^{name}=(\S+)$", Path(".env").read_text(), re.MULTILINE)
    if found is None:
        raise Failed(f"{name} is not in .env")
    return found[1]


def workers_scale() -> None:
    said = make("scale-trades", "N=5")
    expect("Only 3 of the 5 workers have something to do" in said, said)
    expect(health("trades-consumer-5") == "healthy", "the fifth worker")
    expect(
        inspect("trades-consumer-5", "{{.Config.Env}}").count("WORKER_ID=trades-consumer-5") == 1,
        "the fifth worker's name",
    )
    grown = make("kafka-create-topics", "GROW=1", "KAFKA_NUM_PARTITIONS=5")
    expect("grew radar_trades from 3 to 5 partitions" in grown, grown)
    expect("have something to do" not in make("scale-trades", "N=5"), "all have")
    eventually(lambda: targets().get("trades-consumer-5:9100") == "1", "Prometheus sees the fifth")
    make("scale-depth", "N=1")
    expect("depth-consumer-2" not in containers("--all"), "the second depth worker is gone")
    make("scale-trades", "N=3")
    make("scale-depth", "N=2")
    running = containers()
    expect(running >= {*SERVICES, *MONITORING}, f"runs: {running}")
    expect(not {"trades-consumer-4", "trades-consumer-5"} & containers("--all"), "gone again")
    more_trades()


def stops_and_goes_on() -> None:
    make("stop")
    expect(not containers(), f"runs: {containers()}")
    for name in SERVICES:
        code = inspect(name, "{{.State.ExitCode}}")
        expect(code in {"0", "143"}, f"{name} ended with {code}")
    said = refused("health")
    expect("kafka" in said, said)
    make("start")
    make("health")
    more_trades()
    make("restart")
    make("health")
    running = containers()
    expect(running >= {*SERVICES, *MONITORING}, f"runs: {running}")


def reset_asks_and_deletes() -> None:
    before = count("trades")
    said = refused("clickhouse-reset", text="n\n")
    expect("nothing was done" in said, said)
    expect(count("trades") >= before, "the tables are as they were")
    make("clickhouse-reset", "YES=1")
    expect(count("trades") < before, "the tables are new")
    eventually(lambda: count("trades") > 0, "trades again")


def clean_keeps_data() -> None:
    before, kept = count("trades"), volumes()
    make("scale-trades", "N=4")
    make("clean")
    expect(not containers("--all"), f"left: {containers('--all')}")
    left = [path for path in (Path(".venv"), *Path().glob("*scale-*.yml")) if path.exists()]
    expect(not left, f"left: {left}")
    expect(volumes() == kept != set(), f"volumes: {volumes()}")
    make("start")
    expect(count("trades") >= before, "the rows from before")
    more_trades()


def clean_all_asks_and_deletes() -> None:
    Path(".radar").mkdir()
    said = refused("clean-all", text="n\n")
    expect("nothing was done" in said, said)
    expect(containers() >= set(SERVICES), "all runs")
    make("clean-all", "YES=1")
    expect(not containers("--all") | volumes(), f"left: {containers('--all') | volumes()}")
    expect(not Path(".radar").exists(), ".radar")


@contextmanager
def another_stack(names: str) -> Iterator[None]:
    """Start a stack of other compose files in place of the one that runs."""
    make("clean-all", "YES=1")
    before, os.environ["WITH"] = os.environ["WITH"], names
    try:
        make("start-pipeline")
        yield
    finally:
        make("clean-all", "YES=1")
        os.environ["WITH"] = before


def passwords_come_from_files() -> None:
    folder = Path("deploy/secrets")
    folder.mkdir(mode=0o700)
    words = {user: f"word-of-{user}" for user in ("migrator", "writer", "reader")}
    words |= {"token": "word-of-the-dashboard", "admin": "word-of-grafana"}
    for user, word in words.items():
        name = {"token": "dashboard_token", "admin": "grafana_admin"}.get(
            user, f"clickhouse_{user}"
        )
        (folder / name).write_text(f"{word}\n")
    ask = "http://127.0.0.1:8123/?database=radar&query=SELECT+count()+FROM+trades"
    with another_stack("simulate secrets"):
        make("scale-trades", "N=4")
        make("monitor")
        make("health")
        data_flows()
        expect(int(get(ask, "radar_reader", words["reader"])) > 0, "the reader's password")
        try:
            get(ask, "radar_reader", "radar_reader")
        except Failed as error:
            expect(" 403" in str(error) or " 401" in str(error), str(error))
        else:
            raise Failed("the reader needs no password of its own")
        expect(
            '"status":"OK"' in data_source("clickhouse", words["admin"]),
            "Grafana has the passwords",
        )
        for name in sorted(containers("--all")):
            told = run("docker", "inspect", container(name))
            expect(not [word for word in words.values() if word in told], f"{name} shows it")
            # What it would be without a file.
            expect(secret("CLICKHOUSE_WRITER_PASSWORD") not in told, f"{name} has another")


def zookeeper_serves() -> None:
    with another_stack("simulate zookeeper"):
        make("health")
        expect(inspect("kafka", "{{.Config.Image}}").startswith("apache/kafka:3.9"), "Kafka 3.9")
        data_flows()
        expect("radar_trades" in make("kafka-topics"), "topics are shown")
        expect("clickhouse-trades-consumers" in make("kafka-lag"), "lag is shown")
        tool = "/opt/kafka/bin/kafka-topics.sh --bootstrap-server kafka:29092 --list"
        expect("radar_trades" in compose("exec", "-T", "kafka", *tool.split()), "a tool by hand")
        for name in ("zookeeper", "kafka"):
            kill(name)
        more_trades()
        make("restart")
        more_trades()


def producers_run_alone() -> None:
    """Against a broker that calls itself localhost, without the producers of the stack."""
    with another_stack("simulate"):
        compose("rm", "--force", "--stop", "wallex-trades", "wallex-depth")
        address = inspect("exchange", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
        os.environ["EXCHANGE_WS_URL"] = f"ws://{address}:8765/ws"
        os.environ["EXCHANGE_REST_URL"] = f"http://{address}:8765"
        alone = ("docker", "compose", "--file", "docker-compose.producers.yml")
        try:
            run(*alone, "up", "--detach", "--wait")
            for name in ("wallex-trades", "wallex-depth"):
                expect(health(name) == "healthy", name)
            more_trades()
        finally:
            run(*alone, "down")
            del os.environ["EXCHANGE_WS_URL"], os.environ["EXCHANGE_REST_URL"]


def compose_files_are_valid() -> None:
    choices = [chosen for n in range(len(FILES) + 1) for chosen in combinations(FILES, n)]
    for chosen in choices:
        compose_files = files(list(chosen))
        run("docker", "compose", *compose_files, "--profile", "monitoring", "config", "--quiet")
    run("docker", "compose", "--file", "docker-compose.producers.yml", "config", "--quiet")


STEPS = (
    *(compose_files_are_valid, developer_prepares, images_build, pipeline_starts, data_flows),
    *(targets_work, killed_producers_come_back, nothing_is_lost, monitoring_starts),
    *(versions_roll, workers_scale, stops_and_goes_on, reset_asks_and_deletes, clean_keeps_data),
    *(clean_all_asks_and_deletes, passwords_come_from_files, zookeeper_serves),
    *(producers_run_alone,),
)


def main() -> int:
    parser = argparse.ArgumentParser(description="The compose stack on a real engine")
    parser.add_argument("--work", type=Path, default=ROOT / ".stack", help="what is kept")
    parser.add_argument("--official", action="store_true", help="the engine that answers")
    options = parser.parse_args()
    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    os.environ["WITH"] = "simulate"
    # A container may not have more than the engine, nor may all engines have what is wanted.
    may_open = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if may_open != resource.RLIM_INFINITY:
        os.environ["CLICKHOUSE_OPEN_FILES"] = str(min(may_open, 262144))
    passed = failed = 0
    with nullcontext() if options.official else own_engine(work):
        if containers("--all"):
            raise Failed("a stack of radar is on this engine already: make clean")
        if not options.official:
            make_standins(work)
        os.chdir(copy_of_the_project(work))
        try:
            for step in STEPS:
                began_s = time.monotonic()
                name = step.__name__.replace("_", " ")
                try:
                    step()
                except Failed as error:
                    failed += 1
                    say(f"FAILED  {name}: {error}")
                else:
                    passed += 1
                    say(f"passed  {name} ({time.monotonic() - began_s:.0f} s)")
        finally:
            make("clean-all", "YES=1")
    say(f"{passed} passed, {failed} failed")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
