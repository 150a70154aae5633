#!/usr/bin/env bash
# NestJS and KafkaJS from the npm registry into a folder, as bridge/tests/nest/package-lock.json pins them: prints the folder
# that holds node_modules. Ends with 3 where Node.js is missing.
#   tools/nest.sh [FOLDER]     default target/nest
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-target/nest}
from=bridge/tests/nest

need() { command -v "$1" >/dev/null || { echo "nest.sh: $1 is missing; install Node.js 20 or later (Debian: apt-get install npm)" >&2; exit 3; }; }
need node
need npm
if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
  echo "nest.sh: Node.js 20 or later is needed, and this is $(node --version)" >&2
  exit 3
fi

mkdir -p "$folder"
# npm loses its way where a part of the path is a symbolic link.
folder=$(cd "$folder" && pwd -P)
# Two test runs may begin at once: the second waits, and finds the packages.
exec 9>"$folder/lock"
flock 9
if ! cmp -s "$from/package-lock.json" "$folder/complete"; then
  cp "$from/package.json" "$from/package-lock.json" "$folder/"
  npm ci --prefix "$folder" --no-audit --no-fund --loglevel=error >&2
  cp "$folder/package-lock.json" "$folder/complete"
fi
echo "$folder"
