#!/usr/bin/env bash
# A real Apache Kafka (KRaft) on 127.0.0.1 for tests and `make up KAFKA=…`, without containers: Java 17 and Maven are all it
# needs. The jars are fetched once.
#
#   tools/kafka.sh start  PORT [BROKERS]   one broker, or three at PORT, PORT+10, PORT+20 (each takes PORT+1 as well)
#   tools/kafka.sh stop   PORT             keeps the data
#   tools/kafka.sh wipe   PORT             stops, and forgets the data
#   tools/kafka.sh kill   PORT [ID]        SIGKILL to one broker (1 is the first); `start` brings it back
#   tools/kafka.sh status PORT             one line a broker; 1 when none runs
#   tools/kafka.sh fetch                   the jars only
#
# With KAFKA_SECURE=1 each broker also has a listener for passwords over TLS (SASL_SSL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512) at
# PORT+2 and one that wants a client certificate (SSL) at PORT+3, and asks who may do what: everybody on the plain listener, the
# user `till` and a certificate whose subject is CN=till may do everything, the user `stranger` nothing. Both users have the
# password KAFKA_PASSWORD (till-secret). In DATA/PORT/tls lie server.pem (key and chain, PKCS #8) and ca.pem; when they are not there, openssl
# makes them, with client.crt and client.key for CN=till.
#
# Environment: TILL_TOOLS_DIR (jars; .till/tools/kafka), KAFKA_DATA_DIR (data and logs; .till/kafka), KAFKA_HEAP (256m),
# KAFKA_JVM (all options of the Java machine, instead of those for a small broker that starts at once),
# KAFKA_OWNER (a process id: when that process has ended, the brokers are wiped), KAFKA_PROPERTIES (more lines for
# server.properties), KAFKA_PROXIES (ports, one a broker, of proxies that stand before its second listener at PORT+5: clients
# that begin there stay there), KAFKA_DISKS (folders, one a broker, for the records alone, instead of DATA/PORT/ID/data).
set -euo pipefail

version=4.4.0
root=$(cd "$(dirname "$0")/.." && pwd)
tools=${TILL_TOOLS_DIR:-$root/.till/tools/kafka}
libs=$tools/$version
what=${1:?start, stop, wipe, kill, status or fetch}
port=${2:-19092}
run=${KAFKA_DATA_DIR:-$root/.till/kafka}/$port
# Small and quick to start; a benchmark says how Kafka runs elsewhere.
jvm=${KAFKA_JVM:-"-Xms64m -Xmx${KAFKA_HEAP:-256m} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData"}
# shellcheck disable=SC2206 # options are words
java=(java $jvm -Djava.awt.headless=true "-Dlog4j2.configurationFile=file:$run/log4j2.properties" -cp "$libs/*")

password=${KAFKA_PASSWORD:-till-secret}
tls=$run/tls

need() { command -v "$1" >/dev/null || { echo "kafka.sh: $1 is not installed" >&2; exit 3; }; }

fetch() {
  [ -e "$libs/complete" ] && return
  need java
  need mvn
  mkdir -p "$tools"
  # Two test runs may begin at once: the second waits, and finds the jars.
  exec 9>"$tools/lock"
  flock 9
  [ -e "$libs/complete" ] && return
  cat >"$tools/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>till</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.5</version>
    </dependency>
  </dependencies>
</project>
POM
  echo "kafka.sh: fetching Apache Kafka $version by Maven" >&2
  mvn -q -B -f "$tools/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$libs" >&2
  touch "$libs/complete"
  flock -u 9
}

# An authority, a certificate of the broker and one of the client.
certificates() {
  [ -e "$tls/server.pem" ] && return
  need openssl
  mkdir -p "$tls"
  local quiet="$tls/openssl.log"
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=till-tests -keyout "$tls/ca.key" -out "$tls/ca.pem" 2>"$quiet"
  sign server localhost
  sign client till
  cat "$tls/server.key" "$tls/server.crt" >"$tls/server.pem"
}

sign() { # name, subject
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$2" -keyout "$tls/$1.key" -out "$tls/$1.csr" 2>>"$tls/openssl.log"
  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >"$tls/$1.ext"
  openssl x509 -req -in "$tls/$1.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -CAcreateserial -days 30 -extfile "$tls/$1.ext" \
    -out "$tls/$1.crt" 2>>"$tls/openssl.log"
}

secure() { # the lines of a broker that asks who calls
  [ -n "${KAFKA_SECURE:-}" ] || return 0
  local module=org.apache.kafka.common.security listener
  cat <<PROPERTIES
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:till;User:CN=till
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.password.plain.sasl.jaas.config=$module.plain.PlainLoginModule required user_till="$password" user_stranger="$password";
listener.name.password.scram-sha-256.sasl.jaas.config=$module.scram.ScramLoginModule required;
listener.name.password.scram-sha-512.sasl.jaas.config=$module.scram.ScramLoginModule required;
listener.name.certificate.ssl.client.auth=required
PROPERTIES
  for listener in password certificate; do
    cat <<PROPERTIES
listener.name.$listener.ssl.keystore.type=PEM
listener.name.$listener.ssl.keystore.location=$tls/server.pem
listener.name.$listener.ssl.truststore.type=PEM
listener.name.$listener.ssl.truststore.location=$tls/ca.pem
PROPERTIES
  done
}

data_of() { # id: the folder of its records
  local disks=(${KAFKA_DISKS:-})
  echo "${disks[$1 - 1]:-$run/$1/data}"
}

