# PUSH ESP stores the old value, POP ESP the popped one, [ESP]-relative PUSH and POP follow SDM vol. 2.

    push esp
    pop eax
    push dword ptr [esp+4]
    pop dword ptr [esp+8]
    push esp
    push dword ptr [esp]
    pop ecx
    pop edx
    mov ebx, esp
    push ebx
    pop esp
    push 0x30001e00
    pop esp
    push eax
    pop dword ptr [esp]
    pop dword ptr [esp-8]
