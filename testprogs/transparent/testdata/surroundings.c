/*
 * Prints what a program inherits from the one that starts it: everything of this must be the same with and without rmemrun.
 * What may differ (numbers of processes, addresses) is not printed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <termios.h>
#include <unistd.h>

extern char **environ;

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The lines of /proc/self/FILE that begin with one of the names. */
static void lines(const char *file, const char *const names[]) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/self/%s", file);
    FILE *f = fopen(path, "r");
    if (!f) {
        printf("%s: %s\n", path, strerror(errno));
        return;
    }
    while (fgets(line, sizeof line, f)) {
        for (int i = 0; names[i]; i++) {
            if (!strncmp(line, names[i], strlen(names[i]))) {
                fputs(line, stdout);
            }
        }
    }
    fclose(f);
}

static void signals(void) {
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    for (int s = 1; s <= SIGRTMAX; s++) {
        struct sigaction a;
        if (sigaction(s, NULL, &a)) {
            continue;
        }
        if (sigismember(&mask, s) || a.sa_handler != SIG_DFL || a.sa_flags) {
            printf("signal %d: %s%s, flags %x\n", s, a.sa_handler == SIG_IGN ? "ignored" : a.sa_handler == SIG_DFL ? "default" : "handler",
                   sigismember(&mask, s) ? ", blocked" : "", a.sa_flags);
        }
    }
    stack_t st;
    sigaltstack(NULL, &st);
    printf("alternate stack: %s\n", st.ss_flags & SS_DISABLE ? "none" : "some");
    struct itimerval it;
    for (int i = ITIMER_REAL; i <= ITIMER_PROF; i++) {
        getitimer(i, &it);
        printf("timer %d: %ld.%06ld\n", i, (long)it.it_value.tv_sec, (long)it.it_value.tv_usec);
    }
}

static void descriptors(void) {
    for (int fd = 0; fd < 1024; fd++) {
        struct stat st;
        if (fstat(fd, &st)) {
            continue;
        }
        printf("descriptor %d: type %o, status flags %x, descriptor flags %x", fd, st.st_mode & S_IFMT, fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
        if (isatty(fd)) {
            printf(", terminal, foreground %s", tcgetpgrp(fd) == getpgrp() ? "yes" : "no");
        }
        putchar('\n');
    }
}

static void limits(void) {
    for (int r = 0; r < RLIM_NLIMITS; r++) {
        struct rlimit l;
        if (!getrlimit(r, &l)) {
            printf("limit %d: %llx %llx\n", r, (unsigned long long)l.rlim_cur, (unsigned long long)l.rlim_max);
        }
    }
}

int main(int argc, char **argv) {
    for (int i = 0; i < argc; i++) {
        printf("argument %d: %s\n", i, argv[i]);
    }
    int n = 0;
    while (environ[n]) {
        n++;
    }
    qsort(environ, n, sizeof *environ, by_name);
    for (int i = 0; i < n; i++) {
        /* Documented additions, and the program that a shell started, which is rmemrun. */
        if (strncmp(environ[i], "RMEM_NODE", 9) && strncmp(environ[i], "_=", 2)) {
            printf("environment: %s\n", environ[i]);
        }
    }
    printf("name executed: %s\n", (char *)getauxval(AT_EXECFN));
    printf("secure execution: %lu\n", getauxval(AT_SECURE));
    char cwd[4096], root[4096];
    ssize_t l = readlink("/proc/self/root", root, sizeof root - 1);
    root[l < 0 ? 0 : l] = 0;
    printf("directory: %s, root %s\n", getcwd(cwd, sizeof cwd) ? cwd : strerror(errno), root);
    mode_t mask = umask(0);
    umask(mask);
    printf("umask: %03o\n", mask);
    signals();
    descriptors();
    limits();
    int sig = -1;
    prctl(PR_GET_PDEATHSIG, &sig);
    printf("parent-death signal: %d\n", sig);
    printf("dumpable: %d, keep capabilities: %d, child subreaper: ", prctl(PR_GET_DUMPABLE), prctl(PR_GET_KEEPCAPS));
    int reaper = -1;
    prctl(PR_GET_CHILD_SUBREAPER, &reaper);
    printf("%d, timer slack: %d, transparent huge pages off: %d\n", reaper, prctl(PR_GET_TIMERSLACK), prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    printf("securebits: %x, time stamp counter: %d\n", prctl(PR_GET_SECUREBITS), prctl(PR_GET_TSC, &sig));
    if (getuid() == 0) { /* without privilege a seccomp filter is to be had only with it: see docs/engines.md */
        printf("no new privileges: %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    }
    printf("personality: %x\n", personality(0xffffffff));
    cpu_set_t cpus;
    printf("processors: %d\n", sched_getaffinity(0, sizeof cpus, &cpus) ? -1 : CPU_COUNT(&cpus));
    printf("scheduling: policy %d, nice %d\n", sched_getscheduler(0), getpriority(PRIO_PROCESS, 0));
    printf("group: %s, session: %s\n", getpgrp() == getpid() ? "leader" : "member", getsid(0) == getpid() ? "leader" : "member");
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    printf("controlling terminal: %s\n", tty < 0 ? "none" : "yes");
    puts("status:");
    lines("status", (const char *const[]){"Name", "Umask", "Uid", "Gid", "Groups", "Threads", "SigPnd", "ShdPnd", "SigBlk",
                                          "SigIgn", "SigCgt", "Cap", "CoreDumping", "THP_enabled", "Cpus_allowed", "Mems_allowed", NULL});
    puts("files:");
    fflush(stdout);
    char path[64], value[64];
    const char *const files[] = {"oom_score_adj", "coredump_filter", "timerslack_ns", "loginuid", "sessionid", NULL};
    for (int i = 0; files[i]; i++) {
        snprintf(path, sizeof path, "/proc/self/%s", files[i]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        l = fd < 0 ? -1 : read(fd, value, sizeof value - 1);
        close(fd);
        value[l < 0 ? 0 : l] = 0;
        printf("%s: %s\n", files[i], strtok(value, "\n"));
    }
    return 0;
}
