#!/usr/bin/env bash
# The development chain (anvil) from the npm registry into a folder: prints the path of the program.
#   tools/anvil.sh [FOLDER]     default .till/tools
set -euo pipefail
version=1.7.1
folder=${1:-.till/tools}

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) package=@foundry-rs/anvil-linux-amd64 ;;
  Linux-aarch64) package=@foundry-rs/anvil-linux-arm64 ;;
  Darwin-arm64) package=@foundry-rs/anvil-darwin-arm64 ;;
  Darwin-x86_64) package=@foundry-rs/anvil-darwin-amd64 ;;
  *) echo "anvil: there is no build for $(uname -s) $(uname -m)" >&2; exit 1 ;;
esac
program=$folder/node_modules/$package/bin/anvil

if [ ! -x "$program" ] || ! "$program" --version | grep -qF "$version"; then
  command -v npm >/dev/null || { echo "anvil: npm is missing; install Node.js 18 or later (Debian: apt-get install npm)" >&2; exit 1; }
  mkdir -p "$folder"
  npm install --prefix "$folder" --no-audit --no-fund --no-save --loglevel=error "$package@$version" >&2
fi
echo "$program"
