#!/bin/sh
# Writes docker-compose.scale-exchanges.yml: the producers of the exchanges that EXCHANGES names.
# docker-compose.yml has those of wallex. EXCHANGES comes from the environment or from .env.
set -eu
cd "$(dirname "$0")/.."
file=docker-compose.scale-exchanges.yml
names=${EXCHANGES:-$(sed -n 's/^EXCHANGES=//p' .env 2>/dev/null | tail -n 1)}
names=$(printf %s "${names:-wallex}" | tr -d "\"' " | tr , ' ')
rm -f "$file"
[ "$names" != wallex ] || exit 0
processes=
addresses=
{
    echo "# Written by: make, because EXCHANGES names: $names"
    echo "services:"
    case " $names " in *" wallex "*) ;; *)
        printf '  wallex-trades:\n    scale: 0\n  wallex-depth:\n    scale: 0\n'
        ;;
    esac
    for exchange in $names; do
        case $exchange in '' | *[!a-z0-9]*)
            echo "EXCHANGES names no exchange: $exchange" >&2
            exit 2
            ;;
        esac
        option=$(printf %s "$exchange" | tr a-z A-Z)
        for dataset in trades depth; do
            name=$exchange-$dataset
            processes=$processes$name:9100,
            [ "$exchange" != wallex ] || continue
            [ "$dataset" != trades ] || addresses="$addresses ${option}_REST_URL"
            printf '  %s:\n' "$name"
            printf '    extends: {file: docker-compose.yml, service: wallex-%s}\n' "$dataset"
            printf '    command: [produce, %s, --exchange, %s]\n' "$dataset" "$exchange"
            printf '    environment:\n'
            printf '      %s_WS_URL:\n      %s_REST_URL:\n      %s_SYMBOLS:\n' \
                "$option" "$option" "$option"
        done
    done
    printf '  reconcile:\n    environment:\n'
    for address in $addresses WALLEX_REST_URL; do
        printf '      %s:\n' "$address"
    done
    for observer in alerts dashboard; do
        printf '  %s:\n    environment:\n      MONITOR_PROCESSES: "${MONITOR_PROCESSES:-\\\n' $observer
        printf '        %s\\\n' "$processes"
        printf '        trades-consumer-1:9100,trades-consumer-2:9100,trades-consumer-3:9100,\\\n'
        printf '        depth-consumer-1:9100,depth-consumer-2:9100,quiet-consumer-1:9100,reconcile:9100}"\n'
    done
} >"$file"
