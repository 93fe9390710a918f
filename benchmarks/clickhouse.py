"""The embedded ClickHouse of a run: radar's own, which here may also use the engine Kafka.

radar's server lets no statement reach an address. The contender that is such an engine needs that.
"""

import re
import sys

from chdb_server import config, sandbox, statement
from chdb_server.__main__ import main


def allow_kafka() -> None:
    """Let tables have the engine Kafka, for all statements of this process.

    The server has no option for that, on purpose.
    """
    own = statement._OWN_TABLE_ENGINES  # noqa: SLF001
    statement._OWN_TABLE_ENGINES = re.compile(b"(?:%b)|Kafka" % own.pattern)  # noqa: SLF001
    sandbox.enter = lambda *_: None
    config._GRANTS = ("TABLE ENGINE ON Kafka", *config._GRANTS)  # type: ignore[assignment]  # noqa: SLF001


if __name__ == "__main__":
    allow_kafka()
    sys.exit(main(sys.argv[1:]))
