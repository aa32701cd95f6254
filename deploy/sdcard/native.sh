#!/usr/bin/env bash
# Lends a system that is installed under emulation this machine's own programs for what packages run most: thousands of
# starts of tar, sed, sh, each of which costs a tenth of a second emulated. They do the same, whatever they are compiled for.
#
#   deploy/sdcard/native.sh lend|take ROOT
#
# `take` gives it back its own, and leaves nothing. Nothing is lent where nothing is emulated.
set -euo pipefail
verb=$1 root=$2
# None whose answer depends on the processor: uname, dpkg, ldconfig.
programs=(basename cat chmod chown cp cut dash dirname dpkg-deb dpkg-split expr find grep gzip head install ln ls mkdir
  mktemp mv readlink rm rmdir sed sort stat tail tar touch tr wc xargs)

lend() {
  local program own library
  [ "$(dpkg --print-architecture)" != arm64 ] || return 0
  for program in "${programs[@]}"; do
    own=$root/usr/bin/$program
    if [ ! -f "$own" ] || [ -L "$own" ] || [ -e "$own.own" ] || ! command -v "$program" >/dev/null; then continue; fi
    ldd "$(command -v "$program")" | grep -oE '/[^ ]+' | while read -r library; do
      [ -e "$root$library" ] || install -D "$library" "$root$library"
      echo "$library"
    done >>"$root/lent"
    ln "$own" "$own.own"
    cp "$(command -v "$program")" "$own.lent"
    mv "$own.lent" "$own"
  done
}

take() {
  local own library
  [ -e "$root/lent" ] || return 0
  for own in "$root"/usr/bin/*.own; do [ ! -e "$own" ] || mv "$own" "${own%.own}"; done
  # /lib is /usr/lib: a library may be listed by both names.
  sort -u "$root/lent" | while read -r library; do
    rm -f "$root$library"
    [ ! -d "$root$(dirname "$library")" ] || rmdir --ignore-fail-on-non-empty "$root$(dirname "$library")"
  done
  rm "$root/lent"
}

case $verb in lend) lend ;; take) take ;; esac
