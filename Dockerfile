# The server and command line on nothing but the C library: no shell, no package manager, not root.
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
ENV CARGO_PROFILE_RELEASE_LTO=thin CARGO_PROFILE_RELEASE_CODEGEN_UNITS=4
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    cargo build --release --locked --bin vramguard \
    && install -D target/release/vramguard /rootfs/usr/bin/vramguard
# The libraries that the loader would ask for, with the loader itself, wherever this architecture keeps them.
RUN ldd /rootfs/usr/bin/vramguard | grep --only-matching '/[^ ]*' | xargs --no-run-if-empty -I{} cp --dereference --parents {} /rootfs \
    && mkdir --parents /rootfs/etc /rootfs/tmp \
    && printf 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >/rootfs/etc/passwd \
    && printf 'nonroot:x:65532:\n' >/rootfs/etc/group \
    && cp --dereference --parents /etc/ssl/certs/ca-certificates.crt /rootfs

FROM scratch
LABEL org.opencontainers.image.title="vramguard" \
      org.opencontainers.image.description="Kubernetes admission hook and command line that know whether a model fits the GPU" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /rootfs/ /
USER 65532:65532
EXPOSE 8443 9090
ENTRYPOINT ["/usr/bin/vramguard"]
CMD ["serve"]
