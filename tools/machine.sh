#!/usr/bin/env bash
# Looks whether this machine can build Till, tells everything that is missing in one message, and installs the Rust
# toolchain that rust-toolchain.toml names: by itself, because rustup's automatic installation may be switched off.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
need() { command -v "$1" >/dev/null || missing+=("  $1: $2"); }
need cc "a C compiler (Debian: apt-get install build-essential; macOS: xcode-select --install)"
need make "GNU make (Debian: apt-get install build-essential)"
need perl "(Debian: apt-get install perl)"
need npm "Node.js 18 or later, for the development chain (Debian: apt-get install npm)"
need rustup "Rust's installer (https://rustup.rs)"
if [ ${#missing[@]} -gt 0 ]; then
  printf 'This machine lacks:\n%s\n' "$(printf '%s\n' "${missing[@]}")" >&2
  exit 1
fi
command -v curl >/dev/null || echo "curl is not here: the commands to try by hand use it (Debian: apt-get install curl)" >&2

value() { sed -nE "s/^$1 *= *(.*)/\1/p" rust-toolchain.toml | tr -d '[]",'; }
channel=$(value channel)
read -ra components <<<"$(value components)"
read -ra targets <<<"$(value targets)"

complete() {
  rustup run "$channel" rustc --version >/dev/null 2>&1 || return 1
  local installed=" $(rustup component list --toolchain "$channel" --installed | tr '\n' ' ')"
  for component in "${components[@]}" "${targets[@]/#/rust-std-}"; do
    [[ $installed == *" $component"* ]] || return 1
  done
}
if ! complete; then
  echo "installing Rust $channel with ${components[*]} and ${targets[*]}" >&2
  rustup toolchain install "$channel" --profile minimal --no-self-update \
    $(printf -- '--component %s ' "${components[@]}") $(printf -- '--target %s ' "${targets[@]}") >&2
fi
