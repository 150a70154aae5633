#!/usr/bin/env bash
# Runs every test, with a PostgreSQL and an Apache Kafka of one's own around them, and says at the end how many passed,
# failed and were skipped. A skip is a test whose outside part this machine lacks: told here, and a failure where CI=true.
#   tools/test.sh [ARGUMENTS OF cargo test]
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- --workspace

out=$PWD/target/test
mkdir -p "$out"
: >"$out/skipped"
export TILL_TEST_SKIPPED=$out/skipped

# Where the server's own user may go, whoever owns this checkout.
postgres=$(mktemp -d "${TMPDIR:-/tmp}/till-postgres.XXXXXX")

# A port that nobody listens on, nor on the next one, below those that the kernel gives out to clients.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port() {
  local port
  while port=$((20000 + RANDOM % 12000)); listens "$port" || listens $((port + 1)); do :; done
  echo "$port"
}

# Whether what a script starts is not on this machine (it ends with 3). Any other failure is ours, and ends the run.
lacking() {
  local status=0
  "$@" || status=$?
  case $status in 0) return 1 ;; 3) return 0 ;; *) echo "test: $1 failed" >&2; exit 1 ;; esac
}

start_postgres() {
  local port; port=$(port)
  if lacking tools/postgres.sh start "$postgres" "$port"; then
    echo "everything on PostgreSQL: not installed" >>"$out/skipped"
  else
    export TILL_TEST_POSTGRES=127.0.0.1:$port
  fi
}
start_kafka() {
  kafka_port=$(port)
  export KAFKA_DATA_DIR=$out/kafka KAFKA_OWNER=$$
  if lacking tools/kafka.sh start "$kafka_port"; then
    export TILL_TEST_KAFKA=none
    echo "everything on Apache Kafka: Java or Maven is not installed" >>"$out/skipped"
  else
    export TILL_TEST_KAFKA=127.0.0.1:$kafka_port
  fi
}
stop() {
  [ -z "${TILL_TEST_POSTGRES:-}" ] || tools/postgres.sh stop "$postgres" || true
  [ "${TILL_TEST_KAFKA:-none}" = none ] || tools/kafka.sh wipe "$kafka_port" || true
  rm -rf "$postgres"
}
trap stop EXIT
start_postgres
start_kafka

if [ "${CI:-}" = true ] && [ -s "$out/skipped" ]; then
  cat "$out/skipped" >&2
  echo "test: in CI nothing may be skipped" >&2
  exit 1
fi

status=0
RUST_BACKTRACE=${RUST_BACKTRACE:-0} cargo test --no-fail-fast "$@" 2>&1 | tee "$out/log" || status=$?

skipped=$(sort -u "$out/skipped" | sed '/^$/d')
if [ -n "$skipped" ]; then
  printf '\nSkipped, because this machine lacks an outside part:\n%s\n' "$(sed 's/^/  /' <<<"$skipped")"
fi
totals=$(awk -v skips="$(grep -cE '^[a-z0-9_]+: ' <<<"$skipped" || true)" '
  /^test result:/ { passed += $4; failed += $6; ignored += $8 }
  END { printf "%d passed, %d failed, %d skipped", passed - skips, failed, ignored + skips }' "$out/log")
printf '\n%s\n' "$totals"
exit "$status"
