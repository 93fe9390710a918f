# One image for every role; the targets differ in what they run when they are told nothing.
FROM python:3.11.15-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Without pip: nothing is installed any more at run time.
RUN python -m venv --without-pip /opt/radar
# Before the sources, so that a change of those does not fetch everything again.
COPY requirements-build.txt requirements-image.txt ./
RUN pip install --require-hashes --only-binary :all: --requirement requirements-build.txt \
    && pip --python /opt/radar/bin/python install \
        --require-hashes --only-binary :all: --requirement requirements-image.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/radar/bin/python install --no-deps dist/*.whl


FROM python:3.11.15-slim-bookworm AS radar

ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="radar" \
    org.opencontainers.image.description="Records cryptocurrency markets and never loses a message" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.licenses="MIT"
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin radar
COPY --from=build /opt/radar /opt/radar
ENV PATH=/opt/radar/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    METRICS_HOST=0.0.0.0 \
    METRICS_PORT=9100
USER 10001:10001
WORKDIR /home/radar
EXPOSE 9100
# Liveness: an orchestrator restarts what is not alive. A worker that waits for ClickHouse is alive.
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 CMD ["radar", "health", "--alive"]
ENTRYPOINT ["radar"]


FROM radar AS producer

CMD ["produce", "trades"]


FROM radar AS consumer

CMD ["consume", "trades"]


# What is built without a target: the command `radar`, which shows its help.
FROM radar
