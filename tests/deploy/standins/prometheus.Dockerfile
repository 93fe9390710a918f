# Debian's Prometheus (2.42) where the official image has a newer one.
FROM radar-standin/base
COPY prometheus/promtool /usr/local/bin/promtool
RUN mkdir /prometheus && chown 65534:65534 /prometheus
VOLUME ["/prometheus"]
ENTRYPOINT ["/usr/bin/prometheus"]
