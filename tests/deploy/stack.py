"""The compose stack on a real engine: `make test-stack`. Needs root, Debian's docker.io and Go.

It runs the unmodified Dockerfile and compose files against the simulated exchange: every service
healthy, data flowing, every make target, containers killed and back, nothing lost. No registry is
needed: stand-ins take the names of the official images. They differ in this:

- python: Debian 12 with its own Python 3.11, made by debootstrap, and this machine's pip options.
- apache/kafka: the same Debian and Kafka's jars from Maven. Kafka's own program makes the
  configuration from the environment; the start script and the tools are short ones of ours.
- clickhouse/clickhouse-server: ClickHouse's engine from its wheel (chDB) behind HTTP. It takes the
  users and passwords of users.xml, but refuses by the first word of a statement where the server
  has grants; there is no native protocol (9000) and there are no metrics (9363).
- prom/prometheus: Debian's Prometheus 2.42.
- grafana/grafana: none; only its configuration is checked.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

ROOT = Path(__file__).parents[2]
STANDINS = Path(__file__).parent / "standins"
COMPOSE_VERSION = "v2.40.3"
PACKAGES = (
    *("ca-certificates", "python3", "python3-venv", "python3-pip", "openjdk-17-jre-headless"),
    *("prometheus",),
)
SERVICES = (
    *("kafka", "clickhouse", "exchange", "wallex-trades", "wallex-depth"),
    *("trades-consumer-1", "trades-consumer-2", "trades-consumer-3"),
    *("depth-consumer-1", "depth-consumer-2", "gaps-consumer-1"),
)
START_TIMEOUT_S = 120
PROJECT = "com.docker.compose.project=radar"
MAKE_TIMEOUT_S = 900


class Failed(Exception):
    """What the stack did is not what it should do."""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(*command: str, text: str | None = None, quiet: bool = True, **options: object) -> str:
    """Run a command; return what it printed."""
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
        raise Failed("cannot start a Docker engine: be root, and apt-get install docker.io")
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
    text = (ROOT / "docker-compose.yml").read_text() + (ROOT / "Dockerfile").read_text()
    return {
        image
        for image in re.findall(r"(?:image: |^FROM )(\S+)", text, re.MULTILINE)
        if re.search(r":v?\d", image)
    }


def make_standins(work: Path) -> None:
    """Make what is missing of the official images."""
    by_name = {image.split(":")[0]: image for image in official_images()}
    present = set(run("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split())
    context = work / "standins"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(STANDINS, context)
    if "radar-standin/base:latest" not in present:
        make_base(work)
    context.joinpath("pip.conf").write_text(pip_options())
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", context)
    shutil.copytree(ROOT / ".kafka" / "libs", context / "libs")
    shutil.copy(ROOT / "requirements.txt", context)
    shutil.copytree(ROOT / "src" / "radar", context / "radar")
    for recipe, name in (
        ("python", "python"),
        ("kafka", "apache/kafka"),
        ("clickhouse", "clickhouse/clickhouse-server"),
        ("prometheus", "prom/prometheus"),
    ):
        file = context / f"{recipe}.Dockerfile"
        build = ("docker", "build", "--network", "host", "--quiet", "--tag", by_name[name])
        run(*build, "--file", str(file), str(context))


def make_base(work: Path) -> None:
    """Make a Debian of what the stand-ins need, from where this machine gets its packages."""
    root = work / "debian"
    shutil.rmtree(root, ignore_errors=True)
    include = ",".join(PACKAGES)
    run("debootstrap", "--variant=minbase", f"--include={include}", "bookworm", str(root))
    archive = work / "debian.tar"
    run("tar", "--create", "--file", str(archive), "--directory", str(root), "--exclude=./dev", ".")
    run("docker", "import", str(archive), "radar-standin/base:latest")
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


def make(target: str, *arguments: str, text: str = "") -> str:
    return run("make", "--no-print-directory", target, *arguments, text=text, cwd=ROOT)


def query(sql: str) -> str:
    return make("clickhouse-cli", text=sql).strip()


def count(table: str) -> int:
    return int(query(f"SELECT count() FROM {table}"))


def inspect(container: str, template: str) -> str:
    return run("docker", "inspect", "--format", template, container).strip()


def health(container: str) -> str:
    return inspect(container, "{{.State.Health.Status}}")


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise Failed(what)


def simulator(question: str) -> dict[str, object]:
    code = (
        "import httpx;"
        f"print(httpx.get('http://127.0.0.1:8765/simulator/{question}', timeout=30).text)"
    )
    answer: dict[str, object] = json.loads(run("docker", "exec", "exchange", "python", "-c", code))
    return answer


def images_build() -> None:
    make("build")
    for image in ("radar-producer:0.1.0", "radar-consumer:0.1.0"):
        size = int(inspect(image, "{{.Size}}")) - int(
            inspect("python:3.11.15-slim-bookworm", "{{.Size}}")
        )
        say(f"    {image}: {size / 1e6:.0f} MB above its base")
        expect(inspect(image, "{{.Config.User}}") == "10001:10001", "runs as a user of its own")
        expect("radar health" in inspect(image, "{{.Config.Healthcheck.Test}}"), "health check")
    closed = ("docker", "run", "--rm", "--read-only", "--network", "none", "--cap-drop", "ALL")
    expect("radar 0.1.0" in run(*closed, "radar-consumer:0.1.0", "version"), "runs read-only")
    code = (
        "import importlib.util as u, shutil;"
        "print([m for m in ('chdb', 'noida_db', 'pip', 'uvicorn') if u.find_spec(m)],"
        "[t for t in ('gcc', 'cc', 'make') if shutil.which(t)])"
    )
    # The base brings a pip of its own, outside of radar's environment.
    found = run(*closed, "--entrypoint", "python", "radar-consumer:0.1.0", "-c", code)
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
    before = count("trades")
    eventually(lambda: count("trades") > before, "more trades")
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
    for target in ("start", "start-infra", "start-producers", "start-consumers"):
        make(target)


def kill(name: str) -> None:
    """Kill a container's process; wait until the engine has started it again and all is healthy."""
    restarts = int(inspect(name, "{{.RestartCount}}"))
    os.kill(int(inspect(name, "{{.State.Pid}}")), signal.SIGKILL)
    eventually(lambda: int(inspect(name, "{{.RestartCount}}")) > restarts, f"{name} restarts")
    for each in SERVICES:
        eventually(lambda each=each: health(each) == "healthy", f"{each} after {name}", 180)  # type: ignore[misc]


