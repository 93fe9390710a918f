"""Build the files of a release from the newest commit: `make release`.

    python scripts/release.py FOLDER [--image NAME] [--digest sha256:…]

Every file follows from the commit alone: two builds have the same bytes. The folder gets the wheel,
the sdist, the Helm chart, the compose files that run a released image, bills of materials, the
release notes and SHA256SUMS.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# What runs the compose stack, besides the files of Docker's and of the project's root.
STACK = ("LICENSE", "DEPLOYMENT.md", "QUICKSTART.md", "env.example", "scripts/secrets.sh")
STACK_PATTERNS = ("docker-compose*.yml", "deploy/**/*")
NOT_STACK = ("deploy/helm/", "deploy/systemd/")
CHART = "deploy/helm/radar"
# Bill of materials: the lock file, and what it is of.
LOCKS = {"sbom": "requirements.txt", "image-sbom": "requirements-image.txt"}
_IMAGE = re.compile(r"\$\{RADAR_IMAGE:-[a-z-]+\}:\$\{RADAR_VERSION:-[^}]+\}")
_CHART_IMAGE = re.compile(r'^(  repository: )radar\n(  tag: )"".*\n', re.MULTILINE)
_BUILD = re.compile(r"^ *build: \{[^}]*\}\n", re.MULTILINE)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_VERSION = re.compile(r'^__version__ = "(.*)"$', re.MULTILINE)

MAKEFILE = """\
# radar {version} as containers: make start-pipeline. DEPLOYMENT.md explains it; `make help` lists
# the targets.
.DEFAULT_GOAL := help
VENV := .venv

include deploy/compose.mk
"""


class ReleaseError(Exception):
    """The release cannot be built; the message says why."""


def main() -> None:
    """Build a release; ends with code 1 and a sentence if that is impossible."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--image", default="radar", help="the repository of the released image")
    parser.add_argument("--only-bills", action="store_true", help="only the bills of materials")
    parser.add_argument("--digest", default="", help="the digest of the released image")
    given = parser.parse_args()
    try:
        if given.only_bills:
            bills(ROOT, given.folder)
        else:
            release(given.folder, given.image, given.digest)
    except ReleaseError as error:
        sys.exit(f"release: {error}")


def release(folder: Path, image: str, digest: str) -> None:
    """Write all files of a release of the newest commit into a folder."""
    if _git("status", "--porcelain", "--untracked-files=no"):
        raise ReleaseError("commit your changes first: a release is made of a commit")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ReleaseError(f"{folder} is not empty: name another folder")
    with tempfile.TemporaryDirectory() as directory:
        sources = Path(directory) / "radar"
        epoch_s = export(sources)
        version = version_of(sources)
        packages(sources, folder, epoch_s)
        stack = stack_files(sources, image, version, digest)
        write_archive(folder / f"radar-{version}-compose.tar.gz", "radar", stack, epoch_s)
        chart = chart_files(sources, image, version, digest)
        write_archive(folder / f"radar-chart-{version}.tgz", "radar", chart, epoch_s)
        bills(sources, folder)
        (folder / "RELEASE_NOTES.md").write_text(
            notes((sources / "CHANGELOG.md").read_text(), version)
        )
    (folder / "SHA256SUMS").write_text(checksums(folder))


def export(folder: Path) -> int:
    """Write the files of the newest commit into a new folder; return its time in seconds."""
    folder.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", "--format=tar", "HEAD"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return int(_git("log", "-1", "--format=%ct"))


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ReleaseError(done.stderr.strip())
    return done.stdout.strip()


def version_of(sources: Path) -> str:
    """Return the version that the sources name."""
    found = _VERSION.search((sources / "src/radar/__init__.py").read_text())
    if found is None:
        raise ReleaseError("src/radar/__init__.py names no version")
    return found[1]


