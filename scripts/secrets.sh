#!/bin/sh
# Creates the passwords of the compose stack that are missing: in .env, or in the file that is named.
# It changes no password that is there and keeps every other line. With WITH=secrets it also creates
# the files of docker-compose.secrets.yml. Nobody but the user can read what it writes.
set -eu
umask 077
file=${1:-.env}
names="CLICKHOUSE_MIGRATOR_PASSWORD CLICKHOUSE_WRITER_PASSWORD CLICKHOUSE_READER_PASSWORD
    GRAFANA_ADMIN_PASSWORD DASHBOARD_TOKEN"
# Values that were published with earlier versions, or as examples.
public='radar_migrator|radar_writer|radar_reader|admin|radar-on-this-machine|change-me-[0-9]'

fail() {
    echo "secrets: $1" >&2
    exit 1
}

random() {
    word=$(head -c 24 /dev/urandom | od -An -vtx1 | tr -d ' \n')
    [ ${#word} -eq 48 ] || fail "cannot read /dev/urandom"
    echo "$word"
}

[ ! -L "$file" ] || fail "$file is a link: put a file in its place"
[ ! -e "$file" ] || [ -f "$file" ] || fail "$file is not a file: move it away"
new=$(mktemp "$file.XXXXXX") # readable for its user only from the beginning
trap 'rm -f "$new" "$new.kept"' EXIT
trap 'exit 1' HUP INT TERM
if [ -e "$file" ]; then
    # With a line break at the end, where an editor left it out.
    awk 1 "$file" >"$new"
fi
added=
for name in $names; do
    line="^[[:space:]]*(export[[:space:]]+)?$name[[:space:]]*="
    eval "given=\${$name:-}"
    if printf '%s\n' "$given" | grep -Eqx "$public" \
        || grep -Eq "${line}[[:space:]]*[\"']?($public)[\"']?[[:space:]]*(#.*)?\$" "$new"; then
        fail "the value of $name is public: delete it from $file or unset it, and run make secrets"
    fi
    # Compose prefers the environment.
    [ -z "$given" ] || continue
    ! grep -Eq "${line}[[:space:]]*[\"']?[^\"'[:space:]#]" "$new" || continue
    # A line without a value goes.
    grep -Ev "$line" "$new" >"$new.kept" || true
    cat "$new.kept" >"$new"
    printf '%s=%s\n' "$name" "$(random)" >>"$new"
    added="$added $name"
done
if [ -n "$added" ]; then
    mv -f "$new" "$file"
    echo "created in $file:$added"
else
    chmod go-rwx "$file"
fi
case " ${WITH-} " in *" secrets "*)
    folder=deploy/secrets
    [ -d "$folder" ] || mkdir -p -m 700 "$folder"
    # Users of the containers read the files; nobody else passes the folder.
    chmod 700 "$folder"
    for name in clickhouse_migrator clickhouse_writer clickhouse_reader dashboard_token \
        grafana_admin; do
        path=$folder/$name
        [ ! -s "$path" ] || continue
        random >"$path"
        chmod 644 "$path"
        echo "created $path"
    done
    ;;
esac
