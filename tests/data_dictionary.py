"""The page docs/data-dictionary.md: every table, view and column of a migrated database.

Types and nullability come from the database, the other columns from `radar.store.dictionary`.

Run `python tests/data_dictionary.py > docs/data-dictionary.md`.
"""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from embedded_clickhouse import running
from radar.settings import load
from radar.store import dictionary
from radar.store.client import Store
from radar.store.migrate import migrate
from radar.store.queries import reading as queries

HEAD = """# Data dictionary

Every table and view of radar with its columns. `radar shell` shows the same: `\\d` lists the tables
and views, `\\d NAME` describes one. [queries.md](queries.md) explains the views, and
[recipes.md](recipes.md) has longer examples.

- Read views. A table whose row says so needs `FINAL`, because deliveries collapse later.
- Give all parameters of a view by name, as in its example.
- Times are UTC. `Decimal(38, 18)` is exact; where arithmetic overflows, use `toFloat64(price)`.
- Each side of a book is recorded at most once in `DEPTH_INTERVAL_SECONDS` (7).
- Rows stay for `RETENTION_DAYS` (90) after their receipt, frames for `FRAMES_RETENTION_DAYS`.
- "null" says whether a value may be missing.

`make generated` writes this page from a migrated database and `src/radar/store/dictionary.py`.
"""


def columns(store: Store, name: str, kind: str) -> list[tuple[str, str]]:
    """Return the columns of a table or view: name and type."""
    sql = queries.table_columns(name)
    if kind == "view":
        sql = queries.columns(dictionary.call(name))
    return [(str(row[0]), str(row[1])) for row in store.rows(sql)]


def page(store: Store) -> str:
    """Return the page."""
    return "\n".join(_lines(store)) + "\n"


def _lines(store: Store) -> Iterator[str]:
    kinds = {str(name): str(kind) for name, kind in store.rows(queries.RELATIONS)}
    yield HEAD.rstrip()
    for group in dictionary.GROUPS:
        yield ""
        yield f"## {group}"
        for name, relation in dictionary.RELATIONS.items():
            if relation.group == group and name in kinds:
                yield from _relation(store, name, kinds[name])


def _relation(store: Store, name: str, kind: str) -> Iterator[str]:
    relation = dictionary.RELATIONS[name]
    yield ""
    yield f"### {name}"
    yield ""
    yield f"A {kind}. One row is {relation.row}."
    if given := dictionary.parameters(name):
        yield ""
        yield "| parameter | type |"
        yield "|---|---|"
        for each, type_ in given.items():
            yield f"| `{each}` | `{type_}` |"
        yield ""
        yield "```sql"
        yield dictionary.example(name)
        yield "```"
    yield ""
    yield "| column | type | null | unit | meaning | example |"
    yield "|---|---|---|---|---|---|"
    for column, type_ in columns(store, name, kind):
        found = dictionary.column(name, column) or dictionary.Column("")
        null = "yes" if "Nullable(" in type_ else "no"
        example = f"`{found.example}`" if found.example else ""
        cells = f"`{column}`", f"`{_short(type_)}`", null, found.unit, found.meaning, example
        yield f"| {' | '.join(cells)} |"


def _short(type_: str) -> str:
    plain = type_.replace("LowCardinality(String)", "String")
    if plain.startswith("Nullable("):
        plain = plain.removeprefix("Nullable(").removesuffix(")")
    return plain.replace("|", "\\|")


def main() -> None:
    with TemporaryDirectory() as folder, running(Path(folder) / "clickhouse") as server:
        settings = load(clickhouse_port=server.port, clickhouse_host="127.0.0.1")
        with closing(Store(settings)) as store:
            migrate(store, settings.retention_days)
            sys.stdout.write(page(store))


if __name__ == "__main__":
    main()
