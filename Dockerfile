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
    QD_ENVIRONMENT=production
WORKDIR /app
USER 10001

# The supervisor reaps its children, strangers too, so that no init is needed in front of it.
STOPSIGNAL SIGTERM
ENTRYPOINT ["qd"]
CMD ["worker"]

# Healthy: a worker process of this container reported itself to Redis in the last ten seconds.
# Only for workers; start anything else with --no-healthcheck. The supervisor replaces processes
# that hang or die by itself, so nobody needs to restart the container because of this.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["sh", "-c", "qd server ls --output plain | cut -f 1 | grep -Fqx \"$(hostname)\""]