def packages(sources: Path, folder: Path, epoch_s: int) -> None:
    """Build the sdist and the wheel."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(epoch_s)}
    for target in ("sdist", "wheel"):
        done = subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "--target", target,
             "--directory", str(folder.resolve())],
            cwd=sources, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise ReleaseError(done.stdout + done.stderr)


def image_tag(version: str, digest: str) -> str:
    """Return the tag of a released image, with its digest if that is given."""
    if digest and not _DIGEST.fullmatch(digest):
        raise ReleaseError(f"{digest} is no digest: sha256: and 64 digits")
    return f"{version}@{digest}" if digest else version


def stack_files(
    sources: Path, image: str, version: str, digest: str = ""
) -> dict[str, Path | bytes]:
    """Return the files that run the stack with a released image, by their names.

    RADAR_IMAGE and RADAR_VERSION name another image. The files build none.
    """
    tag = image_tag(version, digest)
    paths = [sources / name for name in STACK]
    paths += [path for pattern in STACK_PATTERNS for path in sources.glob(pattern)]
    found: dict[str, Path | bytes] = {}
    for path in paths:
        name = path.relative_to(sources).as_posix()
        if path.is_file() and not name.startswith(NOT_STACK):
            found[name] = path
            if name.startswith("docker-compose"):
                text = _BUILD.sub("", path.read_text())
                text = _IMAGE.sub(f"${{RADAR_IMAGE:-{image}}}:${{RADAR_VERSION:-{tag}}}", text)
                found[name] = text.encode()
    found["Makefile"] = MAKEFILE.format(version=version).encode()
    found["RELEASE"] = f"{tag}\n".encode()  # `make use` reads it
    return found


def chart_files(
    sources: Path, image: str, version: str, digest: str = ""
) -> dict[str, Path | bytes]:
    """Return the files of the Helm chart, whose default image is the released one."""
    folder = sources / CHART
    found: dict[str, Path | bytes] = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    text, changed = _CHART_IMAGE.subn(
        rf'\g<1>{image}\n\g<2>"{image_tag(version, digest)}"\n',
        (folder / "values.yaml").read_text(),
    )
    if changed != 1:
        raise ReleaseError("values.yaml of the chart names no image")
    found["values.yaml"] = text.encode()
    return found


def write_archive(path: Path, top: str, files: Mapping[str, Path | bytes], epoch_s: int) -> None:
    """Write a .tar.gz whose bytes depend on names, contents and the time of the commit alone."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, source in sorted(files.items()):
            content = source if isinstance(source, bytes) else source.read_bytes()
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mtime = len(content), epoch_s
            runs = not isinstance(source, bytes) and source.stat().st_mode & 0o100
            entry.mode = 0o755 if runs else 0o644
            archive.addfile(entry, io.BytesIO(content))
    path.write_bytes(gzip.compress(packed.getvalue(), mtime=epoch_s))


def bills(sources: Path, folder: Path) -> None:
    """Write the bills of materials of the lock files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    version = version_of(sources)
    for name, lock in LOCKS.items():
        path = folder / f"radar-{version}-{name}.cdx.json"
        path.write_text(bill_of_materials(sources, lock, version))


def bill_of_materials(sources: Path, lock: str, version: str) -> str:
    """Return a CycloneDX document of the packages in a lock file, with their hashes."""
    done = subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", "requirements", str(sources / lock),
         "--pyproject", str(sources / "pyproject.toml"), "--mc-type", "application",
         "--output-reproducible", "--output-format", "JSON"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ReleaseError(done.stderr)
    return json.dumps(without_index(json.loads(done.stdout), version), indent=2) + "\n"


def without_index(bill: dict[str, Any], version: str) -> dict[str, Any]:
    """Return a bill of materials that names no package index, and the version of radar.

    The tool writes the hashes of a package beside the address of its index. The address becomes the
    package's own URL (purl); which index serves it is the installer's choice.
    """
    bill["metadata"]["component"]["version"] = version
    for component in bill["components"]:
        component.pop("description", None)  # the line of the lock file again
        for reference in component.get("externalReferences", []):
            if reference["type"] == "distribution":
                reference["url"] = component["purl"]
                reference.pop("comment", None)
    for tool in bill["metadata"].get("tools", {}).get("components", []):
        tool.pop("externalReferences", None)
    return bill


def notes(changelog: str, version: str) -> str:
    """Return what the changelog says of a version; of an unreleased one: what is new since."""
    parts = re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]
    sections = {part.split()[0].strip("[]"): part.partition("\n")[2].strip() for part in parts}
    text = sections.get(version) or sections.get("Unreleased", "")
    if not text:
        raise ReleaseError(f"CHANGELOG.md says nothing of {version}")
    return f"# radar {version}\n\nUpgrade and rollback: docs/upgrading.md.\n\n{text}\n"


def checksums(folder: Path) -> str:
    """Return the content of SHA256SUMS: `sha256sum --check SHA256SUMS` compares."""
    paths = (path for path in folder.iterdir() if path.name != "SHA256SUMS")
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(paths)
    )


if __name__ == "__main__":
    main()
