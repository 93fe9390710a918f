# Debian's Alertmanager where the official image has a newer one.
FROM radar-standin/base
RUN mkdir /alertmanager && chown 65534:65534 /alertmanager
VOLUME ["/alertmanager"]
ENTRYPOINT ["/usr/bin/prometheus-alertmanager"]
