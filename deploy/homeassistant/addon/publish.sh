#!/usr/bin/env bash
# Makes the repository that Home Assistant's Supervisor adds by its URL, and says how the images get to their registry.
#
#   deploy/homeassistant/addon/publish.sh --images ghcr.io/me/roomtone-addon-{arch} [--url URL] [--out FOLDER]
#
# --images is what the images are called in a registry, {arch} for amd64 and aarch64. Writes FOLDER (dist/addon unless told
# otherwise), which goes to a git host as it is: the Supervisor looks for `repository.yaml` at a repository's root, and for
# add-ons below. The version is the last commit's, as the image's tag has it (deploy/image/build.sh --addon).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

images='' url='' out=dist/addon
while [ $# -gt 0 ]; do
  case $1 in
    --images) images=$2 ;;
    --url) url=$2 ;;
    --out) out=$2 ;;
    *) echo "usage: deploy/homeassistant/addon/publish.sh --images NAME-{arch} [--url URL] [--out FOLDER]" >&2; exit 2 ;;
  esac
  shift 2
done
# As the Supervisor wants it: a registry or an owner, a name, and no tag.
[[ $images =~ ^([a-zA-Z0-9.:-]+/)*[a-zA-Z0-9_-]+/[a-zA-Z0-9_{}-]+$ && $images == *"{arch}"* ]] ||
  { echo "publish: --images '$images': expected a registry's name for the images, such as ghcr.io/me/roomtone-addon-{arch}" >&2; exit 64; }
[ ! -e "$out" ] || [ -e "$out/repository.yaml" ] ||
  { echo "publish: $out is there and is no such repository: name another folder with --out" >&2; exit 73; }

version=$(deploy/install.sh --print-version)
version=${version//+/-}
addon=$out/roomtone
mkdir -p "$addon"
cp -r deploy/homeassistant/addon/{translations,DOCS.md,README.md,icon.png,logo.png} "$addon/"
sed -e "s#^version: .*#version: \"$version\"#" -e "/^slug:/a image: \"$images\"" deploy/homeassistant/addon/config.yaml >"$addon/config.yaml"
{ echo "name: roomtone"; [ -z "$url" ] || echo "url: $url"; } >"$out/repository.yaml"

echo "publish: $out is the repository: push it to a git host, and add its URL in Home Assistant. Before that, the images:"
for arch in amd64:amd64 arm64:aarch64; do
  echo "  deploy/image/build.sh --addon --arch ${arch%:*}"
  echo "  skopeo copy oci-archive:dist/roomtone-addon-...-${arch%:*}.oci.tar docker://${images//\{arch\}/${arch#*:}}:$version"
done
