# The image of Offshoot, for those who build with a registry at hand: docker build -t offshoot .
# `make image` makes the same contents without one, by the same script, and tests them; no test builds this file.

FROM rust:1-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --bin offshoot

FROM debian:bookworm-slim AS root
RUN apt-get update && apt-get install -y --no-install-recommends e2fsprogs xfsprogs btrfs-progs
COPY scripts/image-root.sh /
COPY --from=build /source/target/release/offshoot /offshoot
RUN /image-root.sh /offshoot /root-of-image

# The driver, the tools that make, check and grow filesystems, and their libraries: no shell, no package manager.
FROM scratch
COPY --from=root /root-of-image /
# The node's pod runs as root and says so itself.
USER 65532:65532
ENTRYPOINT ["/usr/bin/offshoot"]
