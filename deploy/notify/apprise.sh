#!/bin/sh
# A mail, or any of a hundred services, by apprise (Debian: `sudo apt install apprise jq`):
# `roomtone watch --exec "/path/to/apprise.sh /etc/roomtone/apprise.yml" --on emotion=angry --for 20s`.
# The file holds addresses, and with them passwords: `chmod 600` it. See https://github.com/caronc/apprise/wiki/config.
set -eu
said=$(cat)
text=$(printf '%s' "$said" | jq -r '"\(.device): \(.emotion) for \(.held_s | floor) s"')
apprise --config="$1" --title="roomtone" --body="$text"
