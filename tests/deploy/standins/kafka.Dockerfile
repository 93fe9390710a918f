# Apache Kafka's jars from Maven, with the start and the few tools that the compose files use.
FROM radar-standin/base
ARG LIBS
RUN useradd --uid 1000 --create-home appuser \
    && mkdir -p /var/lib/kafka/data /opt/kafka/config /opt/kafka/bin /etc/kafka/docker /mnt/shared/config \
    && chown -R appuser /var/lib/kafka /opt/kafka /etc/kafka
COPY ${LIBS} /opt/kafka/libs
COPY --chown=appuser kafka/config /etc/kafka/docker
COPY kafka/bin /opt/kafka/bin
USER appuser
VOLUME ["/var/lib/kafka/data"]
CMD ["/opt/kafka/bin/run"]
