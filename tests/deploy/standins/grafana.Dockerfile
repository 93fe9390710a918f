# No Grafana: what it needs of the compose file to start, and its answer to the health check.
FROM radar-standin/base
RUN mkdir -p /var/lib/grafana && chown 472:0 /var/lib/grafana
COPY grafana/server.py /opt/server.py
RUN printf '#!/bin/sh\nexec python3 /opt/server.py\n' > /run.sh && chmod 755 /run.sh
VOLUME ["/var/lib/grafana"]
EXPOSE 3000
ENTRYPOINT ["/run.sh"]
