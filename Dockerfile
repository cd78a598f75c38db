# qd in a container. Your image builds on this one:
#
#   FROM qd
#   COPY --chown=qd . /app
#   ENV QD_APP=shop.tasks QD_REDIS__ADDRS=redis://redis:6379
#
# Stop it with 10 s more than worker.shutdown_timeout: docker run --stop-timeout 20, or
# stop_grace_period in compose. It needs no capabilities and writes nothing outside /tmp:
# --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges.

FROM python:3.11-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/qd \
 && /opt/qd/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin qd \
 && install -d -o qd -g qd /app
COPY --from=build /opt/qd /opt/qd
ENV PATH=/opt/qd/bin:$PATH \
    QD_ENVIRONMENT=production \
    QD_MONITOR__ADDRESS=127.0.0.1:9180
WORKDIR /app
USER 10001

# The supervisor reaps its children, strangers too, so that no init is needed in front of it.
STOPSIGNAL SIGTERM
ENTRYPOINT ["qd"]
CMD ["worker"]

# Healthy also while Redis is away: a restart would not bring it back. Only for `worker` and
# `scheduler`; start anything else with --no-healthcheck.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9180/healthz', timeout=4)"]
