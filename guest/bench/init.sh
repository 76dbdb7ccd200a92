#!/bin/busybox sh
# First process of a guest whose devices are measured: loads the drivers of the virtio devices that are there,
# brings up the network card if the kernel command line has address=, and becomes the benchmark program. The
# harness (bench/Lhype.Bench) puts it over /init of the image.

export PATH=/bin
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
modprobe -q virtio_pci
for file in /sys/bus/virtio/devices/*/modalias; do
    [ -e "$file" ] && modprobe -q "$(cat "$file")"
done

[ -z "$address" ] || ifconfig eth0 "$address" netmask 255.255.255.0 up
exec /bench
