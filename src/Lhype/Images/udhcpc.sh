#!/bin/sh
# What busybox's udhcpc calls with what a DHCP server said. Lhype puts this file into the initramfs as
# /etc/udhcpc.sh; init.sh names it.

case $1 in
    bound | renew)
        ip address flush dev "$interface"
        ip address add "$ip/${mask:-24}" broadcast "${broadcast:-+}" dev "$interface"
        [ -z "$router" ] || ip route add default via "${router%% *}"
        for server in $dns; do
            echo "nameserver $server"
        done >/etc/resolv.conf
        ;;
    deconfig)
        ip link set "$interface" up
        ;;
esac
