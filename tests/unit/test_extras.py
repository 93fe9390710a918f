"""A command that needs a missing extra of the package names it in one line."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from radar.cli import failures

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
# Where a module's name is not its package's name.
PACKAGES = {"chdb": "chdb-core"}


@pytest.mark.parametrize(
    ("module", "extra", "command"),
    [
        ("chdb", "local", ("up", "--simulate", "--duration", "1")),
        ("setproctitle", "local", ("up", "--simulate", "--duration", "1")),
        ("starlette", "dashboard", ("dashboard",)),
        ("apprise", "alerts", ("alerts", "run")),
        ("prompt_toolkit", "terminal", ("shell",)),
        ("pyarrow", "notebook", ("export", "--format", "nautilus")),
        ("boto3", "s3", ("export", "trades", "--folder", "s3://bucket/prefix")),
    ],
)
def test_missing_extra_is_a_configuration_error_with_its_remedy(
    tmp_path: Path, module: str, extra: str, command: tuple[str, ...]
) -> None:
    program = (
        f"import sys; sys.modules[{module!r}] = None; sys.argv[1:] = {list(command)!r}\n"
        "from radar.cli import required_services\n"
        "required_services.silences = lambda *_, **__: []\n"
        "from radar.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    remedy = f'radar: {module} is not installed: in radar\'s folder, run pip install ".[{extra}]"\n'
    assert (done.returncode, done.stderr) == (2, remedy)


def test_other_missing_modules_stay_defects() -> None:
    def fail(*, standalone_mode: bool) -> None:
        assert not standalone_mode
        raise ModuleNotFoundError("No module named 'mistake'", name="mistake")

    with pytest.raises(ModuleNotFoundError):
        failures.run(fail, [])


def test_extras_hold_the_modules_that_commands_miss() -> None:
    for extra, modules in failures._EXTRAS.items():
        wanted = PROJECT["optional-dependencies"][extra]
        for other in ("alerts", "dashboard"):
            if f"{PROJECT['name']}[{other}]" in wanted:
                wanted = wanted + PROJECT["optional-dependencies"][other]
        packages = {text.partition(">=")[0] for text in wanted if "[" not in text}
        assert packages == {PACKAGES.get(name, name.replace("_", "-")) for name in modules}
