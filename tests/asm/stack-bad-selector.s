# Loading a selector beyond the GDT limit raises #GP(selector).
# expect: vector=13 error=0xfff8
# kernel: no

    mov eax, 0xfff8
    mov es, eax