def killed_producers_come_back() -> None:
    """What the exchange told nobody meanwhile is the ledger test's business (make chaos)."""
    for name in ("wallex-trades", "wallex-depth"):
        kill(name)
    before = count("trades")
    eventually(lambda: count("trades") > before, "more trades")


def waiting() -> int:
    lag = json.loads(run("docker", "exec", "trades-consumer-1", "radar", "lag", "--json"))
    return sum(row["lag"] for row in lag)


@contextmanager
def silence() -> Iterator[tuple[int, int]]:
    """Let the exchange pause; provide how many trades it has made and how many are stored."""
    simulator("quiesce")
    try:
        eventually(lambda: bool(simulator("ledger")["drained"]), "all is sent")
        made, stored = int(str(simulator("ledger")["trades_generated"])), -1

        def settled() -> bool:
            nonlocal stored
            before, stored = stored, count("trades")
            return before == stored and waiting() == 0

        eventually(settled, "all is stored")
        yield made, stored
    finally:
        simulator("resume")


def nothing_is_lost() -> None:
    """Kill all that stands between a producer and the tables; compare what came meanwhile."""
    with silence() as (made_before, stored_before):
        pass
    for name in ("trades-consumer-1", "clickhouse", "kafka"):
        kill(name)
    with silence() as (made, stored):
        pass
    made, stored = made - made_before, stored - stored_before
    say(f"    the exchange made {made:,} trades meanwhile, {stored:,} are stored")
    expect(made > 0 and stored == made, f"{made} made, {stored} stored")


