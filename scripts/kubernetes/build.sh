#!/bin/sh
# Compiles kube-apiserver from its Go module into a folder, and puts the definitions of foreign kinds
# (those of the Prometheus operator and of KEDA) beside it. Needs Go; a first build takes long.
set -eu
folder=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")"
PROMETHEUS_OPERATOR=github.com/prometheus-operator/prometheus-operator@v0.92.1
KEDA=github.com/kedacore/keda/v2@v2.18.1
command -v go >/dev/null || { echo "no go: this compiles kube-apiserver with Go 1.26 or newer" >&2; exit 1; }

module() {
    go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p'
}

version=$(sed -n 's#^\tk8s.io/kubernetes \(v[0-9.]*\).*#\1#p' go.mod)
CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false \
    -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version" \
    -o "$folder/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
rm -rf "$folder/crds"
mkdir "$folder/crds"
operator=$(module "$PROMETHEUS_OPERATOR")/example/prometheus-operator-crd
cp "$operator/monitoring.coreos.com_servicemonitors.yaml" \
    "$operator/monitoring.coreos.com_prometheusrules.yaml" \
    "$(module "$KEDA")/config/crd/bases/keda.sh_scaledobjects.yaml" "$folder/crds"
chmod u+w "$folder/crds"/*
