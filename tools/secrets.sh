#!/usr/bin/env bash
# Fresh secrets of a house in a cluster, as files that only their owner may read: tokens and passwords are made here, and seen by
# nobody. What exists is not overwritten.
#   tools/secrets.sh FOLDER POSTGRES_URL_TAIL      e.g. .till/cluster postgres.world.svc.cluster.local:5432/till?sslmode=disable
# Environment: CHAIN_URL, XPUB, MAIL_API_KEY (what only you know; without them, a laptop's).
#
#   FOLDER/roles.sql       one role and one schema for each function, for PostgreSQL's owner
#   FOLDER/secrets.yaml    values of the chart with secrets.kind: plain
#   FOLDER/{function}.json one secret for each function, and bridge.json, as a store of External Secrets takes it
set -euo pipefail
folder=${1:?the folder}
tail=${2:?what follows the @ of a database URL}
# The account xpub of the well-known mnemonic "abandon … about": nobody's money.
laptop_xpub=xpub6DCoCpSuQZB2jawqnGMEPS63ePKWkwWPH4TU45Q7LPXWuNd8TMtVxRrgjtEshuqpK3mdhaWHPFsBngh5GFZaM6si3yZdUsT8ddYM3PwnATt

umask 077
mkdir -p "$folder"
if [ -e "$folder/secrets.yaml" ]; then
  echo "secrets.sh: $folder has secrets already; rotate them as docs/operate.md says" >&2
  exit 1
fi

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

own() { # function: its keys and values that no other has, one a line
  case $1 in
    mailer) printf 'mail-api-key %s\n' "${MAIL_API_KEY:-none}" ;;
    payment) printf 'chain-url %s\nxpub %s\n' "${CHAIN_URL:-http://chain.world.svc.cluster.local:8545}" "${XPUB:-$laptop_xpub}" ;;
  esac
}

yaml=$folder/secrets.yaml.part
printf 'secrets:\n  kind: plain\n  values:\n' >"$yaml"
: >"$folder/roles.sql"
for function in admin core cron mailer payment webhook; do
  password=$(random)
  printf "CREATE ROLE %s LOGIN PASSWORD '%s';\nCREATE SCHEMA %s AUTHORIZATION %s;\n" \
    "$function" "$password" "$function" "$function" >>"$folder/roles.sql"
  keys=$(
    printf 'bridge-token %s\npush-token %s\n' "$(random)" "$(random)"
    printf 'database-url postgres://%s:%s@%s\n' "$function" "$password" "$tail"
    own "$function"
  )
  { echo "    $function:"; sed -E 's/^([^ ]+) (.*)$/      \1: "\2"/' <<<"$keys"; } >>"$yaml"
  sed -E 's/^([^ ]+) (.*)$/  "\1": "\2"/' <<<"$keys" | sed '$!s/$/,/' | { echo '{'; cat; echo '}'; } >"$folder/$function.json"
done
api=$(random)
printf '    bridge:\n      api-token: "%s"\n' "$api" >>"$yaml"
printf '{\n  "api-token": "%s"\n}\n' "$api" >"$folder/bridge.json"
mv "$yaml" "$folder/secrets.yaml"
echo "$folder: roles.sql, secrets.yaml, and a .json for each function"
