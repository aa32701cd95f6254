#!/usr/bin/env bash
# Installs the last commit, or a bundle, on several machines over ssh (remote.sh), so many at once, and ends at the first
# where it does not run: install.sh has taken it back there by then, and the others are as they were.
#
#   deploy/rolling.sh [--bundle FILE] [--hosts FILE] [--at-once 1] USER@HOST...
#
# --hosts: a file with a host a line. Called again, it passes over those that run this version already. Ends with a table;
# for a single host, it is remote.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
usage() {
  echo "usage: deploy/rolling.sh [--bundle FILE] [--hosts FILE] [--at-once N] USER@HOST..." >&2
  exit 2
}
stop() {
  echo "deploy: $2" >&2
  exit "$1"
}

bundle=() asked=() at_once=1
while [ $# -gt 0 ]; do
  case $1 in
    --bundle) bundle=("${2:-}") ;;
    --hosts)
      [ -r "${2:-}" ] || stop 66 "hosts ${2:-}: there is no such file, or it cannot be read"
      mapfile -t -O ${#asked[@]} asked < <(sed -E 's/#.*//; s/[[:space:]]+//g; /^$/d' "$2") ;;
    --at-once) at_once=${2:-} ;;
    -*) usage ;;
    *) asked+=("$1"); shift; continue ;;
  esac
  shift $(($# < 2 ? 1 : 2))
done
[[ $at_once =~ ^[1-9][0-9]?$ ]] || stop 2 "at once $at_once: expected a number from 1 to 99"
[ ${#bundle[@]} -eq 0 ] || [ -r "${bundle[0]}" ] || stop 66 "bundle ${bundle[0]}: there is no such file, or it cannot be read"
hosts=()
for host in "${asked[@]}"; do
  [[ $host != -* ]] || stop 2 "host $host: expected USER@HOST"
  [[ " ${hosts[*]} " == *" $host "* ]] || hosts+=("$host")
done
[ ${#hosts[@]} -gt 0 ] || usage
[ ${#hosts[@]} -gt 1 ] || exec deploy/remote.sh "${hosts[0]}" "${bundle[@]}"

read -ra ssh <<<"${SSH:-ssh}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
if [ ${#bundle[@]} -gt 0 ]; then
  version=$(tar -xOf "${bundle[0]}" --wildcards '*/VERSION' 2>/dev/null) || stop 65 "${bundle[0]}: no bundle: \`make bundle\` makes one"
else
  COMMIT=$(git rev-parse HEAD) # also where another is made meanwhile
  export COMMIT
  mkdir "$work/source"
  git archive "$COMMIT" | tar -x -C "$work/source"
  version=$("$work/source/deploy/install.sh" --print-version)
fi

# running_on HOST: the version that is installed there, `-` for none; `(on trial)` or `(down)` behind it, where it is.
running_on() {
  # shellcheck disable=SC2016 # that machine's shell reads it
  "${ssh[@]}" "$1" 'v=$(readlink /opt/roomtone/current || echo -)
    for unit in /etc/systemd/system/multi-user.target.wants/roomtone.service /etc/systemd/system/multi-user.target.wants/roomtone@*.service
    do
      room=${unit##*/} room=${room%.service}
      [ ! -L "$unit" ] || systemctl is-active --quiet "$room" || v="${v%%(*}(down)"
    done
    [ ! -e /opt/roomtone/.trial ] || v="$v(on trial)"
    echo "$v"' </dev/null
}

# tell NUMBER BEFORE NOW RESULT SECONDS
tell() { (IFS=$'\t'; echo "${*:2}") >"$work/$1"; }

# deploy_to NUMBER: fails where the version does not run there in the end.
deploy_to() {
  local host=${hosts[$1]} before now result status=0 began=$SECONDS
  tell "$1" '?' '?' interrupted -
  if ! before=$(running_on "$host"); then
    tell "$1" '?' '?' unreachable $((SECONDS - began))
    return 69
  fi
  if [ "$before" = "$version" ]; then
    tell "$1" "$before" "$version" 'there already' $((SECONDS - began))
    return
  fi
  tell "$1" "$before" '?' interrupted -
  deploy/remote.sh "$host" "${bundle[@]}" || status=$?
  now=$(running_on "$host") || now='?'
  case $status-$now in
    "0-$version") result=installed; [ "$before" = - ] || result=upgraded ;;
    0-*) result='does not run' status=70 ;;
    65-*) result=refused ;;
    70-"$before") result='went back' ;;
    255-*) result=unreachable status=69 ;;
    *) result="failed ($status)" ;;
  esac
  tell "$1" "$before" "$now" "$result" $((SECONDS - began))
  return "$status"
}

# shellcheck disable=SC2317 # the trap calls it
table() {
  local number column cells rows=($'host\tversion before\tversion now\tresult\tseconds') widths=(0 0 0 0 0)
  for number in "${!hosts[@]}"; do
    [ -e "$work/$number" ] || tell "$number" '?' '?' 'not tried' -
    rows+=("${hosts[number]}"$'\t'"$(<"$work/$number")")
  done
  for number in "${!rows[@]}"; do
    IFS=$'\t' read -ra cells <<<"${rows[number]}"
    for column in "${!cells[@]}"; do
      [ ${#cells[column]} -le "${widths[column]}" ] || widths[column]=${#cells[column]}
    done
  done
  for number in "${!rows[@]}"; do
    IFS=$'\t' read -ra cells <<<"${rows[number]}"
    printf '%-*s  %-*s  %-*s  %-*s  %*s\n' "${widths[0]}" "${cells[0]}" "${widths[1]}" "${cells[1]}" "${widths[2]}" "${cells[2]}" \
      "${widths[3]}" "${cells[3]}" "${widths[4]}" "${cells[4]}"
  done
}
trap 'table; rm -rf "$work"' EXIT

echo "deploy: $version to ${#hosts[@]} machines, $at_once at once"
status=0 running=0
for number in "${!hosts[@]}"; do
  if [ "$running" -ge "$at_once" ]; then
    wait -n || status=$?
    running=$((running - 1))
  fi
  [ "$status" -eq 0 ] || break
  echo "deploy: ${hosts[number]} ($((number + 1)) of ${#hosts[@]})"
  if [ "$at_once" -eq 1 ]; then # in the foreground, where sudo can ask for its password
    deploy_to "$number" || status=$?
  else
    deploy_to "$number" 2>&1 | sed -u "s|^|${hosts[number]}: |" &
    running=$((running + 1))
  fi
done
while [ "$running" -gt 0 ]; do
  wait -n || status=$?
  running=$((running - 1))
done
[ "$status" -eq 0 ] || echo "deploy: stopped; call it again when that is mended: what runs this version already is passed over" >&2
exit "$status"
