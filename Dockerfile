# docker build -t stremn .
# docker run --rm --user "$(id -u)" -v "$PWD:/work" stremn segment video.mp4 --masks first.png --out result
FROM python:3.11-slim AS build
# Builds of torch without CUDA, which is most of its size.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY constraints.txt ./
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt --index-url "$TORCH_INDEX" torch torchvision
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /venv/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.11-slim
COPY --from=build /venv /venv
# Whoever it runs as, --user included, may write here.
ENV PATH=/venv/bin:$PATH HOME=/tmp
WORKDIR /work
USER 65534:65534
ENTRYPOINT ["stremn"]
CMD ["--help"]
