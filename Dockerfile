# PlugFn's image: one static program, the roots of trust, no shell.
# `make image` makes the same without a container engine (deploy/image); a test
# keeps the two alike.
ARG GO_VERSION=1.26

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-bookworm AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-X main.version=$VERSION" -o /out/usr/local/bin/plugfn ./cmd/plugfn
RUN mkdir -p /out/etc /out/tmp /out/usr/share/doc/plugfn \
 && chmod 1777 /out/tmp \
 && cp LICENSE /out/usr/share/doc/plugfn/ \
 && echo 'root:x:0:0:root:/:/sbin/nologin' > /out/etc/passwd \
 && echo 'plugfn:x:65532:65532:plugfn:/var/lib/plugfn:/sbin/nologin' >> /out/etc/passwd \
 && printf 'root:x:0:\nplugfn:x:65532:\n' > /out/etc/group \
 && mkdir -m 0700 /store

FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="PlugFn" \
      org.opencontainers.image.description="Act in your users' accounts and hear what happens there, over one message bus" \
      org.opencontainers.image.source="https://github.com/plugfn/plugfn" \
      org.opencontainers.image.documentation="https://github.com/plugfn/plugfn/blob/main/docs/operations.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="PlugFn" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out /
COPY --from=build --chown=65532:65532 /store /var/lib/plugfn
ENV PATH=/usr/local/bin \
    PLUGFN_DATA_DIR=/var/lib/plugfn \
    PLUGFN_HTTP_ADDR=:8484
WORKDIR /var/lib/plugfn
VOLUME ["/var/lib/plugfn"]
EXPOSE 8484/tcp
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/local/bin/plugfn", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/plugfn"]
CMD ["serve"]
