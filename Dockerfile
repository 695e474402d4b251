# raylike for Kubernetes: one image for the head, the workers and the job that is submitted.
#
#   uv lock && docker build -t REGISTRY/raylike:0.1.0 .
#
# Most of its size is torch's wheel, which brings CUDA's libraries: the GPU pods need no other image.

FROM python:3.11-slim-bookworm AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /bin/
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /app
# The packages first: they change less often than the code, and are then taken from the cache.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN --mount=type=cache,target=/root/.cache/uv uv sync --locked --no-dev --no-install-project
COPY actors actors
COPY cli cli
COPY raylike raylike
RUN --mount=type=cache,target=/root/.cache/uv uv sync --locked --no-dev --no-editable

FROM python:3.11-slim-bookworm
# KubeRay asks its pods for their health with wget.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home ray
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH RAY_USAGE_STATS_ENABLED=0
USER 1000:1000
WORKDIR /home/ray
CMD ["raylike", "--help"]
