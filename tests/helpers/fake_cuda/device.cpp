// Stands in, by LD_PRELOAD, for what torch asks the CUDA runtime about its devices: how many there
// are, and their properties, here those of an H100.
#include <cstdint>
#include <cstring>

#include "driver_types.h"

static int8_t devices = 0;
static cudaDeviceProp h100;

// Called once torch is imported: from here on there are so many devices.
extern "C" void set_device_count(int count) {
    std::memset(&h100, 0, sizeof h100);
    std::strcpy(h100.name, "stand-in for an H100");
    h100.major = 9;
    h100.minor = 0;
    h100.multiProcessorCount = 132;
    h100.warpSize = 32;
    h100.totalGlobalMem = 80ull << 30;
    h100.maxThreadsPerBlock = 1024;
    h100.maxThreadsPerMultiProcessor = 2048;
    h100.regsPerMultiprocessor = 65536;
    h100.sharedMemPerBlockOptin = 232448;
    h100.l2CacheSize = 50 << 20;
    devices = static_cast<int8_t>(count);
}

#define VISIBLE __attribute__((visibility("default")))

namespace c10 {
namespace cuda {
VISIBLE int8_t device_count() noexcept { return devices; }
}  // namespace cuda
}  // namespace c10

namespace at {
namespace cuda {
VISIBLE cudaDeviceProp* getCurrentDeviceProperties() { return &h100; }
VISIBLE cudaDeviceProp* getDeviceProperties(int8_t) { return &h100; }
}  // namespace cuda
}  // namespace at
