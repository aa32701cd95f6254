#!/usr/bin/env bash
# Signs a bundle in place (bundle.sh --key does it), wherever the key is kept; edge/updates/bundle.py verifies it.
#
#   deploy/sign.sh BUNDLE.tar KEY
#
# KEY: a private key of `roomtone model keygen`. A signature that the bundle had is replaced.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: deploy/sign.sh BUNDLE.tar KEY" >&2; exit 2; }
bundle=$1 key=$2
stop() {
  echo "sign: $2" >&2
  exit "$1"
}
command -v openssl >/dev/null || stop 69 "no openssl here: install openssl (Debian's name)"
[ "$(openssl pkey -in "$key" -noout -text 2>/dev/null | sed -n 's/ Private-Key:$//p')" = ED25519 ] ||
  stop 66 "$key: not a private key that \`roomtone model keygen\` made"

work=$(mktemp -d)
trap 'rm -rf "$work" "$bundle.new"' EXIT
name=$(tar -tf "$bundle" 2>/dev/null | sed -n '1s|/.*||p') || stop 65 "$bundle: no bundle: \`make bundle\` makes one"
mkdir "$work/$name"
tar -xOf "$bundle" "$name/SHA256SUMS" >"$work/SHA256SUMS" 2>/dev/null || stop 65 "$bundle: no bundle: \`make bundle\` makes one"
printf 'roomtone bundle, SHA-256 of its SHA256SUMS: %s' "$(sha256sum <"$work/SHA256SUMS" | cut -c 1-64)" >"$work/message"
openssl pkeyutl -sign -rawin -inkey "$key" -in "$work/message" -out "$work/$name/SHA256SUMS.sig"
cp "$bundle" "$bundle.new"
tar --delete -f "$bundle.new" "$name/SHA256SUMS.sig" 2>/dev/null || true
tar -C "$work" --owner=0 --group=0 -rf "$bundle.new" "$name/SHA256SUMS.sig"
mv "$bundle.new" "$bundle"
