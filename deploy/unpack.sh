#!/usr/bin/env bash
# Sourced by what is made of a bundle: image/build.sh and sdcard/build.sh.
set -euo pipefail

# unpack_bundle FOLDER BUNDLE [OPTION...]: unpacks that bundle into FOLDER/bundle. Without one (''), it is made of the last
# commit, with these options of deploy/bundle.sh. Sets `bundle`, its file, and what it says of itself: `name` (without .tar),
# `version`, `suite`, `arch`, and `epoch`, the date of all that is made of it.
unpack_bundle() {
  local folder=$1
  bundle=$2
  shift 2
  if [ -z "$bundle" ]; then
    "$(dirname "${BASH_SOURCE[0]}")/bundle.sh" "$@" --part --out "$folder"
    bundle=$(echo "$folder"/roomtone-*.tar)
  fi
  mkdir "$folder/bundle"
  tar -xf "$bundle" -C "$folder/bundle" --strip-components=1 ||
    { echo "$bundle: no bundle, or half of one: \`make bundle\` makes one" >&2; exit 65; }
  name=$(basename "$bundle" .tar)
  arch=${name##*-}
  version=$(cat "$folder/bundle/VERSION")
  suite=$(cat "$folder/bundle/SUITE")
  epoch=$(cat "$folder/bundle/EPOCH")
}
