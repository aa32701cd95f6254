#!/usr/bin/env bash
# Installs the last commit, or a bundle, on another machine over ssh; SSH names the command to reach it with, and COMMIT
# another commit than the last.
#
#   deploy/remote.sh pi@sensor [BUNDLE.tar]
#
# A bundle is verified there, by the installed version, before anything in it runs (install.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 1 ] || { echo "usage: deploy/remote.sh USER@HOST [BUNDLE.tar]" >&2; exit 2; }
host=$1 bundle=${2:-}
read -ra ssh <<<"${SSH:-ssh}"

folder=$("${ssh[@]}" "$host" 'mktemp -d /tmp/roomtone-XXXXXX')
trap '"${ssh[@]}" "$host" "rm -rf $folder"' EXIT
echo "deploy: copying to $host"
install=$folder/deploy/install.sh
if [ -z "$bundle" ]; then
  git archive "${COMMIT:-HEAD}" | "${ssh[@]}" "$host" "tar -x -C $folder"
elif "${ssh[@]}" "$host" 'grep -qse --bundle /opt/roomtone/current/install.sh' </dev/null; then
  "${ssh[@]}" "$host" "cat >$folder/bundle.tar" <"$bundle"
  install="/opt/roomtone/current/install.sh --bundle $folder/bundle.tar"
else # nothing there knows a bundle's signature
  "${ssh[@]}" "$host" "tar -x -C $folder --strip-components=1" <"$bundle"
fi
terminal=() # for sudo's password
[ ! -t 0 ] || terminal=(-t)
# shellcheck disable=SC2029 # the folder is meant to be named here
"${ssh[@]}" "${terminal[@]}" "$host" "if [ \$(id -u) -eq 0 ]; then $install; else sudo $install; fi"
