/* Does something before it stops at ^Z and when it goes on, as editors do; ends with status 8 when there is a file "stop". */
#include <signal.h>
#include <stdio.h>
#include <time.h>
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

int main(void) {
    signal(SIGTSTP, stop);
    FILE *pid = fopen("pid", "w");
    fprintf(pid, "%d\n", (int)getpid());
    fclose(pid);
    while (access("stop", F_OK)) {
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return 8;
}
