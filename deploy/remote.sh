#!/usr/bin/env bash
# Installs the last commit, or a bundle, on another machine over ssh; SSH names the command to reach it with.
#
#   deploy/remote.sh pi@sensor [BUNDLE.tar]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 1 ] || { echo "usage: deploy/remote.sh USER@HOST [BUNDLE.tar]" >&2; exit 2; }
host=$1 bundle=${2:-}
read -ra ssh <<<"${SSH:-ssh}"

folder=$("${ssh[@]}" "$host" 'mktemp -d /tmp/roomtone-XXXXXX')
trap '"${ssh[@]}" "$host" "rm -rf $folder"' EXIT
echo "deploy: copying to $host"
if [ -n "$bundle" ]; then
  "${ssh[@]}" "$host" "tar -x -C $folder --strip-components=1" <"$bundle"
else
  git archive HEAD | "${ssh[@]}" "$host" "tar -x -C $folder"
fi
terminal=() # for sudo's password
[ ! -t 0 ] || terminal=(-t)
# shellcheck disable=SC2029 # the folder is meant to be named here
"${ssh[@]}" "${terminal[@]}" "$host" "if [ \$(id -u) -eq 0 ]; then $folder/deploy/install.sh; else sudo $folder/deploy/install.sh; fi"
