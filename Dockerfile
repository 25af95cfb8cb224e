# The image of sampan: of its gateway (charts/gateway) and of its other parts that run alone.
#
#   docker build -t sampan:0.2.0 .      or      sampan image build -t sampan:0.2.0 .
#
# Python with a shared libpython, which Envoy loads for plugins (the official images have one); glibc 2.28 or newer.
ARG BASE=docker.io/library/python:3.13-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml README.md requirements.lock ./
RUN python3 -m venv /opt/sampan
COPY src src
# the locked versions, with their hashes, of what sampan needs (the lock has those of its development, too)
RUN /opt/sampan/bin/pip install --no-cache-dir --quiet hatchling \
 && /opt/sampan/bin/pip wheel --no-cache-dir --quiet --no-deps --no-build-isolation -w /wheel . \
 && /opt/sampan/bin/pip uninstall --quiet --yes hatchling pathspec pluggy trove-classifiers \
 && sed 's/ *--hash=[^ ]*//; s/ \\$//' requirements.lock | grep -v '^ *#' | grep -v '^ *$' > /constraints \
 && /opt/sampan/bin/pip install --no-cache-dir --quiet -c /constraints "$(echo /wheel/*.whl)[kafka]"

FROM ${BASE}
# git: plugins from Git directories
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/sampan /opt/sampan
ENV PATH=/opt/sampan/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["sampan"]
