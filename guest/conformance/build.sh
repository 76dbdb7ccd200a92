#!/bin/sh
# Builds one conformance guest, or all: build.sh OUTPUT-FOLDER [NAME...]. Needs gcc and binutils, no 32-bit libraries.
set -eu
here=$(dirname -- "$0")
out=$1
shift
[ $# -gt 0 ] || set -- $(cd "$here" && ls *.c | sed 's/\.c$//' | grep -v '^conformance$')
for name; do
    gcc -m32 -march=i686 -O1 -g0 -Wall -Wextra -Werror -Wno-main -ffreestanding -fno-pic -fno-pie -no-pie -static \
        -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -fno-toplevel-reorder -nostdlib \
        -mno-sse -mno-mmx -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-n -Wl,-T,"$here/link.ld" \
        -o "$out/$name.elf" "$here/crt.S" "$here/conformance.c" "$here/$name.c"
done
