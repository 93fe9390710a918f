# ClickHouse's engine from its wheel behind HTTP, with the users of the configuration in front.
FROM python:3.11.15-slim-bookworm
# Debian may have given 101 away already.
RUN groupadd --non-unique --gid 101 clickhouse \
    && useradd --non-unique --uid 101 --gid 101 --create-home clickhouse \
    && mkdir -p /var/lib/clickhouse /var/log/clickhouse-server \
    && chown 101:101 /var/lib/clickhouse /var/log/clickhouse-server
COPY requirements.txt /tmp/
RUN python -m venv /opt/engine && /opt/engine/bin/pip install --quiet --no-cache-dir \
    --require-hashes --requirement /tmp/requirements.txt
COPY radar /opt/engine/lib/python3.11/site-packages/radar
COPY clickhouse/server.py clickhouse/client.py /opt/
RUN printf '#!/bin/sh\nexec /opt/engine/bin/python /opt/server.py "$@"\n' > /entrypoint.sh \
    && printf '#!/bin/sh\nexec /opt/engine/bin/python /opt/client.py "$@"\n' > /usr/bin/clickhouse-client \
    && chmod 755 /entrypoint.sh /usr/bin/clickhouse-client
VOLUME ["/var/lib/clickhouse"]
ENTRYPOINT ["/entrypoint.sh"]
