/* killed.h: a test that runs itself again and kills it at some moment: what is left is to be whole. Include after
   cmocka's headers. */
#ifndef SUPPORT_KILLED_H
#define SUPPORT_KILLED_H

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Runs this program with two arguments, which writes a byte to its output when it begins its work, and kills it so long
   after that. */
static inline void run_and_kill(const char *argument, const char *folder, long after_ns)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ready[1], STDOUT_FILENO);
        close(ready[0]);
        execl("/proc/self/exe", "test", argument, folder, (char *)NULL);
        _exit(99);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    nanosleep(&(struct timespec){0, after_ns}, NULL);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(ready[0]);
}

#endif
