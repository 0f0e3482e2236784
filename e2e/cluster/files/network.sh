#!/bin/sh
# A CNI plugin in shell, for the types "e2e" and "loopback": a pair of interfaces from the pod to the bridge of the cluster's
# network namespace. An address is taken by making a file. There is no way out of that namespace.
set -u
taken=/run/cni/taken
cat >/dev/null

in_pod() { nsenter --net="$CNI_NETNS" "$@"; }

# result ADDRESS MORE
result() {
	echo "{\"cniVersion\":\"0.4.0\",\"interfaces\":[{\"name\":\"$CNI_IFNAME\",\"sandbox\":\"$CNI_NETNS\"}],\"ips\":[{\"version\":\"4\",\"interface\":0,\"address\":\"$1\"$2}]}"
}

add() {
	if [ "$CNI_IFNAME" = lo ]; then
		in_pod ip link set lo up || exit 1
		result 127.0.0.1/8 ""
		return
	fi
	mkdir -p $taken
	number=2
	until (set -C; echo "$CNI_CONTAINERID" >"$taken/$number") 2>/dev/null; do
		number=$((number + 1))
		[ $number -lt 65000 ] || exit 1
	done
	address=10.88.$((number / 250)).$((number % 250 + 2))/16
	ip link add "$outside" type veth peer name "$CNI_IFNAME" netns "$CNI_NETNS" &&
		ip link set "$outside" master cni0 up &&
		in_pod ip addr add "$address" dev "$CNI_IFNAME" &&
		in_pod ip link set "$CNI_IFNAME" up &&
		in_pod ip route add default via 10.88.0.1 || exit 1
	result "$address" ",\"gateway\":\"10.88.0.1\""
}

remove() {
	if [ "$CNI_IFNAME" != lo ]; then
		ip link del "$outside" 2>/dev/null
		grep -lx "$CNI_CONTAINERID" $taken/* 2>/dev/null | xargs -r rm -f
	fi
	echo '{}'
}

outside=v$(printf %s "$CNI_CONTAINERID" | cut -c1-12)
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"0.4.0","supportedVersions":["0.3.0","0.3.1","0.4.0"]}' ;;
ADD) add ;;
DEL) remove ;;
*) echo '{}' ;;
esac