def workers_scale() -> None:
    said = make("scale-trades", "N=5")
    expect("Only 3 of the 5 workers have something to do" in said, said)
    expect(health("trades-consumer-5") == "healthy", "the fifth worker")
    expect(
        inspect("trades-consumer-5", "{{.Config.Env}}").count("WORKER_ID=trades-consumer-5") == 1,
        "",
    )
    grown = make("kafka-create-topics", "GROW=1", "KAFKA_NUM_PARTITIONS=5")
    expect("grew radar_trades from 3 to 5 partitions" in grown, grown)
    make("scale-depth", "N=1")
    running = run("docker", "ps", "--format", "{{.Names}}").split()
    expect("depth-consumer-2" not in running, "the second depth worker is gone")
    make("scale-trades", "N=3")
    make("scale-depth", "N=2")
    running = run("docker", "ps", "--format", "{{.Names}}").split()
    expect("trades-consumer-4" not in running and "depth-consumer-2" in running, str(running))
    before = count("trades")
    eventually(lambda: count("trades") > before, "more trades", 180)


def stops_and_goes_on() -> None:
    before = count("trades")
    make("stop")
    for name in SERVICES:
        code = inspect(name, "{{.State.ExitCode}}")
        expect(code in {"0", "143"}, f"{name} ended with {code}")
    make("start")
    make("health")
    eventually(lambda: count("trades") > before, "more trades", 180)
    make("restart")
    make("health")


def reset_asks_and_deletes() -> None:
    before = count("trades")
    refused = subprocess.run(
        ["make", "clickhouse-reset"],
        cwd=ROOT,
        input="n\n",
        capture_output=True,
        text=True,
        check=False,
    )
    expect("nothing was done" in refused.stdout, refused.stdout)
    make("clickhouse-reset", "YES=1")
    expect(count("trades") < before, "the tables are new")
    eventually(lambda: count("trades") > 0, "trades again")


def prometheus_is_ready() -> None:
    run("docker", "compose", "--profile", "monitoring", "config", "--quiet", cwd=ROOT)
    compose = ("docker", "compose", "--profile", "monitoring", "up", "--detach", "--wait")
    run(*compose, "--no-deps", "prometheus", cwd=ROOT)
    expect(health("prometheus") == "healthy", "prometheus")


def overrides_are_valid() -> None:
    for name in ("simulate", "zookeeper"):
        files = ("--file", "docker-compose.yml", "--file", f"docker-compose.{name}.yml")
        run("docker", "compose", *files, "config", "--quiet", cwd=ROOT)
    run(
        "docker", "compose", "--file", "docker-compose.producers.yml", "config", "--quiet", cwd=ROOT
    )


def everything_is_removed() -> None:
    run(
        "docker",
        "compose",
        "--profile",
        "monitoring",
        *WITH_FILES,
        "down",
        "--volumes",
        "--remove-orphans",
        cwd=ROOT,
    )
    expect(not run("docker", "ps", "--all", "--quiet", "--filter", "network=dev-network"), "left")


WITH_FILES = ("--file", "docker-compose.yml", "--file", "docker-compose.simulate.yml")
STEPS = (
    *(overrides_are_valid, images_build, pipeline_starts, data_flows, targets_work),
    *(killed_producers_come_back, nothing_is_lost, workers_scale, stops_and_goes_on),
    *(prometheus_is_ready, reset_asks_and_deletes),
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
        if run("docker", "ps", "--all", "--quiet", "--filter", f"label={PROJECT}"):
            raise Failed("a stack of radar is on this engine already: make clean")
        if not options.official:
            make_standins(work)
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
            everything_is_removed()
    say(f"{passed} passed, {failed} failed")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
