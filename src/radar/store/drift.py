"""How a database differs from the schema of the migrations, and how to restore it."""

import math
import re
import time
from enum import StrEnum
from typing import NamedTuple

from radar.store import schema
from radar.store.client import Store
from radar.store.cluster import local

OTHER_DEFINITION = "not defined as radar defines it"
COMPARE_EVERY_S = 60.0  # of `KnownDifferences`, if no definition changes


class ObjectKind(StrEnum):
    """The kind of object that differs."""

    TABLE = "table"
    COLUMN = "column"
    CONSTRAINT = "constraint"
    TYPE = "type"
    VIEW = "view"


class Difference(NamedTuple):
    """One missing or different object.

    Attributes:
        kind: The kind of the object.
        table: The table or view.
        name: The column or constraint; empty for tables and views.
        detail: The different definition in the database.
        computed: Whether ClickHouse computes the column's values from others.
    """

    kind: ObjectKind
    table: str
    name: str = ""
    detail: str = ""
    computed: bool = False

    @property
    def text(self) -> str:
        """Name it: "table gaps is missing"."""
        if self.kind in (ObjectKind.TABLE, ObjectKind.VIEW):
            return f"{self.kind} {self.table} is {self.detail or 'missing'}"
        if self.kind is ObjectKind.TYPE:
            return f"column {self.name} of {self.table} is {self.detail}"
        return f"{self.kind} {self.name} of {self.table} is missing"

    @property
    def loss(self) -> str:
        """The data that was lost with it, and how to restore them; empty if none was."""
        if self.kind is ObjectKind.TABLE:
            return "its rows are lost as far as Kafka has deleted their messages"
        if self.kind is ObjectKind.COLUMN and not self.computed:
            return "its values in the rows until now are lost"
        return ""


class KnownDifferences:
    """The differences of one database, for a caller that asks every few seconds.

    A comparison takes a hundred milliseconds of processor time. So they are compared anew when a
    definition was changed, and every COMPARE_EVERY_S, because a changed list of migrations does not
    show in the definitions.
    """

    def __init__(self) -> None:
        self._mark: object = None
        self._known: list[Difference] = []
        self._compared_at_s = -math.inf

    def newest(self, store: Store) -> list[Difference]:
        """Return them; blocks.

        Raises:
            StoreUnavailable: The server does not answer.
            QueryFailed: The server refuses the query, as for a database that is missing.
        """
        # Times of changes have whole seconds: a second change may follow in the same one.
        ((mark, may_change),) = store.rows(
            "SELECT sum(cityHash64(name, uuid, metadata_modification_time)),"
            " max(metadata_modification_time) >= now() - 1"
            " FROM system.tables WHERE database = currentDatabase()"
        )
        now_s = time.monotonic()
        if may_change or mark != self._mark or now_s >= self._compared_at_s + COMPARE_EVERY_S:
            self._known = differences(store)
            self._mark, self._compared_at_s = mark, now_s
        return self._known


def differences(store: Store, wanted: schema.Schema | None = None) -> list[Difference]:
    """Compare the database with a schema; blocks. It needs only the right to read.

    Args:
        store: The database.
        wanted: The schema; the newest if not given.

    Raises:
        StoreUnavailable: The server does not answer.
        QueryFailed: The server refuses the query, as for a database that is missing.
    """
    wanted = wanted or schema.newest()
    found = {
        str(name): (str(engine), str(definition))
        for name, engine, definition in store.rows(
            "SELECT name, engine, create_table_query FROM system.tables"
            " WHERE database = currentDatabase()"
        )
    }
    columns: dict[tuple[str, str], tuple[str, str]] = {
        (str(table), str(name)): (re.sub(r"\s", "", str(kind)), str(default))
        for table, name, kind, default in store.rows(
            "SELECT table, name, type, default_kind FROM system.columns"
            " WHERE database = currentDatabase() AND table IN {tables:Array(String)}",
            {"tables": list(wanted.tables)},
        )
    }
    result = []
    for name, table in wanted.tables.items():
        if name not in found:
            result.append(Difference(ObjectKind.TABLE, name))
            continue
        for column, definition in table.columns.items():
            there = columns.get((name, column))
            if there is None:
                computed = bool(definition.default)
                result.append(Difference(ObjectKind.COLUMN, name, column, computed=computed))
            elif there != (definition.type, definition.default):
                detail = f"{' '.join(there).strip()}, not {definition.type} {definition.default}"
                result.append(Difference(ObjectKind.TYPE, name, column, detail.strip()))
        _, holder = found.get(local(name), found[name])
        constraints = set(re.findall(r"CONSTRAINT `?(\w+)`? CHECK", holder))
        result += [
            Difference(ObjectKind.CONSTRAINT, name, constraint)
            for constraint in table.constraints
            if constraint not in constraints
        ]
    for name in wanted.views:
        if name not in found:
            result.append(Difference(ObjectKind.VIEW, name))
        elif "View" not in found[name][0]:
            result.append(
                Difference(ObjectKind.VIEW, name, detail=f"a {found[name][0]}, not a view")
            )
    if "schema_migrations" in found and not _is_newer(store):
        views = {n: found[n][1] for n in wanted.views if "View" in found.get(n, ("",))[0]}
        result += [
            Difference(ObjectKind.VIEW, name, detail=OTHER_DEFINITION)
            for name in _redefined(store, wanted, views)
        ]
    return result


