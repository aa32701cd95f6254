#!/usr/bin/env bash
# Makes an OCI image of the last commit from the same packages and wheels as the bundle: no base image, no shell inside.
#
#   deploy/image/build.sh [--addon] [--suite bookworm|trixie] [--arch amd64|arm64] [--out FOLDER] [--bundle FILE]
#
# Writes FOLDER/roomtone-VERSION-SUITE-ARCH.oci.tar (dist/, bookworm and amd64 unless told otherwise), which `podman load`
# and `docker load` take, and beside it what is inside (.spdx.json). --addon makes roomtone-addon-... of it: the same with
# nginx and deploy/homeassistant/addon, for Home Assistant's Supervisor. --bundle packs that one, made with `--also image`
# or `--also addon` (deploy/bundle.sh); the same bundle gives the same digest. It needs umoci (Debian) and a Python of the
# suite's version for its byte code, but neither emulation nor root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=deploy/unpack.sh
. deploy/unpack.sh

suite=bookworm arch=amd64 out=dist bundle='' kind=image
usage="usage: deploy/image/build.sh [--addon] [--suite bookworm|trixie] [--arch amd64|arm64] [--out FOLDER] [--bundle FILE]"
while [ $# -gt 0 ]; do
  case $1 in
    --addon) kind=addon; shift; continue ;;
    --suite) suite=$2 ;;
    --arch) arch=$2 ;;
    --out) out=$2 ;;
    --bundle) bundle=$2 ;;
    *) echo "$usage" >&2; exit 2 ;;
  esac
  shift 2
done
stop() { echo "image: $1" >&2; exit 69; }
command -v umoci >/dev/null || stop "no umoci here: install umoci (Debian's name)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unpack_bundle "$work" "$bundle" --suite "$suite" --arch "$arch" --also $kind
mkdir "$work/root"
case $suite in
  bookworm) python=3.11 ;;
  trixie) python=3.13 ;;
esac
case $arch in
  amd64) machine=x86_64 ;;
  arm64) machine=aarch64 ;;
