#!/bin/sh
# The versions of the images. Each `make build` gives its images a tag of their own; the file
# .versions lists the tags that ran, the present one last, and .env names it as RADAR_VERSION.
#
#   deploy/version.sh new        print a tag for a new build
#   deploy/version.sh use TAG    let the next start use a tag
#   deploy/version.sh previous   print the tag that ran before the present one
set -eu
cd "$(dirname "$0")/.."
umask 077
list=.versions

fail() {
    echo "version: $1" >&2
    exit 1
}

use() {
    # A released image may be named by its digest as well: 0.2.0@sha256:…
    case ${1%@sha256:*} in '' | *[!A-Za-z0-9._-]*) fail "$1 is no tag of an image" ;; esac
    case $1 in *@*) case ${1#*@sha256:} in '' | *[!0-9a-f]*) fail "$1 has no digest of an image" ;; esac ;; esac
    new=$(mktemp .env.XXXXXX)
    [ ! -e .env ] || grep -v '^RADAR_VERSION=' .env >"$new" || true
    echo "RADAR_VERSION=$1" >>"$new"
    mv -f "$new" .env
}

case ${1:-} in
new)
    release=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' src/radar/__init__.py)
    [ -n "$release" ] || fail "src/radar/__init__.py names no version"
    commit=$(git rev-parse --short HEAD 2>/dev/null || echo copy)
    echo "$release-$(date -u +%Y%m%dT%H%M%SZ)-$commit"
    ;;
use)
    use "${2:-}"
    # A tag that runs again is the newest once more.
    { grep -Fvx "$2" "$list" 2>/dev/null || true; echo "$2"; } >"$list.new"
    mv -f "$list.new" "$list"
    ;;
previous)
    [ -e "$list" ] && [ "$(grep -c . "$list")" -gt 1 ] || fail "no other version ran before: make build makes one"
    tail -n 2 "$list" | head -n 1
    ;;
*) fail "say new, use TAG or previous" ;;
esac