def _is_newer(store: Store) -> bool:
    """Return whether a newer radar migrated the database, which may define views anew; blocks."""
    ((version,),) = store.rows("SELECT max(version) FROM schema_migrations")
    return int(version) > schema.migrations()[-1].version


def _redefined(store: Store, wanted: schema.Schema, found: dict[str, str]) -> list[str]:
    """Return the views whose definition is not that of the migrations; blocks.

    Args:
        store: The database.
        wanted: The schema.
        found: Definitions of its views in the database, by name.
    """
    if not found:
        return []
    # The server stores its own wording of a definition, so it has to format ours as well.
    literals = [
        "'" + wanted.views[name].replace("\\", "\\\\").replace("'", "\\'") + "'" for name in found
    ]
    ((*rewritten,),) = store.rows(
        f"SELECT {', '.join(f'formatQuerySingleLineOrNull({each})' for each in literals)}"
    )
    return [
        name
        for (name, there), ours in zip(found.items(), rewritten, strict=True)
        if ours is not None and _bare(store, there) != _bare(store, str(ours))
    ]


def _bare(store: Store, definition: str) -> str:
    """Return a view's query without the parts that carry no meaning: database, quotes, spaces."""
    query = re.split(r"\bAS\s+(?=SELECT\b|WITH\b)", definition, maxsplit=1)[-1]
    return re.sub(r"[\s`()]", "", query.replace(f"{store.database}.", ""))


def repair(
    store: Store,
    found: list[Difference],
    wanted: schema.Schema | None = None,
    *,
    types: bool = False,
) -> list[Difference]:
    """Create missing objects again, and change different ones if requested; blocks.

    Without the request, existing objects stay as they are. Every statement can be repeated.

    Args:
        store: The database.
        found: Its differences from a schema.
        wanted: The schema; the newest if not given.
        types: Change the types of columns as well, which may fail at their values, and the
            definitions of views.

    Returns:
        The repaired differences, in this order.

    Raises:
        StoreUnavailable: The server does not answer.
        QueryFailed: The server refuses a statement.
    """
    wanted = wanted or schema.newest()
    # Views read columns, and constraints need them.
    order = list(ObjectKind)
    repaired = []
    for each in sorted(found, key=lambda each: order.index(each.kind)):
        table = wanted.tables.get(each.table, schema.TableDefinition())
        statements: list[str] = []
        match each.kind:
            case ObjectKind.TABLE:
                statements = table.statements
            case ObjectKind.COLUMN:
                statements = table.columns[each.name].statements
            case ObjectKind.CONSTRAINT:
                statements = [table.constraints[each.name]]
            case ObjectKind.TYPE if types:
                added, *changes = table.columns[each.name].statements
                statements = [added.replace("ADD COLUMN IF NOT EXISTS", "MODIFY COLUMN"), *changes]
            case ObjectKind.VIEW if not each.detail or (types and each.detail == OTHER_DEFINITION):
                statements = [wanted.views[each.table]]
        for statement in statements:
            store.command(statement)
        if statements:
            repaired.append(each)
    return repaired
