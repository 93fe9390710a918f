# Debian's node exporter where the official image has a newer one.
FROM radar-standin/base
ENTRYPOINT ["/usr/bin/prometheus-node-exporter"]
