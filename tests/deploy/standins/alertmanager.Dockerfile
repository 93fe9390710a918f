# Debian's Alertmanager (0.25), which does not know secrets in files, where the official image has a
# newer one.
FROM radar-standin/base
COPY alertmanager/start /start
RUN chmod 755 /start && mkdir /alertmanager && chown 65534:65534 /alertmanager
VOLUME ["/alertmanager"]
ENTRYPOINT ["/start"]
