/* Breaks one rule of the devices, the one named by misuse= on the command line. It must not survive that. */

#include "dev.h"

void main(void)
{
    u32 crime = option("misuse", 1);
    check("there is such a crime", commit(crime), 1);
    print("alive\n");
}
