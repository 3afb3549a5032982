/*
 * Does wrong what CANARY names, when nginx loads it: were it not reported, the sanitizers would
 * see nothing (`make test-asan`). It is no module: nginx refuses it right afterwards.
 */
#include <stdlib.h>
#include <string.h>

static volatile int thirty_two = 32;
static volatile char seen;

__attribute__((constructor)) static void canary(void)
{
    const char *what = getenv("CANARY");
    volatile char *bytes = malloc(4321);

    *bytes = 1;
    if (what != NULL && strcmp(what, "leak") == 0) {
        bytes = NULL;
        return;
    }
    free((void *) bytes);
    if (what != NULL && strcmp(what, "freed") == 0) {
        seen = *bytes;
    }
    if (what != NULL && strcmp(what, "undefined") == 0) {
        seen = (char) (1 << thirty_two);
    }
}
