#!/bin/busybox sh
# First process of a guest that starts from an image of `lhype images`. Lhype puts this file into the initramfs as
# /init. It loads the drivers of the devices it finds, then goes on to the root file system that root= names, or
# stays in memory and opens a shell on the console.

export PATH=/sbin:/bin:/usr/sbin:/usr/bin HOME=/root

/bin/busybox mount -t proc -o nosuid,nodev,noexec proc /proc
/bin/busybox mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
/bin/busybox mount -t devtmpfs -o nosuid,mode=0755 devtmpfs /dev
/bin/busybox --install -s /bin
mkdir -p /dev/pts /dev/shm
mount -t devpts -o nosuid,noexec,gid=5,mode=620 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev shm /dev/shm
mount -t tmpfs -o nosuid,nodev,mode=0755 run /run

# One driver per device on the virtio bus; the kernel names the device, modules.alias names the driver.
modprobe -q virtio_pci
for file in /sys/bus/virtio/devices/*/modalias; do
    [ -e "$file" ] && modprobe -q "$(cat "$file")"
done

# What the kernel would do with these itself (Documentation/admin-guide/kernel-parameters.rst).
root= rootfstype= rootflags= mode=ro wait=5 delay=0 next= ip=dhcp
set -f
for word in $(cat /proc/cmdline); do
    case $word in
        root=*) root=${word#root=} ;;
        rootfstype=*) rootfstype=${word#rootfstype=} ;;
        rootflags=*) rootflags=${word#rootflags=} ;;
        ro | rw) mode=$word ;;
        rootwait) wait=1000000 ;;
        rootwait=*) wait=${word#rootwait=} ;;
        rootdelay=*) delay=${word#rootdelay=} ;;
        init=*) next=${word#init=} ;;
        ip=*) ip=${word#ip=} ;;
    esac
done
set +f

# Prints the device that root= means, once it is there.
root_device()
{
    case $root in
        UUID=* | LABEL=*) findfs "$root" 2>/dev/null ;;
        *) [ -b "$root" ] && echo "$root" ;;
    esac
}

# Prints the type of file system on device $1, by the magic numbers; ext4 serves ext2 and ext3 as well.
type_of()
{
    if [ "$(head -c 4 "$1")" = XFSB ]; then
        echo xfs
    elif [ "$(dd if="$1" bs=64 skip=1025 count=1 2>/dev/null | head -c 8)" = _BHRfS_M ]; then
        echo btrfs
    else
        echo ext4
    fi
}

# Mounts device $1 on /root as the first of the file systems named by rootfstype=, or as what it holds.
mount_root()
{
    for type in $(echo "${rootfstype:-$(type_of "$1")}" | tr , ' '); do
        modprobe -q "$type"
        mount -t "$type" -o "$mode${rootflags:+,$rootflags}" "$1" /root && return
    done
}

# Mounts root= on /root and becomes its init. Comes back only when that failed.
switch_to_root()
{
    [ "$delay" = 0 ] || sleep "$delay"
    tries=$((wait * 10))
    until device=$(root_device); do
        [ $tries -gt 0 ] || { echo "init: root=$root is not there; a shell from memory instead." ; return; }
        tries=$((tries - 1))
        sleep 0.1
    done

    if ! mount_root "$device"; then
        echo "init: cannot mount root=$root; a shell from memory instead."
        return
    fi

    for candidate in $next /sbin/init /etc/init /bin/init /bin/sh; do
        # A link is fine even when its target is only valid below the new root.
        if [ -x "/root$candidate" ] || [ -h "/root$candidate" ]; then
            for directory in /proc /sys /dev /run; do
                mount --move "$directory" "/root$directory" 2>/dev/null || umount -l "$directory"
            done

            exec switch_root /root "$candidate" "$@"
        fi
    done

    umount /root
    echo "init: root=$root has no init program; a shell from memory instead."
}

# The drivers of the ACPI power button and of the file it is read from.
button="button evdev"
if [ -n "$root" ]; then
    # The root file system may have programs that listen to it, and no modules for this kernel.
    modprobe -qa $button
    switch_to_root "$@"
fi

# Brings eth0 up as ip= says: ADDRESS/BITS, the kernel's CLIENT:SERVER:GATEWAY:MASK, dhcp (which is what
# happens without ip=), or off.
network()
{
    [ -d /sys/class/net/eth0 ] || return
    case $ip in
        off | none) return ;;
        dhcp | on | any) udhcpc -i eth0 -n -q -t 3 -T 1 -s /etc/udhcpc.sh >/dev/null 2>&1 & return ;;
    esac
    address=${ip%%:*} gateway=$(echo "$ip" | cut -s -d : -f 3) mask=$(echo "$ip" | cut -s -d : -f 4)
    ip address add "$address${mask:+/$mask}" broadcast + dev eth0
    ip link set eth0 up
    [ -z "$gateway" ] || ip route add default via "$gateway"
}

# Waits for the power button (lhype stop) and powers off in good order.
power_button()
{
    modprobe -qa $button
    for event in /sys/class/input/event*; do
        [ "$(cat "$event/device/name" 2>/dev/null)" = "Power Button" ] || continue
        dd if="/dev/input/${event##*/}" of=/dev/null bs=64 count=1 2>/dev/null
        echo "init: the power button was pressed." >/dev/console
        kill -TERM -1
        sync
        umount -a -r 2>/dev/null
        poweroff -f
    done
}

power_button &

hostname lhype
ifconfig lo 127.0.0.1 2>/dev/null
network
cd /root
echo "Lhype guest: Linux $(uname -r) on $(uname -m) with busybox, all in memory; nothing is kept."
echo "Type 'poweroff -f' or 'exit' to end it."

# A session of its own with the console as its terminal, so that Ctrl-C and job control work.
setsid cttyhack sh -l
poweroff -f
