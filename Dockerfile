# The bridge as a small image: built in one stage, run as a user without rights in the other.
# docker build -t tradingview-bridge . && docker run -v bridge-data:/srv/bridge/data -p 127.0.0.1:8000:8000 tradingview-bridge
# (it binds 0.0.0.0 inside the container and so wants an operator password; see compose.yaml)

FROM python:3.12-slim-bookworm AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/bridge
WORKDIR /src
# The dependencies come first and alone: a change of our code does not install them again.
COPY requirements.runtime.lock ./
RUN /opt/bridge/bin/pip install --require-hashes --only-binary :all: -r requirements.runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY config ./config
COPY templates ./templates
COPY bridge ./bridge
RUN /opt/bridge/bin/pip install --no-deps . \
 && /opt/bridge/bin/pip uninstall --yes pip

FROM python:3.12-slim-bookworm
RUN groupadd --gid 10001 bridge \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /srv/bridge --shell /usr/sbin/nologin bridge
ENV PATH=/opt/bridge/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=builder /opt/bridge /opt/bridge
# Settings name config/ and data/ relative to the working directory. The volume is made after its folder has its owner,
# so that a fresh one belongs to the bridge.
WORKDIR /srv/bridge
COPY config ./config
RUN install -d -o bridge -g bridge -m 0700 data
USER 10001:10001
VOLUME /srv/bridge/data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["bridge", "serve", "--host", "0.0.0.0", "--port", "8000"]
