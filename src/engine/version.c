#include "fastkv.h"

const char *fkv_version(void) { return FKV_VERSION; }
