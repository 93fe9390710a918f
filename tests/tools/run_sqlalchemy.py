"""Read with SQLAlchemy's dialect of clickhouse-connect, as Superset does; prints facts as JSON.

Arguments: the URL, then statements.
"""

import json
import sys
from typing import Any

import sqlalchemy

engine = sqlalchemy.create_engine(sys.argv[1])
inspector = sqlalchemy.inspect(engine)
answers: list[Any] = []
found = {
    "tables": sorted({*inspector.get_table_names(), *inspector.get_view_names()}),
    "columns": {each["name"]: str(each["type"]) for each in inspector.get_columns("trades")},
    "answers": answers,
}
with engine.connect() as connection:
    for statement in sys.argv[2:]:
        try:
            rows = connection.execute(sqlalchemy.text(statement)).fetchall()
            answers.append([[str(value) for value in row] for row in rows])
        except sqlalchemy.exc.DBAPIError as error:
            answers.append(str(error.orig))
print(json.dumps(found))
