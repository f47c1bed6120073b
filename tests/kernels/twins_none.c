#include "twins.h"

const struct twin fkv_twins[1];
const int fkv_n_twins = 0;
