#!/usr/bin/env bash
# Runs on the card at every start, before the network: what the FAT partition says becomes this boot's name, settings,
# secrets and Wi-Fi. All of it is made anew in memory; nothing is written to the card but, once, a name where the board has
# no serial number.
#
#   roomtone.yaml   the sensor's settings (/etc/roomtone/config.yaml)    credentials/   passwords, a file each
#   wifi.conf       networks, as wpa_supplicant reads them               roomtone/      what settings name: ca.pem, model.pub
set -euo pipefail
card=${CARD:-/boot/firmware} state=${STATE:-/state} made=${MADE:-/run/roomtone-card}
board=${BOARD:-/proc/device-tree/serial-number}
umask 077
mkdir -p "$made/etc/credentials"
chmod 755 "$made" "$made/etc"

# --- a name: roomtone-xxxx, always the same for a board --------------------------------------------------------------------

if [ -s "$board" ]; then
  number=$(tr -dc 'a-z0-9' <"$board")
else
  [ -s "$state/number" ] || { od -An -N4 -tx1 /dev/urandom | tr -d ' \n' >"$state/.number" && sync "$state/.number" &&
    mv "$state/.number" "$state/number" && sync "$state"; }
  number=$(cat "$state/number")
fi
name=roomtone-$(printf %s "$number" | tail -c 4)
echo "$name" >"$made/name"

# --- settings, as people's editors leave them: with any line ends -----------------------------------------------------------

# taken FILE TARGET MODE: a file of the FAT partition, without the line ends of Windows where it is text (a model is none).
taken() {
  if LC_ALL=C grep -Iq . "$1"; then tr -d '\r' <"$1" >"$2.new"; else cp "$1" "$2.new"; fi
  chmod "$3" "$2.new"
  mv "$2.new" "$2"
}

if [ -f "$card/roomtone.yaml" ]; then
  taken "$card/roomtone.yaml" "$made/etc/config.yaml" 644
else
  echo 'edge: {}' >"$made/etc/config.yaml"
  chmod 644 "$made/etc/config.yaml"
fi
for file in "$card"/roomtone/*; do [ ! -f "$file" ] || taken "$file" "$made/etc/$(basename "$file")" 644; done
for file in "$card"/credentials/*; do [ ! -f "$file" ] || taken "$file" "$made/etc/credentials/$(basename "$file")" 600; done
# Two cards that nobody named are two rooms.
if grep -Eq '(^|[ {,])id:' "$made/etc/config.yaml"; then : >"$made/environment"; else
  printf 'ROOMTONE_DEVICE__ID=%s\nROOMTONE_DEVICE__NAME=%s\n' "$name" "$name" >"$made/environment"
fi
if [ -f "$card/wifi.conf" ] && grep -q '^[[:space:]]*network=' "$card/wifi.conf"; then
  taken "$card/wifi.conf" "$made/wifi.conf" 600
fi