esac
title=roomtone
[ $kind = image ] || title=roomtone-addon name=roomtone-addon-${name#roomtone-}
command -v "python$python" >/dev/null || stop "no python$python here, which makes the byte code for $suite"
root=$work/root

# --- Debian's packages, unpacked: nothing of them runs -----------------------------------------------------------------------

mkdir -p "$root/usr"/{bin,sbin,lib,lib64} "$root"/{etc,tmp,var/lib,run,proc,sys,dev}
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$root/$folder"; done
for deb in "$work"/bundle/debs/*.deb; do
  dpkg-deb --fsys-tarfile "$deb" | tar -x --no-same-owner --keep-directory-symlink -C "$root"
done
cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
echo "hosts: files dns" >"$root/etc/nsswitch.conf"
printf '%s\n' root:x:0:0::/:/nowhere roomtone:x:10001:10001::/var/lib/roomtone:/nowhere >"$root/etc/passwd"
printf '%s\n' root:x:0: audio:x:29:roomtone roomtone:x:10001: >"$root/etc/group"

# --- the sensor ------------------------------------------------------------------------------------------------------------------

# Like the bundle's: what is built for any glibc up to 2.36, and PyAudio, which is built here.
platforms=(--platform "linux_$machine" --platform "manylinux2014_$machine")
for glibc in $(seq 17 36); do platforms+=(--platform "manylinux_2_${glibc}_$machine"); done
"python$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip --quiet --disable-pip-version-check install --no-index --find-links "$work/bundle/wheels" \
  --only-binary :all: --implementation cp --python-version "$python" "${platforms[@]}" --no-compile \
  --target "$root/usr/lib/roomtone" roomtone
cat >"$root/usr/bin/roomtone" <<PROGRAM
#!/usr/bin/python$python -P
import sys
from edge.commands.cli import main
sys.exit(main())
PROGRAM
chmod 755 "$root/usr/bin/roomtone"
mkdir -p "$root"/etc/roomtone "$root"/var/lib/roomtone "$root/usr/share/doc/roomtone"
cp "$work/bundle"/{LICENSE,config.yaml} "$root/usr/share/doc/roomtone/"
if [ $kind = addon ]; then
  [ -x "$root/usr/sbin/nginx" ] || { echo "image: no nginx in $bundle: make it with \`deploy/bundle.sh --also addon\`" >&2; exit 65; }
  mkdir -p "$root"/usr/lib/roomtone-addon "$root"/{data,run/audio,etc/pulse}
  cp deploy/homeassistant/addon/{start.py,nginx.conf} "$root/usr/lib/roomtone-addon/"
fi

# --- what is inside, with licences; and what nobody needs goes --------------------------------------------------------------------

mkdir -p "$out"
"python$python" deploy/image/sbom.py --root "$root" --bundle "$work/bundle" --name "$name" >"$work/spdx.json"
cp "$work/spdx.json" "$root/usr/share/doc/roomtone/spdx.json"
deploy/image/trim.sh "$root"
# Byte code that is not looked at again: a read-only root cannot keep what Python would make. One process, in one order.
PYTHONHASHSEED=0 "python$python" -m compileall -q -j 1 --invalidation-mode unchecked-hash \
  -s "$root" -p / "$root/usr/lib/roomtone" "$root/usr/lib/python$python" || true # of files for other versions, too

# --- one layer, packed ---------------------------------------------------------------------------------------------------------------

export SOURCE_DATE_EPOCH=$epoch
created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)
find "$root" -type d -exec chmod 755 {} +
find "$root" -type f -perm /6000 -exec chmod ug-s {} + # nothing here becomes somebody else
# A new volume is made like the folder below it: whoever the container runs as can keep state there.
chmod 1777 "$root/tmp" "$root/var/lib/roomtone"
# The state's folder is the user's own; the rest is root's.
tar -C "$root" --sort=name --format=posix --pax-option=delete=atime,delete=ctime --numeric-owner --owner=0 --group=0 \
  --mtime="@$epoch" --exclude=./var/lib/roomtone -cf "$work/layer.tar" .
tar -C "$root" --sort=name --format=posix --pax-option=delete=atime,delete=ctime --numeric-owner --owner=10001 \
  --group=10001 --mtime="@$epoch" -rf "$work/layer.tar" ./var/lib/roomtone
image=$work/oci
umoci init --layout "$image"
tag=${version//+/-} # in which no + may be
umoci new --image "$image:$tag"
history=(--history.created "$created" --history.created_by roomtone --history.author roomtone)
umoci raw add-layer --image "$image:$tag" "${history[@]}" "$work/layer.tar"
case $kind in
  image) runs=(--config.user 10001:10001 --config.entrypoint /usr/bin/roomtone --config.cmd run --config.volume /var/lib/roomtone) ;;
  # It reads what the Supervisor wrote for root alone, and gives up root before it starts anything.
  addon) runs=(--config.user 0:0 --config.entrypoint /usr/bin/python3 --config.entrypoint -P
    --config.entrypoint /usr/lib/roomtone-addon/start.py --config.label io.hass.type=addon
    --config.label "io.hass.version=$tag" --config.label "io.hass.arch=${machine/x86_64/amd64}") ;;
esac
umoci config --image "$image:$tag" --no-history --created "$created" --os linux --architecture "$arch" \
  "${runs[@]}" --config.workingdir /etc/roomtone --config.stopsignal SIGTERM \
  --config.env PATH=/usr/bin:/usr/sbin --config.env PYTHONPATH=/usr/lib/roomtone --config.env PYTHONUNBUFFERED=1 \
  --config.env STATE_DIRECTORY=/var/lib/roomtone --config.env RUNTIME_DIRECTORY=/dev/shm --config.env HOME=/tmp \
  --config.label "org.opencontainers.image.title=$title" --config.label "org.opencontainers.image.version=$version" \
  --config.label org.opencontainers.image.licenses="Apache-2.0 AND CC-BY-NC-SA-4.0"
umoci gc --layout "$image"
digest=$("python$python" - "$image/index.json" "$title:$tag" <<'PYTHON'
import json, pathlib, sys

# The name that it gets where it is loaded.
place = pathlib.Path(sys.argv[1])
index = json.loads(place.read_text())
index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": sys.argv[2]}
place.write_text(json.dumps(index))
print(index["manifests"][0]["digest"])
PYTHON
)
cp "$work/spdx.json" "$out/$name.spdx.json"
tar -C "$image" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -cf "$out/.$name.oci.tar" .
mv "$out/.$name.oci.tar" "$out/$name.oci.tar"
echo "image: $title:$tag is $out/$name.oci.tar ($(du -m "$out/$name.oci.tar" | cut -f1) MB), $digest"
