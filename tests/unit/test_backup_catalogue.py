"""Names, chains and the end of backups."""

from pathlib import Path

import pytest

from radar.backup import catalogue
from radar.backup.catalogue import Backup
from radar.errors import ConfigurationError
from radar.settings import backup_folder, load

DAY_S = 86_400


def backup(day: int, base: int | None = None) -> Backup:
    is_full = base is None
    name = catalogue.new_name(day * DAY_S, is_full=is_full)
    return Backup(name, day * DAY_S, "" if base is None else based(base))


def based(day: int) -> str:
    return FULL if day == 0 else catalogue.new_name(day * DAY_S, is_full=False)


FULL = catalogue.new_name(0, is_full=True)
WEEK = [backup(0), *(backup(day, day - 1) for day in range(1, 7))]


@pytest.mark.parametrize("is_full", [True, False])
def test_name_says_when_the_backup_began(is_full: bool) -> None:
    name = catalogue.new_name(1_800_000_000.7, is_full=is_full)
    assert catalogue.began_at_s(name) == 1_800_000_000


@pytest.mark.parametrize("name", ["", ".radar.lock", "radar-20260101T000000Z", "radar-99-full"])
def test_other_files_are_no_backups(name: str) -> None:
    assert catalogue.began_at_s(name) is None


def test_next_backup_is_based_on_the_newest_until_the_full_one_is_old() -> None:
    assert catalogue.base_of_next([], 0, 7 * DAY_S) == ""
    assert catalogue.base_of_next(WEEK, 6.9 * DAY_S, 7 * DAY_S) == WEEK[-1].name
    assert catalogue.base_of_next(WEEK, 7 * DAY_S, 7 * DAY_S) == ""
    assert catalogue.base_of_next(WEEK, 6.9 * DAY_S, 0) == ""
    # A base was deleted by hand: what is based on it is worth nothing.
    assert catalogue.base_of_next(WEEK[1:], 6.9 * DAY_S, 7 * DAY_S) == ""


def test_chain_leads_to_the_full_backup() -> None:
    assert catalogue.chain(WEEK, WEEK[-1].name) == WEEK[::-1]
    assert catalogue.chain(WEEK, FULL) == WEEK[:1]
    with pytest.raises(ConfigurationError, match="is missing: restore an older backup"):
        catalogue.chain([*WEEK[:2], *WEEK[3:]], WEEK[-1].name)
    with pytest.raises(ConfigurationError, match="no complete backup"):
        catalogue.chain(WEEK, "other")


def test_expired_backups_stay_while_a_newer_one_needs_them() -> None:
    second = [backup(7), backup(8, 7)]
    second[1] = second[1]._replace(base=second[0].name)
    both = [*WEEK, *second]
    # The week's last backup is six days old, so the whole week is needed.
    assert catalogue.expired(both, 12 * DAY_S, 6 * DAY_S) == []
    assert catalogue.expired(both, 12.1 * DAY_S, 6 * DAY_S) == WEEK
    # Nothing else makes a backup for a year: the newest stays, with its base.
    assert catalogue.expired(both, 400 * DAY_S, 6 * DAY_S) == WEEK
    assert catalogue.expired([], 0, 1) == []


def test_interrupted_backups_do_not_count(tmp_path: Path) -> None:
    assert catalogue.complete(tmp_path / "missing") == []
    for each in WEEK[:2]:
        (tmp_path / each.name / "data").mkdir(parents=True)
    (tmp_path / FULL / "data" / ".backup").write_text("<config></config>")
    assert catalogue.complete(tmp_path) == WEEK[:1]
    text = f"<config><base_backup>Disk('backups', '{FULL}/data')</base_backup></config>"
    (tmp_path / WEEK[1].name / "data" / ".backup").write_text(text)
    assert catalogue.complete(tmp_path) == WEEK[:2]


def test_folder_of_a_clickhouse_elsewhere_must_be_named(tmp_path: Path) -> None:
    assert backup_folder(load(radar_data_dir=tmp_path)) == tmp_path / "backups"
    elsewhere = {"clickhouse_host": "db.example", "radar_data_dir": tmp_path}
    with pytest.raises(ConfigurationError, match="set BACKUP_DIR"):
        backup_folder(load(**elsewhere))
    assert backup_folder(load(**elsewhere, backup_dir=tmp_path / "b")) == tmp_path / "b"
