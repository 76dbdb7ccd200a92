#!/bin/sh
# Builds the lguest test guest for one dialect: build.sh OUTPUT-FILE A|B|C|D|E|F [silent]. "silent" leaves out the note
# that states the dialect, so that the host has to find it. Needs gcc and binutils, no 32-bit libraries.
set -eu
here=$(dirname -- "$0")
case $2 in
    A) number=0 offset=0xC0000000 ;;
    B) number=1 offset=0 ;;
    C) number=2 offset=0 ;;
    D) number=3 offset=0 ;;
    E) number=4 offset=0 ;;
    F) number=5 offset=0 ;;
    *) echo "build.sh: no dialect $2" >&2; exit 2 ;;
esac
note=
[ "${3:-}" = silent ] || note=-DNOTE
gcc -m32 -march=i686 -O1 -g0 -Wall -Wextra -Werror -Wno-main -ffreestanding -fno-pic -fno-pie -no-pie -static \
    -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -fno-toplevel-reorder -nostdlib \
    -mno-sse -mno-mmx -mno-80387 -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-n -Wl,--no-warn-rwx-segments \
    -DDIALECT=$number -DOFFSET=$offset $note -Wl,--defsym=OFFSET=$offset -Wl,-T,"$here/link.ld" \
    -o "$1" "$here"/*.S "$here"/*.c
