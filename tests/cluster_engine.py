"""An embedded ClickHouse with a cluster of one shard: `python tests/cluster_engine.py FOLDER`.

It reads statements from standard input as a list in JSON, runs them one after the other, and writes
the answers as a list. The only server of the cluster is this process, so a Distributed table
reaches its shard without a network.
"""

import json
import sys
from pathlib import Path

from chdb_server import config
from chdb_server.engine import Engine

CLUSTER = "cluster"


def main(folder: Path) -> None:
    file = config.prepare(folder / "data")
    shard = (
        "<shard><internal_replication>true</internal_replication><replica><host>127.0.0.1</host>"
        "<port>9000</port></replica></shard>"
    )
    # The port makes the shard local. Nothing listens there.
    servers = f"<remote_servers><{CLUSTER}>{shard}</{CLUSTER}></remote_servers>"
    macros = "<macros><shard>1</shard><replica>a</replica></macros>"
    added = f"<tcp_port>9000</tcp_port>{servers}{macros}"
    file.write_text(file.read_text().replace("</clickhouse>", f"{added}</clickhouse>"))
    users = file.with_name("users.xml")
    # The embedded server's user has no right to other servers.
    granted = "<grants><query>GRANT TABLE ENGINE ON Distributed</query>"
    granted += "<query>GRANT READ, WRITE ON REMOTE</query>"
    users.write_text(users.read_text().replace("<grants>", granted))
    engine = Engine(folder / "data", file)
    answers = []
    for statement in json.load(sys.stdin):
        with engine.handle() as handle:
            handle.prepare(statement["settings"], statement["database"])
            answer, _ = handle.query(statement["sql"].encode(), "TSV")
            answers.append(answer.decode())
    json.dump(answers, sys.stdout)
    engine.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
