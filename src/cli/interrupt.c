#define _GNU_SOURCE
#include <signal.h>
#include <stdatomic.h>

#include "cli/interrupt.h"

static fkv_session *_Atomic watched;
static volatile sig_atomic_t seen;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    seen = 1;
    fkv_session *session = watched;
    if (session) fkv_session_cancel(session);
}

void interrupt_watch(fkv_session *session)
{
    struct sigaction action = {.sa_handler = on_interrupt,
                               .sa_flags = SA_RESETHAND}; /* no SA_RESTART: reading a line ends too */
    sigemptyset(&action.sa_mask);
    seen = 0;
    watched = session;
    sigaction(SIGINT, &action, NULL);
}

void interrupt_unwatch(void)
{
    signal(SIGINT, SIG_DFL);
    watched = NULL;
}

bool interrupted(void) { return seen; }
