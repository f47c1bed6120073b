/* crew.h: how many of a team's threads take part, and whether others want the cores. All, unless other programs do: a
   thread that has to share its core holds up all others at every barrier, and then fewer threads, each with a core of
   its own, are the faster. What is faster is measured, and asked again from time to time. */
#ifndef FKV_BASE_CREW_H
#define FKV_BASE_CREW_H

#include <stdbool.h>

struct fkv_crew {
    int all, now;           /* threads there are; that take part in the next region */
    const void *task;       /* what the regions of the window under way do */
    double wall_s, away_s;  /* their time, and for how long threads were kept from their core, summed over threads */
    int regions;            /* how many they are */
    int before;             /* threads before the trial under way; 0: there is none */
    double before_s;        /* a region's time then */
    bool fewer;             /* the last trial was of fewer threads */
    double again_s, wait_s; /* when the next trial may be, and how long after the last */
    double looked_s, looked_away_s; /* as wall_s and away_s, of regions of any task */
    double shared_s;                /* until when other programs are taken to want the cores */
};

void fkv_crew_init(struct fkv_crew *crew, int n_threads);
/* A region is over: what it did (regions of one task take about the same time), how long it took, how long its threads
   were kept from their core in all, and the clock now. May change crew->now. */
void fkv_crew_note(struct fkv_crew *crew, const void *task, double wall_s, double away_s, double clock_s);

#endif
