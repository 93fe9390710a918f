"""The wheel as a stranger installs it: into an empty environment, away from the sources."""

import re
import sys
from pathlib import Path

import pytest

from installed import run, without_index
from ports import free_port
from radar import __version__

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.embedded_kafka("about the wheel")
@pytest.mark.timeout(900)
def test_wheel_in_an_empty_environment_runs_a_whole_pipeline(tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip")
    options = ("--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path)
    run(*pip, "wheel", "--quiet", *options, ROOT, folder=tmp_path)
    (wheel,) = tmp_path.glob("radar-*.whl")
    assert wheel.name == f"radar-{__version__}-py3-none-any.whl"

    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", environment, folder=tmp_path)
    install = (environment / "bin" / "pip", "install", "--quiet", "--no-compile")
    locked = ROOT / "requirements.txt"
    try:
        run(*install, "--require-hashes", "--requirement", locked, folder=tmp_path)
    except AssertionError as error:
        if without_index(error):
            pytest.skip("pip reaches no package index, and its cache lacks a locked package")
        raise
    run(*install, "--no-deps", wheel, folder=tmp_path)

    radar = environment / "bin" / "radar"
    assert run(radar, "--version", folder=tmp_path).startswith(f"radar {__version__} (schema ")
    addresses = {
        "RADAR_DATA_DIR": str(tmp_path / "data"),
        "KAFKA_BROKER": f"127.0.0.1:{free_port()}",
        "CLICKHOUSE_PORT": str(free_port()),
        "DASHBOARD_PORT": str(free_port()),
    }
    simulated = ("up", "--simulate", "--duration", "15")
    summary = run(radar, *simulated, folder=tmp_path, environment=addresses)
    assert re.search(r"lost 0, duplicates 0$", summary, re.MULTILINE), summary
    assert "everything that was produced is stored" in summary
