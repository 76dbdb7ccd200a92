/* Traps caught like exceptions: a statement is tried, and the guest's trap handler comes back behind it by
   restore_context(&catcher) while `catching` is set. For guests that bring fault, catcher, catching and user_stack. */

#ifndef CATCH_H
#define CATCH_H

#include "guest.h"

struct context {
    u32 ebx, esi, edi, ebp, esp, eip;
};

int save_context(struct context *context) __attribute__((returns_twice));
void restore_context(struct context *context) __attribute__((noreturn));
void enter_user(const void *eip, u32 esp, u32 eflags);

/* Runs a statement; the value is the vector of the exception it raised, or NONE. Details are in fault. */
#define TRY(statement) \
    ({ \
        fault.vector = NONE; \
        if (save_context(&catcher) == 0) { \
            catching = 1; \
            statement; \
            catching = 0; \
        } \
        fault.vector; \
    })

/* Runs code at CPL 3 until a trap; INT 0x80 is the orderly one. */
#define USER(label) TRY(enter_user(label, (u32)(user_stack + sizeof(user_stack)), 0x202))

#endif
