#!/usr/bin/env bash
# The sensors of one machine, and what belongs to each. Sourced by install.sh, not run.
#
# The first is roomtone.service. Every other has a name, and what is its own is called by it; nothing is shared but the
# version. edge/instances.py knows the same rule.
#
#              the first                     kitchen
#   unit       roomtone                      roomtone@kitchen
#   settings   /etc/roomtone/config.yaml     /etc/roomtone/kitchen.yaml
#   secrets    /etc/roomtone/credentials     /etc/roomtone/kitchen.credentials
#   state      /var/lib/roomtone             /var/lib/roomtone-kitchen
#   account    roomtone                      roomtone-kitchen
#
# A room is called by its unit here. A named one is there where it has settings and secrets: settings alone may be a copy.
# shellcheck disable=SC2034,SC2154 # of the variables, install.sh sets some and uses some
set -euo pipefail

template=$units/roomtone@.service wants=$units/multi-user.target.wants

# An account's name has at most 32 letters.
is_name() { [[ $1 =~ ^[a-z0-9]([a-z0-9-]{0,21}[a-z0-9])?$ ]] && [ "$1" != config ]; }

# place ROOM: where it has its things.
place() {
  name=${1#roomtone} name=${name#@}
  settings=$config/${name:-config}.yaml secrets=$config/${name:+$name.}credentials kept=$state${name:+-$name} account=roomtone${name:+-$name}
}

is_there() {
  local name settings secrets kept account
  place "$1"
  [ -e "$settings" ] && { [ -z "$name" ] || [ -d "$secrets" ]; }
}

is_enabled() { [ -L "$wants/$1.service" ]; }

rooms_there() {
  local folder name
  ! is_there roomtone || echo roomtone
  for folder in "$config"/*.credentials; do
    name=$(basename "$folder" .credentials)
    ! is_name "$name" || ! is_there "roomtone@$name" || echo "roomtone@$name"
  done
}

# find_rooms FIRST: sets `rooms`, those that a version must do for: those that are on trial; else the enabled ones; else, as
# after --uninstall --keep-data, all that are there; else FIRST, which is to come. And `beside`: the recorder of a history,
# where it is enabled on this machine, which is of the same version.
find_rooms() {
  local room
  rooms=() beside=()
  ! is_enabled roomtone-history || beside=(roomtone-history)
  for room in ${on_trial_rooms:-}; do ! is_there "$room" || rooms+=("$room"); done
  [ ${#rooms[@]} -eq 0 ] || return 0
  for room in $(rooms_there); do ! is_enabled "$room" || rooms+=("$room"); done
  [ ${#rooms[@]} -eq 0 ] || return 0
  mapfile -t rooms < <(rooms_there)
  [ ${#rooms[@]} -gt 0 ] || rooms=("$1")
}

# make_room ROOM: its account, secrets and settings; what is there stays as it is.
make_room() {
  local name settings secrets kept account broker=
  place "$1"
  groupadd --system --force roomtone
  at group
  id -u "$account" >/dev/null 2>&1 ||
    useradd --system --gid roomtone --no-create-home --home-dir "$kept" --shell /usr/sbin/nologin --groups audio "$account"
  mkdir -p "$config"
  install -d -m 0700 "$secrets"
  [ ! -e "$settings" ] || return 0
  # The first has a broker of its own, unless told otherwise: the others speak there, and one page shows all of them.
  if [ -n "$name" ] && is_enabled roomtone && grep -q 'host: *embedded' "$config/config.yaml"; then
    broker="127.0.0.1          # this machine: the broker that roomtone.service starts, for all rooms; or the name of another"
  fi
  local id=$name words=${name//-/ }
  words=${words^}
  [ -n "$id" ] || id=$(hostname 2>/dev/null | tr '[:upper:]' '[:lower:]' | sed -E 's/[^a-z0-9-]+/-/g; s/^-+|-+$//g' | cut -c1-64)
  # The sensor's part of config.yaml, with this machine's or this room's name.
  { echo "# roomtone, the sensor. After a change: sudo roomtone${name:+ --instance $name} check && sudo systemctl restart $1"
    sed -n '/^edge:/,$p' "$defaults" | sed -E "0,/^( +id: )[a-z0-9-]+/s//\1${id:-room}/;
      ${name:+0,/^( +name: )[A-Za-z]+/s//\1$words/;} ${broker:+0,/^( +host: )embedded .*/s//\1$broker/;}"
  } | put "$settings" 644
  at configuration
}

# wipe_room ROOM: cut short, the room is still there for another run.
wipe_room() {
  local name settings secrets kept account
  place "$1"
  rm -rf "$kept"
  ! id -u "$account" >/dev/null 2>&1 || userdel "$account"
  at room-gone
  rm -rf "$settings" "$secrets"
}

# template_of VERSION: the same text for every room but the first, with what is its own.
template_of() {
  sed -E "s|^Description=roomtone:|Description=roomtone, %i:|; s|/etc/roomtone/config\.yaml|/etc/roomtone/%i.yaml|
    s|/etc/roomtone/credentials$|/etc/roomtone/%i.credentials|; s|/run/credentials/roomtone\.service|/run/credentials/roomtone@%i.service|
    s|^StateDirectory=roomtone$|StateDirectory=roomtone-%i|; s|^User=roomtone$|User=roomtone-%i|" "$home/$1/roomtone.service"
}
