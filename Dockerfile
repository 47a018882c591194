# Nothing here needs BuildKit: Cloud Build's docker step, kaniko and other builders without it build this file too.
# Python 3.13: it has a ready wheel for everything in requirements.lock on amd64 and arm64, so that nothing but this program
# itself is compiled here, and it is what Debian 13 brings. Slim and not Alpine: those wheels and the figures in bench/ are for glibc. A build
# that wants an exact base says so: --build-arg BASE=python:3.13-slim@sha256:...
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
# For the hot modules, on whatever machine this is; like all that is of this stage, it stays behind.
RUN command -v gcc >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev; }
COPY requirements.lock requirements-build.lock ./
# What was not reviewed is not installed: every file has its hash in a lock. The environment gets no pip of its own; the
# base image's installs into it from outside and stays behind in this stage, as does the build backend.
RUN python -m venv --without-pip /opt/idtoken-proxy \
 && python -m pip --python /opt/idtoken-proxy install --no-cache-dir --no-compile --require-hashes --only-binary :all: -r requirements.lock
RUN python -m venv --without-pip /opt/build \
 && python -m pip --python /opt/build install --no-cache-dir --require-hashes --only-binary :all: -r requirements-build.lock
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY proxy ./proxy
# Bytecode that is never checked against its source: nothing is written, or looked up twice, at run time.
RUN IDTOKEN_PROXY_COMPILE=1 /opt/build/bin/python -m hatchling build -t wheel -d /opt/wheel \
 && python -m pip --python /opt/idtoken-proxy install --no-compile --no-index --no-deps /opt/wheel/*.whl \
 && /opt/idtoken-proxy/bin/python -m compileall -q -f --invalidation-mode unchecked-hash /opt/idtoken-proxy/lib

FROM ${BASE}
# The base image brings its standard library without bytecode, which each start and each probe would compile again. And
# what runs needs no pip.
RUN python -m compileall -q --invalidation-mode unchecked-hash \
      -x '/(ensurepip|idlelib|pydoc_data|site-packages|tkinter|turtledemo)/' /usr/local/lib/python3.* \
 && python -m pip uninstall --quiet --yes --root-user-action=ignore pip
COPY --from=build /opt/idtoken-proxy /opt/idtoken-proxy
ENV PATH=/opt/idtoken-proxy/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that Kubernetes' runAsNonRoot can check it.
USER 65532:65532
EXPOSE 8080
# Asks the admin listener where the configuration has it; no shell and no curl. `run`, in an image made from this one, has no
# admin listener of its own accord and would never be healthy: there `ENV IDTOKEN_PROXY_ADMIN=localhost:9090`, which both
# obey, or `HEALTHCHECK NONE`.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["idtoken-proxy", "probe", "readiness"]
ENTRYPOINT ["idtoken-proxy"]
CMD ["serve"]
