#!/usr/bin/env bash
# Sees to it that the tools of Debian's packages are there: as root by installing them, otherwise by naming the command.
#   prerequisites.sh [lint|fuzz|cluster]    those of a build and of the driver, and those of one more purpose
set -euo pipefail

# command:package
tools=(
	mkfs.ext4:e2fsprogs e2fsck:e2fsprogs resize2fs:e2fsprogs mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs
	mount:mount losetup:mount cc:gcc
)
case ${1:-} in
'') ;;
lint) tools+=(shellcheck:shellcheck) ;;
fuzz) tools+=(g++:g++) ;;
cluster) tools+=(containerd:containerd runc:runc ip:iproute2 busybox:busybox-static nsenter:util-linux) ;;
*) echo "usage: $0 [lint|fuzz|cluster]" >&2; exit 2 ;;
esac

PATH=$PATH:/usr/sbin:/sbin
missing=()
for entry in "${tools[@]}"; do
	command -v "${entry%%:*}" >/dev/null || missing+=("${entry##*:}")
done
if [ ${#missing[@]} -eq 0 ]; then
	exit 0
fi
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "missing: install them with: sudo apt-get install -y ${missing[*]}" >&2
	exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
quietly() {
	"$@" >"$log" 2>&1 || { cat "$log" >&2; return 1; }
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly apt-get -q -o DPkg::Lock::Timeout=300 update
quietly apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}"
