/* Stands in for team_openmp.c in a build without OpenMP: one thread. */
#include "base/team_internal.h"

int fkv_team_limit(void) { return 1; }

void fkv_team_start(struct fkv_team *team, fkv_team_fn fn, void *arg)
{
    team->n_active = 1;
    fn(arg, 0);
}
