# shop-auth-proxy in a small image: Python, the locked dependencies and the package.
#
#   docker build -t shop-auth-proxy .
#   docker run --read-only --tmpfs /tmp --cap-drop ALL -v ./config:/etc/shop-auth-proxy:ro shop-auth-proxy
#
# With environment variables alone (SHOP_AUTH_PROXY_SHOP and so on), nothing needs to be mounted: see README.md.
#
# For reproducible builds, pin the base image by its digest (`docker buildx imagetools inspect python:3.11-slim` shows it):
#   docker build --build-arg BASE=python:3.11-slim@sha256:… .
# 3.11 is the oldest version that is supported.
ARG BASE=python:3.11-slim

# hadolint ignore=DL3006
FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# Dependencies before the source: this layer is cached until a lock changes. The build backend stays in this stage, and the
# environment that is shipped has no pip.
COPY requirements.lock requirements-build.lock ./
RUN pip install --require-hashes -r requirements-build.lock \
    && python -m venv --without-pip /opt/shop-auth-proxy \
    && pip --python /opt/shop-auth-proxy/bin/python install --no-compile --require-hashes -r requirements.lock

# Bytecode is compiled here, since the root may be read-only later; it is never checked against the source's timestamp, since
# image tools change timestamps.
COPY pyproject.toml LICENSE ./
COPY proxy proxy
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && pip --python /opt/shop-auth-proxy/bin/python install --no-compile --no-deps --no-index /dist/*.whl \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/shop-auth-proxy/lib

# hadolint ignore=DL3006
FROM ${BASE}
ENV PATH="/opt/shop-auth-proxy/bin:${PATH}" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/shop-auth-proxy /opt/shop-auth-proxy
# By number, so that Kubernetes' runAsNonRoot can tell that it isn't root; no such user needs to exist.
USER 10001:10001
# The proxy looks for config.toml here, unless SHOP_AUTH_PROXY_SHOP is set. Large request bodies are kept in /tmp: with a
# read-only root, mount something there.
WORKDIR /etc/shop-auth-proxy
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# No HEALTHCHECK: Kubernetes ignores it, and the admin port may differ. deploy/compose.yaml has one.
ENTRYPOINT ["shop-auth-proxy"]
CMD ["serve"]
