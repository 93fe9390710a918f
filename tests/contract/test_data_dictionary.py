"""The data dictionary: complete, correct, and the page that is made of it."""

from pathlib import Path

from data_dictionary import columns, page
from radar.store import dictionary
from radar.store.client import Store
from radar.store.queries import reading as queries

PAGE = Path(__file__).parents[2] / "docs" / "data-dictionary.md"


def described(store: Store) -> dict[str, list[str]]:
    """Return the columns of every table and view of the database."""
    return {
        str(name): [column for column, _ in columns(store, str(name), str(kind))]
        for name, kind in store.rows(queries.RELATIONS)
    }


def test_every_table_view_and_column_has_a_meaning_and_no_meaning_is_left_over(
    store: Store,
) -> None:
    found = described(store)
    assert dictionary.RELATIONS.keys() == found.keys()
    unknown = [
        f"{name}.{column}"
        for name, names in found.items()
        for column in names
        if dictionary.column(name, column) is None
    ]
    assert unknown == []
    left_over = [
        f"{name}.{column}"
        for name, relation in dictionary.RELATIONS.items()
        for column in relation.columns
        if column not in found[name]
    ]
    assert left_over == []
    used = {column for names in found.values() for column in names}
    assert dictionary.COLUMNS.keys() - used == set()


def test_every_description_is_whole(store: Store) -> None:
    assert {each.group for each in dictionary.RELATIONS.values()} == set(dictionary.GROUPS)
    for name, names in described(store).items():
        for column in names:
            found = dictionary.column(name, column)
            assert found is not None
            assert found.meaning, (name, column)
            assert found.example or column == "deleted", (name, column)


def test_every_parameter_of_a_view_is_in_its_example(store: Store) -> None:
    rows = store.rows(
        "SELECT name, arrayMap(each -> each.1, parameterized_view_parameters) FROM system.tables"
        " WHERE database = currentDatabase()"
    )
    for name, names in rows:
        relation = dictionary.RELATIONS[str(name)]
        assert set(names) == set(dictionary.parameters(str(name))) == set(relation.arguments), name


def test_page_is_that_of_the_database(store: Store) -> None:
    assert PAGE.read_text() == page(store), "run make generated"
