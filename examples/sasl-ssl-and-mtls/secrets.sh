#!/usr/bin/env bash
# Lays secrets out as a cluster mounts them: a folder for each Secret, a file for each key.
set -euo pipefail
cd "$(dirname "$0")"
broker=.till/kafka/9092/tls  # where tools/kafka.sh keeps the authority of its broker

# What the broker wants: one Secret serves a source's `net` and a KafkaSink's `auth`.
mkdir -p secrets/kafka secrets/bridge
printf SASL_SSL >secrets/kafka/protocol
printf SCRAM-SHA-512 >secrets/kafka/sasl.mechanism
printf till >secrets/kafka/user
printf till-secret >secrets/kafka/password
cp "$broker/ca.pem" secrets/kafka/ca.crt

# What the endpoint wants: an authority, its own certificate, and ours.
quietly() { "$@" 2>/dev/null; }
quietly openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=example-authority -keyout ca.key -out ca.crt
sign() { # name, folder
  quietly openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$2/tls.key" -out "$2/tls.csr"
  printf 'subjectAltName=DNS:%s\n' "$1" >"$2/names"
  quietly openssl x509 -req -in "$2/tls.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile "$2/names" -out "$2/tls.crt"
}
mkdir -p sink
sign localhost sink
sign bridge secrets/bridge
echo "secrets are laid out"
