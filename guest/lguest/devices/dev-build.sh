#!/bin/sh
# Builds one device guest: dev-build.sh OUTPUT-FOLDER DIALECT PROGRAM, for example dev-build.sh out E basic. DIALECT is
# A to F, or P for a PC. Needs gcc and binutils, no 32-bit libraries.
set -eu
here=$(dirname -- "$0")
out=$1 dialect=$2 program=$3
offset=0
case $dialect in
    A) offset=0xC0000000 drivers=$here/dev-dma.c ;;
    F | P) drivers="$here/dev-pci.c $here/dev-vring.c" ;;
    *) drivers="$here/dev-page.c $here/dev-vring.c" ;;
esac
gcc -m32 -march=i686 -O1 -g0 -Wall -Wextra -Werror -Wno-main -Wno-array-bounds -ffreestanding -fno-pic -fno-pie -no-pie \
    -static -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -nostdlib -mno-sse -mno-mmx \
    "-DDIALECT='$dialect'" "-DDIALECT_$dialect" "-DOFFSET=$offset" \
    -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-n -Wl,--defsym=OFFSET=$offset -Wl,-T,"$here/dev-link.ld" \
    -o "$out/dev-$program-$dialect.elf" "$here/dev-crt.S" "$here/dev-base.c" "$here/dev-$program.c" $drivers
