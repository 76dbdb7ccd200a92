#!/bin/sh
# Builds one 64-bit conformance guest, or all: build.sh OUTPUT-FOLDER [NAME...]. The ELF file is a 32-bit one, which
# is what multiboot loaders take; its code is 64-bit code but for the first instructions.
set -eu
here=$(dirname -- "$0")
out=$1
shift
[ $# -gt 0 ] || set -- $(cd "$here" && ls *.c | sed 's/\.c$//' | grep -v '^conformance$')
for name; do
    gcc -m64 -O1 -g0 -Wall -Wextra -Werror -Wno-main -Wno-clobbered -ffreestanding -fno-pic -fno-pie -no-pie -static \
        -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -fno-toplevel-reorder -nostdlib \
        -mno-red-zone -mgeneral-regs-only -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-n -Wl,-z,max-page-size=4096 \
        -Wl,-T,"$here/../conformance/link.ld" -o "$out/$name.64" "$here/crt.S" "$here/conformance.c" "$here/$name.c"
    objcopy -O elf32-i386 "$out/$name.64" "$out/$name.elf"
done
