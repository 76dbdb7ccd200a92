# A store whose second half is on a read-only page changes nothing and reports the second page in CR2.
# expect: vector=14 error=7 cr2=READONLY

    mov eax, -1
    mov [READONLY-2], eax
