#!/usr/bin/env bash
# Builds the images till-host and till-bridge, without a daemon where buildah is installed. Ends with 3 where this machine lacks
# what builds images.
#   tools/images.sh [release|dev]     release for a cluster; dev takes the programs of `make build`, for tests
# In target/images/PROFILE lie the root file systems, and till-host.tar and till-bridge.tar, as `kind load image-archive` takes them.
# Environment: REGISTRY (dev.local), TAG (the chart's appVersion), IMAGE_STORE (a folder for images; the builder's usual place),
# LAYOUT_ONLY=1 (the root file systems, and no images: nothing that builds images is needed).
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${1:-release}
LAYOUT_ONLY=${LAYOUT_ONLY:-}
registry=${REGISTRY:-dev.local}
tag=${TAG:-$(sed -nE 's/^appVersion: *"?([^"]*)"?/\1/p' knative/till/Chart.yaml)}
target=${CARGO_TARGET_DIR:-target}
layout=$target/images/$profile
# What a node pulls, in bytes, as registries count: compressed. Of release images; those of tests are not optimised.
pulled_max=25000000

lacks() { echo "images.sh: $1" >&2; exit 3; }
[ "$(uname -s)" = Linux ] || lacks "the images hold Linux programs, built where they are built: run it on Linux"
command -v strip >/dev/null || lacks "strip is not installed (Debian: apt-get install binutils)"
builder=""
for program in buildah podman docker; do
  if command -v "$program" >/dev/null; then builder=$program; break; fi
done
[ -n "$builder$LAYOUT_ONLY" ] || lacks "neither buildah, podman nor docker is installed (Debian: apt-get install buildah podman runc)"
storage=()
if [ "$builder" != docker ] && [ -n "${IMAGE_STORE:-}" ]; then
  storage=(--storage-driver vfs --root "$IMAGE_STORE/root" --runroot "$IMAGE_STORE/run")
fi

# The programs, and one that has a compiler for the functions. A cluster's host needs none: they are compiled here.
programs() {
  if [ "$profile" = dev ]; then
    folder=$target/debug
    [ -x "$folder/till-host" ] && [ -x "$folder/till-bridge" ] || { echo "images.sh: make build comes first" >&2; exit 1; }
    cp "$folder/till-host" "$folder/till-bridge" "$layout/"
    "$folder/till-host" compile --out "$layout/host/till/components" >/dev/null
    return
  fi
  cargo components
  cargo build --release --workspace --bin till-host --bin till-bridge
  "$target/release/till-host" compile --out "$layout/host/till/components" >/dev/null
  cp "$target/release/till-bridge" "$layout/"
  cargo build --release -p host --no-default-features --bin till-host
  cp "$target/release/till-host" "$layout/"
}

# A program and every library that it is linked with, each where the program looks for it.
install_program() { # image
  local root=$layout/$1 library
  strip -o "$root/till/till-$1" "$layout/till-$1"
  rm "$layout/till-$1"
  for library in $(ldd "$root/till/till-$1" | grep -oE '/[^ ]+'); do
    install -D -m 755 "$library" "$root$library"
  done
  # Names in /etc/hosts before those of DNS, whatever glibc's own default is.
  mkdir -p "$root/etc"
  echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
}

lay_out() {
  rm -rf "$layout/host" "$layout/bridge"
  mkdir -p "$layout/host/till/components" "$layout/bridge/till"
  programs
  install_program host
  install_program bridge
  cp spin.toml "$layout/host/till/"
  # As in the chart's ConfigMap: no function has a database on a disk. For who runs the image without the chart.
  sed -E -e 's/^type = "spin"/type = "none"/' -e '/^path = /d' -e '/^#/d' runtime-config.toml >"$layout/host/till/runtime-config.toml"
  chmod -R u=rwX,go=rX "$layout"
}

build() { # image
  local name=$registry/till-$1:$tag archive=$layout/till-$1.tar
  "$builder" ${storage[@]+"${storage[@]}"} build --file knative/Containerfile --target "$1" --tag "$name" "$layout" >"$layout/$1.log" 2>&1 ||
    { cat "$layout/$1.log" >&2; exit 1; }
  archive "$name" "$archive"
  local size pulled
  size=$(du -s --apparent-size --block-size=1 "$layout/$1" | cut -f1)
  pulled=$(tar -C "$layout/$1" -c . | gzip | wc -c)
  printf '%s: %d.%d MB to pull, %d.%d MB on the node\n' "$name" \
    $((pulled / 1000000)) $((pulled / 100000 % 10)) $((size / 1000000)) $((size / 100000 % 10))
  if [ "$profile" = release ] && [ "$pulled" -gt "$pulled_max" ]; then
    echo "images.sh: till-$1 is above $((pulled_max / 1000000)) MB" >&2
    exit 1
  fi
}

archive() { # name, file
  rm -f "$2"
  case $builder in
    buildah) buildah ${storage[@]+"${storage[@]}"} push "$1" "docker-archive:$2:$1" >/dev/null 2>&1 ;;
    podman) podman ${storage[@]+"${storage[@]}"} save --output "$2" "$1" >/dev/null 2>&1 ;;
    docker) docker save --output "$2" "$1" ;;
  esac
}

lay_out
[ -z "$LAYOUT_ONLY" ] || exit 0
build host
build bridge