configure() { # id, brokers
  local id=$1 brokers=$2 own=$((port + 10 * ($1 - 1))) voters="" i
  for i in $(seq 1 "$brokers"); do voters+="${voters:+,}$i@127.0.0.1:$((port + 10 * (i - 1) + 1))"; done
  local replicas=1 in_sync=1
  if [ "$brokers" -ge 3 ]; then replicas=3 in_sync=2; fi
  local doors=PLAINTEXT://127.0.0.1:$own
  [ -z "${KAFKA_SECURE:-}" ] || doors+=",PASSWORD://127.0.0.1:$((own + 2)),CERTIFICATE://127.0.0.1:$((own + 3))"
  mkdir -p "$run/$id"
  cat >"$run/$id/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=$id
controller.quorum.voters=$voters
listeners=$doors,CONTROLLER://127.0.0.1:$((own + 1))
advertised.listeners=$doors
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PASSWORD:SASL_SSL,CERTIFICATE:SSL
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=$(data_of "$id")
# Topics are created on purpose: a name with a typing error must fail.
auto.create.topics.enable=false
default.replication.factor=$replicas
min.insync.replicas=$in_sync
offsets.topic.num.partitions=4
offsets.topic.replication.factor=$replicas
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$in_sync
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=$replicas
share.coordinator.state.topic.min.isr=$in_sync
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# A killed broker is let in again after this time.
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=2097152
log.cleaner.io.buffer.size=65536
$(secure)
PROPERTIES
  local proxies=(${KAFKA_PROXIES:-})
  if [ -n "${proxies[*]}" ]; then
    cat >>"$run/$id/server.properties" <<PROPERTIES
listeners=PLAINTEXT://127.0.0.1:$own,PROXIED://127.0.0.1:$((own + 5)),CONTROLLER://127.0.0.1:$((own + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$own,PROXIED://127.0.0.1:${proxies[id - 1]}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT
PROPERTIES
  fi
  printf '%s\n' "${KAFKA_PROPERTIES:-}" >>"$run/$id/server.properties"
  cat >"$run/log4j2.properties" <<PROPERTIES
status=error
appender.out.type=Console
appender.out.name=OUT
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %m (%c)%n
rootLogger.level=WARN
rootLogger.appenderRef.out.ref=OUT
PROPERTIES
}

alive() { [ -e "$run/$1/pid" ] && kill -0 "$(cat "$run/$1/pid")" 2>/dev/null; }

ids() { [ -e "$run/brokers" ] && seq 1 "$(cat "$run/brokers")" || true; }

launch() { # id
  alive "$1" && return
  if [ ! -e "$(data_of "$1")/meta.properties" ]; then
    local users=() user kind
    if [ -n "${KAFKA_SECURE:-}" ]; then
      for user in till stranger; do
        for kind in 256 512; do users+=(--add-scram "SCRAM-SHA-$kind=[name=$user,password=$password]"); done
      done
    fi
    "${java[@]}" kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qg -c "$run/$1/server.properties" \
      ${users[@]+"${users[@]}"} >>"$run/$1/log" 2>&1
  fi
  # No descriptor of ours may outlive us in it: a caller that reads our output waits for them all to close.
  nohup setsid "${java[@]}" kafka.Kafka "$run/$1/server.properties" >>"$run/$1/log" 2>&1 </dev/null 9>&- &
  echo $! >"$run/$1/pid"
}

await() { # id: until its port is open
  local own=$((port + 10 * ($1 - 1))) try
  for try in $(seq 1 600); do
    (exec 3<>"/dev/tcp/127.0.0.1/$own") 2>/dev/null && return
    if ! alive "$1"; then
      echo "kafka.sh: broker $1 died; the end of $run/$1/log:" >&2
      tail -20 "$run/$1/log" >&2
      exit 1
    fi
    sleep 0.1
  done
  echo "kafka.sh: broker $1 did not open port $own within a minute" >&2
  exit 1
}

# Wipes the brokers when the process that asked for them has ended, however it ended.
guard() {
  [ -n "${KAFKA_OWNER:-}" ] || return 0
  nohup setsid bash -c "while kill -0 $KAFKA_OWNER 2>/dev/null; do sleep 1; done; KAFKA_OWNER= '$0' wipe $port" \
    >/dev/null 2>&1 </dev/null 9>&- &
}

start() { # brokers
  need java
  fetch
  mkdir -p "$run"
  echo "$1" >"$run/brokers"
  [ -z "${KAFKA_SECURE:-}" ] || certificates
  local id
  for id in $(ids); do configure "$id" "$1"; launch "$id"; done
  guard
  for id in $(ids); do await "$id"; done
  echo "kafka $version: 127.0.0.1:$port, brokers: $1, data: $run"
}

stop() {
  local id pid try
  for id in $(ids); do alive "$id" && kill "$(cat "$run/$id/pid")" 2>/dev/null || true; done
  for id in $(ids); do
    [ -e "$run/$id/pid" ] || continue
    pid=$(cat "$run/$id/pid")
    for try in $(seq 1 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
    rm -f "$run/$id/pid"
  done
}

forget() {
  local id
  for id in $(ids); do find "$(data_of "$id")" -mindepth 1 -delete 2>/dev/null || true; done
  rm -rf "$run"
}

status() {
  local id none=1
  for id in $(ids); do
    alive "$id" && echo "broker $id: 127.0.0.1:$((port + 10 * (id - 1))), pid $(cat "$run/$id/pid")" && none=0
  done
  return "$none"
}

case $what in
  fetch) fetch ;;
  start) start "${3:-1}" ;;
  stop) stop ;;
  wipe) stop; forget; rmdir "$(dirname "$run")" 2>/dev/null || true ;;
  kill) kill -9 "$(cat "$run/${3:-1}/pid")"; rm -f "$run/${3:-1}/pid" ;;
  status) status ;;
  *) echo "kafka.sh: $what is none of start, stop, wipe, kill, status, fetch" >&2; exit 2 ;;
esac
