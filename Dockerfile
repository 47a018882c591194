# syntax=docker/dockerfile:1
# Built from the hash lock: what was not reviewed is not installed.
FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/idtoken-proxy \
 && /opt/idtoken-proxy/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY proxy ./proxy
# The build backend comes in an environment of its own and stays behind in this stage.
RUN /opt/idtoken-proxy/bin/pip install --no-cache-dir --no-deps . \
 && /opt/idtoken-proxy/bin/python -m compileall -q /opt/idtoken-proxy/lib

FROM python:3.13-slim
COPY --from=build /opt/idtoken-proxy /opt/idtoken-proxy
ENV PATH=/opt/idtoken-proxy/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that Kubernetes' runAsNonRoot can check it.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["idtoken-proxy"]
CMD ["serve"]
