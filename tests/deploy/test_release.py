"""The files of a release: complete, the same from two builds, and running a released image."""

import importlib.util
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart import HELM, KUBERNETES, needs_helm, pods
from radar import __version__

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "release.py"
IMAGE = "registry.example/team/radar"
DIGEST = "sha256:" + "0123456789abcdef" * 4
EPOCH_S = 1_790_000_000
_spec = importlib.util.spec_from_file_location("release", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
release = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(release)

needs_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git repository")


class Loader(yaml.SafeLoader):
    """Knows what compose adds to YAML."""


def _override(loader: Loader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


Loader.add_constructor("!override", _override)
Loader.add_constructor("!reset", lambda _loader, _node: None)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a copy of the files that the release takes, without what lies beside them."""
    folder = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    for name in release.STACK:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for path in ROOT.glob("docker-compose*.yml"):
        shutil.copy(path, folder)
    unwanted = shutil.ignore_patterns("__pycache__", "secrets", "*.new")
    shutil.copytree(ROOT / "src", folder / "src", ignore=unwanted)
    shutil.copytree(ROOT / "deploy", folder / "deploy", ignore=unwanted)
    return folder


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    release.packages(sources, folder, EPOCH_S)
    (found,) = folder.glob("*.whl")
    return found


def test_two_builds_in_different_folders_have_the_same_bytes(
    sources: Path, wheel: Path, tmp_path: Path
) -> None:
    other = tmp_path / "a folder of another name"
    shutil.copytree(sources, other)
    for path in other.rglob("*"):
        os.utime(path, (1, 1_000_000_000))
        if path.is_file():
            path.chmod(path.stat().st_mode | 0o022)
    for folder, given in ((tmp_path / "first", sources), (tmp_path / "second", other)):
        folder.mkdir()
        release.packages(given, folder, EPOCH_S)
        stack = release.stack_files(given, IMAGE, __version__)
        release.write_archive(folder / "compose.tar.gz", "radar", stack, EPOCH_S)
        chart = release.chart_files(given, IMAGE, __version__)
        release.write_archive(folder / "chart.tgz", "radar", chart, EPOCH_S)
    first = release.checksums(tmp_path / "first")
    assert len(first.splitlines()) == 4
    assert first == release.checksums(tmp_path / "second")
    assert wheel.read_bytes() == (tmp_path / "first" / wheel.name).read_bytes()


def test_wheel_has_the_metadata_that_installers_read(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        (name,) = (each for each in files.namelist() if each.endswith("/METADATA"))
        about = HeaderParser().parsestr(files.read(name).decode())
        points = files.read(name.replace("METADATA", "entry_points.txt")).decode()
        names = set(files.namelist())
    assert (about["Name"], about["Version"]) == ("radar", __version__)
    assert about["Requires-Python"] == ">=3.11"
    assert (about["License-Expression"], about["License-File"]) == ("MIT", "LICENSE")
    assert about["Description-Content-Type"] == "text/markdown"
    assert set(about.get_all("Provides-Extra", [])) >= {
        "local",
        "dashboard",
        "terminal",
        "notebook",
    }
    tried = set(re.findall(r'"(3\.\d+)"', workflow_matrix()))
    prefix = "Programming Language :: Python :: "
    classifiers = about.get_all("Classifier", [])
    assert {
        each.removeprefix(prefix) for each in classifiers if each.startswith(f"{prefix}3.")
    } == tried
    assert "Typing :: Typed" in classifiers
    assert "radar = radar.cli.main:main" in points
    assert "radar/py.typed" in names
    assert "radar/store/migrations/0020_baseline.sql" in names
    assert not any(each.startswith("tests/") for each in names)


def workflow_matrix() -> str:
    text = (ROOT / ".github/workflows/ci.yml").read_text()
    (found,) = re.findall(r"python-version: (\[.*\])", text)
    return str(found)


def services(folder: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((folder / name).read_text(), Loader)
    return dict(loaded.get("services", {}))


def unpacked(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return folder / "radar"


@pytest.fixture
def stack(sources: Path, tmp_path: Path) -> Path:
    """Provide the unpacked compose files of a release."""
    files = release.stack_files(sources, IMAGE, __version__, DIGEST)
    release.write_archive(tmp_path / "compose.tar.gz", "radar", files, EPOCH_S)
    return unpacked(tmp_path / "compose.tar.gz", tmp_path / "unpacked")


def test_released_compose_files_run_the_released_image_and_build_none(stack: Path) -> None:
    wanted = f"${{RADAR_IMAGE:-{IMAGE}}}:${{RADAR_VERSION:-{__version__}@{DIGEST}}}"
    own = []
    for path in stack.glob("docker-compose*.yml"):
        here = services(ROOT, path.name)
        there = services(stack, path.name)
        assert here.keys() == there.keys()
        for name, service in there.items():
            assert "build" not in service
            if "build" in here[name]:
                own.append(name)
                assert service["image"] == wanted
            else:
                assert service == here[name]
    assert {"wallex-trades", "trades-consumer-1", "migrations", "dashboard", "exchange"} <= {*own}


def test_released_folder_has_the_files_that_the_compose_files_mount(stack: Path) -> None:
    for path in stack.glob("docker-compose*.yml"):
        for service in services(stack, path.name).values():
            for volume in service.get("volumes", []):
                source = str(volume).partition(":")[0]
                if source.startswith("./"):
                    assert (stack / source).exists(), volume
    assert os.access(stack / "deploy/version.sh", os.X_OK)
    assert os.access(stack / "scripts/secrets.sh", os.X_OK)
    assert not (stack / "deploy/secrets").exists()
    listed = subprocess.run(["make", "help"], cwd=stack, capture_output=True, text=True, check=True)
    targets = set(re.findall(r"^  ([a-z-]+) ", listed.stdout, re.MULTILINE))
    assert {"start-pipeline", "update", "rollback", "use"} <= targets
    assert not {"build", "setup", "lint"} & targets


def test_released_versions_follow_each_other_and_go_back(stack: Path) -> None:
    def make(*arguments: str) -> str:
        done = subprocess.run(
            ["make", *arguments], cwd=stack, capture_output=True, text=True, check=True
        )
        return done.stdout

    def version() -> str:
        (line,) = re.findall(r"^RADAR_VERSION=(.*)$", (stack / ".env").read_text(), re.MULTILINE)
        return str(line)

    make("use")
    assert version() == f"{__version__}@{DIGEST}"
    make("use", "VERSION=9.9.9")
    assert version() == "9.9.9"
    previous = subprocess.run(
        ["deploy/version.sh", "previous"], cwd=stack, capture_output=True, text=True, check=True
    )
    assert previous.stdout.strip() == f"{__version__}@{DIGEST}"


@pytest.mark.parametrize("digest", ["sha256:1", "latest", f"{DIGEST}0", "sha256:" + "g" * 64])
def test_digest_that_is_none_is_refused(digest: str, sources: Path) -> None:
    with pytest.raises(release.ReleaseError, match="is no digest"):
        release.stack_files(sources, IMAGE, __version__, digest)


@needs_helm
def test_released_chart_runs_the_released_image(sources: Path, tmp_path: Path) -> None:
    path = tmp_path / f"radar-chart-{__version__}.tgz"
    chart = release.chart_files(sources, IMAGE, __version__, DIGEST)
    release.write_archive(path, "radar", chart, EPOCH_S)
    done = subprocess.run(
        [str(HELM), "template", "rec", str(path), f"--kube-version={KUBERNETES}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = [each for each in yaml.safe_load_all(done.stdout) if each]
    images = {each["image"] for _, pod in pods(found) for each in pod["containers"]}
    assert images == {f"{IMAGE}:{__version__}@{DIGEST}"}


def test_bill_of_materials_names_no_package_index() -> None:
    reference = {"type": "distribution", "url": "https://index.example/simple/a/", "hashes": ["h"]}
    component = {"name": "a", "purl": "pkg:pypi/a@1", "externalReferences": [dict(reference)]}
    tools = {"components": [{"name": "t", "externalReferences": [dict(reference)]}]}
    about = {"component": {"name": "radar"}, "tools": tools}
    given = {"metadata": about, "components": [component]}
    found = release.without_index(given, "1.2.3")
    assert "index.example" not in str(found)
    assert found["components"][0]["externalReferences"][0]["hashes"] == ["h"]
    assert found["metadata"]["component"]["version"] == "1.2.3"


def test_notes_are_those_of_the_version_or_of_the_unreleased_changes() -> None:
    text = "# Changelog\n\n## Unreleased\n\n- new\n\n## 0.1.0 - 2026-01-01\n\n- old\n"
    assert "- old" in release.notes(text, "0.1.0")
    assert "- new" not in release.notes(text, "0.1.0")
    assert "- new" in release.notes(text, "0.2.0")
    with pytest.raises(release.ReleaseError):
        release.notes("# Changelog\n", "0.2.0")


@needs_git
def test_release_is_made_of_the_commit_alone(tmp_path: Path) -> None:
    epoch_s = release.export(tmp_path / "exported")
    assert epoch_s > EPOCH_S - 10**9
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    exported = set(release_tree(tmp_path / "exported"))
    assert exported <= set(listed.stdout.splitlines())
    assert "pyproject.toml" in exported


def release_tree(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
