# The server, the command line and the load generator, for the CPU.
#
#   docker build --tag longhaul .
#   docker run --rm --read-only --stop-timeout 40 --publish 127.0.0.1:50051:50051 --volume "$PWD/models:/models:ro" \
#     longhaul --model FILE.gguf --metrics-listen 0.0.0.0:9464
#
# Nothing is compiled for the machine that builds: the server picks AVX-512, AVX2 or portable code when it starts.

FROM debian:bookworm-slim AS builder
WORKDIR /src
COPY deploy/common.sh deploy/install_dependencies.sh deploy/
RUN deploy/install_dependencies.sh
# .dockerignore lets only what is compiled through.
COPY . .
ARG JOBS
RUN cmake --preset release -DLONGHAUL_BUILD_TESTS=OFF \
 && cmake --build --preset release --parallel "${JOBS:-$(nproc)}" \
 && find build/release -type f -executable -name 'longhaul*' -exec install --strip -D --target-directory=/out '{}' +

FROM debian:bookworm-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Longhaul" \
      org.opencontainers.image.description="A gRPC server for language models on long texts" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN apt-get update \
 && apt-get install --yes --no-install-recommends \
      libabsl20220623 libfmt9 libgrpc29 libgrpc++1.51 libhwy1 libjemalloc2 libmicrohttpd12 libnghttp2-14 \
      libpcre2-8-0 libprotobuf32 libspdlog1.10 libssl3 \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
COPY LICENSE /usr/share/doc/longhaul/copyright
COPY --from=builder /out/ /usr/local/bin/
# A library that is missing above ends the build, not the first start.
RUN for program in /usr/local/bin/longhaul*; do "$program" --help >/dev/null || exit 1; done

# Models are mounted here; --model FILE.gguf is found without its folder.
WORKDIR /models
USER 65532:65532
# A variable and not a flag of the entry point, so that --listen on the command line still has the last word.
ENV LONGHAUL_LISTEN=0.0.0.0:50051
EXPOSE 50051 9464
# Unhealthy before the model is loaded, which may take its time, and while the server drains.
HEALTHCHECK --interval=10s --timeout=10s --start-period=30m CMD ["longhaul", "info", "--timeout", "9"]
ENTRYPOINT ["longhaul-server"]
