# clipaudit on a processor:
#   docker build -t clipaudit .
#   docker run --rm --network none -v "$PWD/images:/images:ro" clipaudit score /images …
# Weights and features are kept where -v clipaudit-cache:/home/clipaudit/.cache says; the first use
# of an encoder needs a network.
FROM python:3.12-slim

RUN pip install --no-cache-dir uv
COPY . /src
# torch without CUDA, which is a tenth of the size.
RUN uv pip install --system --no-cache --torch-backend cpu "/src[crawl,pandas,train]" && rm -r /src

RUN useradd --create-home clipaudit
USER clipaudit
WORKDIR /home/clipaudit
ENV HF_HUB_DISABLE_TELEMETRY=1
ENTRYPOINT ["clipaudit"]
CMD ["--help"]
