# The service alone: locked wheels and three packages. Build: docker build -t sluice .
# Runs as uid 65532 on a read-only root file system; it writes to /state (a volume) and /tmp.
FROM python:3.13-slim AS wheels
COPY requirements.lock /
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --no-deps --only-binary :all: --require-hashes -r /requirements.lock

FROM python:3.13-slim
COPY --from=wheels /venv /venv
WORKDIR /app
COPY LICENSE ./
COPY receivers receivers
COPY providers providers
COPY service service
RUN /venv/bin/python -m compileall -q service receivers providers \
    && printf '#!/bin/sh\nexec /venv/bin/python -P -m service "$@"\n' > /usr/local/bin/sluice && chmod 755 /usr/local/bin/sluice \
    && mkdir /state && chown 65532:65532 /state
# -P keeps the working folder off the path; the packages are found here alone.
ENV PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp \
    SLUICE_STATE=/state SLUICE_LISTEN=:9292 SLUICE_PROBES=:8080 SLUICE_CLUSTER=:9090
USER 65532:65532
VOLUME /state
EXPOSE 9292 8080 9090
ENTRYPOINT ["sluice"]
CMD ["serve"]
