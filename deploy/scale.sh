#!/bin/sh
# Writes docker-compose.scale-DATASET.yml: N workers of a dataset, of which docker-compose.yml names
# FIXED. Each has a name of its own that stays, so that it keeps its partitions over a restart.
set -eu
dataset=$1 fixed=$2 wanted=${3:-}
file=docker-compose.scale-$dataset.yml
case $wanted in
'' | 0* | *[!0-9]*)
    echo "say how many workers, 1 or more: make scale-$dataset N=$((fixed * 2))" >&2
    exit 2
    ;;
esac
rm -f "$file"
[ "$wanted" -ne "$fixed" ] || exit 0
{
    echo "# Written by: make scale-$dataset N=$wanted"
    echo "services:"
    n=$((wanted + 1))
    while [ $n -le "$fixed" ]; do
        printf '  %s-consumer-%s:\n    scale: 0\n' "$dataset" $n
        n=$((n + 1))
    done
    n=$((fixed + 1))
    while [ $n -le "$wanted" ]; do
        name=$dataset-consumer-$n
        printf '  %s:\n' "$name"
        printf '    extends: {file: docker-compose.yml, service: %s-consumer-1}\n' "$dataset"
        printf '    environment:\n      WORKER_ID: %s\n' "$name"
        # What docker-compose.secrets.yml says of the others: only the first file is extended.
        case " ${WITH-} " in *" secrets "*)
            printf '      CLICKHOUSE_PASSWORD: ""\n'
            printf '      CLICKHOUSE_PASSWORD_FILE: /run/secrets/clickhouse_writer\n'
            printf '    secrets: [clickhouse_writer]\n'
            ;;
        esac
        n=$((n + 1))
    done
} >"$file"
