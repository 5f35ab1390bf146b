# SPDX-License-Identifier: Apache-2.0
# The image of O3 Sidecar: one program and exactly the libraries that it needs, for amd64 and arm64.
#
#   docker build -t o3-sidecar .
#   docker run --read-only -v o3:/var/lib/o3 -e O3_OLLAMA_URL=http://HOST:11434 -p 21434:21434 o3-sidecar
ARG BASE=debian:bookworm-slim
FROM ${BASE} AS build
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        autoconf automake build-essential ca-certificates cmake libcurl4-gnutls-dev libcrypt-dev libgnutls28-dev libjansson-dev \
        libmicrohttpd-dev libsqlite3-dev libtool libyaml-dev nettle-dev ninja-build pkg-config zlib1g-dev
WORKDIR /o3
COPY src/package/libcurl.sh src/package/libcurl.sh
RUN src/package/libcurl.sh /o3/build/libcurl
COPY . .
ARG REVISION=unknown
RUN cmake --preset release -DO3_TESTS=OFF -DO3_REVISION=${REVISION} && cmake --build --preset release
RUN src/package/assemble.sh build/release/o3 build/libcurl /rootfs

FROM scratch
ARG REVISION=unknown
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="O3 Sidecar" \
    org.opencontainers.image.description="Probes the Ollama server beside it, tells when it changed, and keeps its presets true" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=build /rootfs /
ENV STATE_DIRECTORY=/var/lib/o3
WORKDIR /var/lib/o3
VOLUME /var/lib/o3
USER 65532:65532
EXPOSE 21434
STOPSIGNAL SIGTERM
# Bounded by itself: it gives up after 4 seconds.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=3 CMD ["/usr/bin/o3", "healthcheck"]
ENTRYPOINT ["/usr/bin/o3"]
CMD ["serve"]
