/*
 * Does something before it stops at ^Z and when it goes on, as editors do; with an argument it does not stop at all. It ends
 * with status 8 when it has read a line.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static void say(const char *s, size_t n) {
    if (write(1, s, n) < 0) {
        _exit(1);
    }
}

static void stop(int sig) {
    sigset_t set;
    say("cleanup\n", 8);
    signal(sig, SIG_DFL);
    raise(sig);
    sigemptyset(&set);
    sigaddset(&set, sig);
    sigprocmask(SIG_UNBLOCK, &set, NULL); /* stops here */
    signal(sig, stop);
    say("resumed\n", 8);
}

int main(int argc, char **argv) {
    (void)argv;
    signal(SIGTSTP, argc > 1 ? SIG_IGN : stop);
    FILE *pid = fopen("pid", "w");
    fprintf(pid, "%d\n", (int)getpid());
    fclose(pid);
    return getchar() == EOF ? 1 : 8;
}
