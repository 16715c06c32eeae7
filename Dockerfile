# The command acorl on a CPU. CI does not build this image.
#   docker build -t acorl .
#   docker run --rm -v "$PWD:/work" acorl train hparams/acorl_ecapa.yaml
FROM python:3.11-slim

# --build-arg PIP_EXTRA_INDEX_URL=<PyTorch's index of CPU wheels, see its installation page> leaves
# out CUDA, some 3 GB.
ARG PIP_EXTRA_INDEX_URL
COPY . /src
RUN pip install --no-cache-dir "/src[kaldi,onnx]" && rm -r /src

# What is written belongs to whoever owns the mounted folder: docker run --user "$(id -u):$(id -g)".
ENV HOME=/tmp
WORKDIR /work
ENTRYPOINT ["acorl"]
CMD ["--help"]
