#!/usr/bin/env bash
# A PostgreSQL server of one's own in a folder, for tests: no service, no password, only 127.0.0.1.
#   tools/postgres.sh start FOLDER PORT   creates the cluster when the folder is empty; returns when it answers
#   tools/postgres.sh stop FOLDER
# The superuser is `till`. initdb refuses root, so root runs it as `postgres`, or as `nobody` where there is none.
set -euo pipefail
command=${1:?start or stop}
folder=${2:?the folder of the cluster}

bin=$(dirname "$(command -v pg_ctl || ls -d /usr/lib/postgresql/*/bin/pg_ctl 2>/dev/null | sort -V | tail -n 1)")
[ -x "$bin/initdb" ] || { echo "postgres: not installed (Debian: apt-get install postgresql)" >&2; exit 3; }

as_owner() {
  if [ "$(id -u)" = 0 ]; then runuser -u "$owner" -- "$@"; else "$@"; fi
}
owner=$(id -un)
if [ "$(id -u)" = 0 ]; then
  owner=nobody
  if id postgres >/dev/null 2>&1; then owner=postgres; fi
fi

case $command in
start)
  port=${3:?the port}
  mkdir -p "$folder"
  if [ "$(id -u)" = 0 ]; then chown "$owner" "$folder"; fi
  cd "$folder"
  if [ ! -s "$folder/data/PG_VERSION" ]; then
    as_owner "$bin/initdb" -D "$folder/data" -U till -A trust -E UTF8 --locale=C --no-sync >/dev/null
  fi
  as_owner "$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -w -t 60 \
    -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=200 -c shared_buffers=32MB" \
    start >/dev/null || { tail -n 20 "$folder/log" >&2; exit 1; }
  ;;
stop)
  cd "$folder"
  as_owner "$bin/pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null
  ;;
*) echo "postgres: start or stop, not $command" >&2; exit 64 ;;
esac
