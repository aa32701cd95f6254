#!/bin/sh
# A push message by ntfy: `roomtone watch --exec "/path/to/ntfy.sh https://ntfy.sh/your-topic" --on emotion=angry --for 20s`.
# What it needs: curl and jq. Who knows the topic reads it: choose one that nobody guesses, or a server of your own.
set -eu
said=$(cat)
text=$(printf '%s' "$said" | jq -r '"\(.device): \(.emotion) for \(.held_s | floor) s"')
curl -fsS --max-time 20 -H "Title: roomtone" -d "$text" "$1" >/dev/null
