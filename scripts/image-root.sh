#!/usr/bin/env bash
# Fills a directory with what the image holds: the driver, the tools that make, check and grow filesystems, and the libraries
# that these need; nothing else, no shell and no package manager. The Dockerfile runs it in a Debian of its own, `make image`
# on this machine. Names and licences of the packages are kept, for scanners of images and for the law.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: $0 DRIVER DIRECTORY" >&2; exit 2; }
driver=$1 root=$2

tools=(mkfs.ext4 e2fsck resize2fs mkfs.xfs xfs_repair xfs_growfs mkfs.btrfs btrfs)
PATH=/usr/sbin:/usr/bin:/sbin:/bin

# The machine may keep /lib in / or in /usr; the image has one of each, and links.
rm -rf "$root"
mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root"/{etc,var/lib/dpkg/status.d}
for directory in bin sbin lib lib64; do
	ln -s "usr/$directory" "$root/$directory"
done

# libraries FILE: the paths of what it is linked to, its loader included.
libraries() {
	ldd "$1" | grep -oE '/[^ ]+'
}

# put PATH: the file behind it, under the same path, once; links of a tool to another tool become files.
put() {
	local path=$1 in_image
	in_image=$root/usr/${path#/}
	in_image=${in_image/\/usr\/usr\//\/usr\/}
	[ -e "$in_image" ] || install -D -m "$(stat -L -c %a "$path")" "$path" "$in_image"
}

install -m 755 "$driver" "$root/usr/bin/offshoot"
mapfile -t files < <(for tool in "${tools[@]}"; do command -v "$tool"; done)
[ ${#files[@]} -eq ${#tools[@]} ] || { echo "missing: one of ${tools[*]}" >&2; exit 1; }
mapfile -t libraries < <(for file in "$driver" "${files[@]}"; do libraries "$file"; done | sort -u)
for file in "${files[@]}" "${libraries[@]}"; do
	put "$file"
done
# The defaults of mkfs.ext4 are not in the program.
install -m 644 /etc/mke2fs.conf "$root/etc/"

# Debian's dpkg knows some files by their path without /usr.
for file in "${files[@]}" "${libraries[@]}"; do
	owners=$(dpkg-query -S "$file" "$(readlink -f "$file")" "${file#/usr}" 2>/dev/null || true)
	[ -n "$owners" ] || { echo "no package owns $file" >&2; exit 1; }
	sed -n '1s/:.*//p' <<<"$owners"
done | sort -u | while read -r package; do
	install -D -m 644 "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/copyright"
	dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
done
