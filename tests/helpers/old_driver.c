// A driver of NVIDIA's that is too old: all that CUDA's runtime asks it for is its version, 11.4.
#include <string.h>

int cuDriverGetVersion(int *version) {
    *version = 11040;
    return 0;
}

static int refuse(void) { return 999; }

int cuGetProcAddress(const char *name, void **function, int version, unsigned long flags) {
    *function = (void *)refuse;
    if (!strcmp(name, "cuDriverGetVersion")) *function = (void *)cuDriverGetVersion;
    if (!strcmp(name, "cuGetProcAddress")) *function = (void *)cuGetProcAddress;
    return 0;
}

int cuGetProcAddress_v2(const char *name, void **function, int version, unsigned long flags, int *status) {
    if (status) *status = 0;
    return cuGetProcAddress(name, function, version, flags);
}
