# docker build -t stremn --build-arg TORCH_INDEX=URL .
# docker run --rm --user "$(id -u)" -v "$PWD:/videos" stremn segment video.mp4 --masks first.png --out result
FROM python:3.11-slim AS build
# URL of an index with builds of torch without CUDA, which is most of its size; PyTorch's page of installation names one.
ARG TORCH_INDEX
WORKDIR /src
COPY constraints.txt ./
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch torchvision
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /venv/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.11-slim
COPY --from=build /venv /venv
# Whoever it runs as, --user included, may write here.
ENV PATH=/venv/bin:$PATH HOME=/tmp
WORKDIR /videos
USER 65534:65534
ENTRYPOINT ["stremn"]
CMD ["--help"]
