// A disk that loses its power, or cannot flush: preloaded into a server that is tested.
//
// What is modelled is what POSIX promises, at its worst. A file's content and size are on the
// disk when an fsync or fdatasync of it has returned; a name, new, changed or removed, when an
// fsync of its directory has. sync_file_range promises nothing. Everything else is lost when the
// power goes; or, with FAULTY_DISK_KEEP, some of it is kept, each page of 4 KiB for itself, and
// of the changes of names the first few, as a journal keeps them.
//
// What is not modelled: sectors that are torn within, writes that land elsewhere, links, removed
// directories, copy_file_range, sendfile, mmap, and system calls made without libc. The store
// changes its files through none of these.
//
// FAULTY_DISK_FOLDER   only what lies in this folder is looked at
// FAULTY_DISK_ASIDE    a folder of the same file system, for what may have to be put back
// FAULTY_DISK_CUT_AT   after how many changes and flushes the power goes; the process ends then
// FAULTY_DISK_KEEP     the seed of what is kept besides
// FAULTY_DISK_FAIL_AT  which fdatasync fails with EIO, and loses what it should have flushed. The
//                      next ones succeed, as they do on Linux
// FAULTY_DISK_TOLD     a file to which the path of everything that was flushed is added

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096

// A change that is not on the disk yet, and how it is undone.
typedef struct Change {
    struct Change *older, *newer;
    enum { WROTE, CREATED, RENAMED, REMOVED } kind;
    // Of a write: the file. Of a name: its directory, the new one if it was renamed.
    ino_t inode;
    int fd;
    // Of a write: what stood there, with zeros behind the end.
    off_t offset, old_size;
    size_t length;
    char *old;
    // Of a name: itself, what it was called before and where, and what was there before it.
    char name[256], old_name[256];
    int old_fd;
    char aside[32];
} Change;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Change *newest;
static char folder[PATH_MAX];
static int aside = -1, told = -1;
static unsigned long cut_at, fail_at, keep, changes, flushes, put_aside;

static unsigned long number(const char *name) {
    const char *text = getenv(name);
    return text ? strtoul(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void begin(void) {
    const char *given = getenv("FAULTY_DISK_FOLDER"), *kept = getenv("FAULTY_DISK_ASIDE");
    if (!given || !kept || !realpath(given, folder)) return;
    aside = open(kept, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (getenv("FAULTY_DISK_TOLD"))
        told = open(getenv("FAULTY_DISK_TOLD"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    cut_at = number("FAULTY_DISK_CUT_AT");
    keep = number("FAULTY_DISK_KEEP");
    fail_at = number("FAULTY_DISK_FAIL_AT");
}

// Whether what is open lies in the folder, or is it.
static int is_inside(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    size_t prefix = strlen(folder);
    if (aside < 0 || length < (ssize_t)prefix || strncmp(path, folder, prefix)) return 0;
    path[length] = 0;
    return path[prefix] == 0 || path[prefix] == '/';
}

static int is_file_inside(int fd, struct stat *file) {
    return aside >= 0 && !fstat(fd, file) && S_ISREG(file->st_mode) && is_inside(fd);
}

static Change *add(int kind, ino_t inode, int fd) {
    Change *change = calloc(1, sizeof *change);
    if (!change) abort();
    change->kind = kind, change->inode = inode, change->fd = fd, change->old_fd = -1;
    change->older = newest;
    if (newest) newest->newer = change;
    return newest = change;
}

static void forget(Change *change) {
    if (change->newer) change->newer->older = change->older;
    else newest = change->older;
    if (change->older) change->older->newer = change->newer;
    if (change->kind != WROTE) close(change->fd);
    if (change->old_fd >= 0) close(change->old_fd);
    free(change->old);
    free(change);
}

static uint64_t mix(uint64_t a, uint64_t b) {
    a = (a ^ b) * 0xff51afd7ed558ccdULL;
    a = (a ^ a >> 33) * 0xc4ceb9fe1a85ec53ULL;
    return a ^ a >> 33;
}

static int is_kept(ino_t inode, uint64_t page) {
    return keep && mix(mix(keep, inode), page) % 2;
}

static void undo_write(Change *change, int cutting) {
    size_t done = 0;
    while (done < change->length) {
        off_t at = change->offset + done;
        size_t part = PAGE - at % PAGE;
        if (part > change->length - done) part = change->length - done;
        if (!cutting || !is_kept(change->inode, at / PAGE))
            syscall(SYS_pwrite64, change->fd, change->old + done, part, at);
        done += part;
    }
    if (!cutting || !is_kept(change->inode, UINT64_MAX))
        syscall(SYS_ftruncate, change->fd, change->old_size);
}

static void undo_name(Change *change) {
    char grave[32];
    snprintf(grave, sizeof grave, "lost-%lu", ++put_aside);
    if (change->kind == CREATED)
        syscall(SYS_renameat2, change->fd, change->name, aside, grave, 0);
    if (change->kind == RENAMED)
        syscall(SYS_renameat2, change->fd, change->name, change->old_fd, change->old_name, 0);
    if (change->kind != CREATED && change->aside[0])
        syscall(SYS_renameat2, aside, change->aside, change->fd, change->name, 0);
}

static void cut_the_power(void) {
    unsigned long names = 0;
    for (Change *change = newest; change; change = change->older) names += change->kind != WROTE;
    unsigned long lost = keep ? mix(keep, names) % (names + 1) : names;
    for (Change *change = newest; change; change = change->older) {
        if (change->kind == WROTE) undo_write(change, 1);
        else if (lost && lost--) undo_name(change);
    }
    syscall(SYS_exit_group, 137);
}

// Called behind each change, and before each flush.
static void count(void) {
    if (++changes == cut_at) cut_the_power();
}

// A file as this library has it open: for as long as it runs, so that no other gets its number.
static int own_of(int fd, ino_t inode) {
    static struct { ino_t inode; int fd; } known[4096];
    static int files;
    char link[64];
    for (int file = 0; file < files; file++)
        if (known[file].inode == inode) return known[file].fd;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int own = syscall(SYS_openat, AT_FDCWD, link, O_RDWR | O_CLOEXEC);
    if (own < 0 || files == 4096) abort();
    known[files].inode = inode, known[files].fd = own;
    return known[files++].fd;
}

// Notes what stands where something is about to be written.
static void will_write(int fd, off_t offset, size_t length) {
    struct stat file;
    if (!is_file_inside(fd, &file)) return;
    int own = own_of(fd, file.st_ino);
    Change *change = add(WROTE, file.st_ino, own);
    change->offset = offset, change->length = length, change->old_size = file.st_size;
    change->old = calloc(1, length + 1);
    if (!change->old || pread(own, change->old, length, offset) < 0) abort();
}

static off_t place(int fd) {
    struct stat file;
    int is_append = fcntl(fd, F_GETFL) & O_APPEND;
    return is_append && !fstat(fd, &file) ? file.st_size : lseek(fd, 0, SEEK_CUR);
}

static void will_resize(int fd, off_t size) {
    struct stat file;
    if (!is_file_inside(fd, &file)) return;
    will_write(fd, size, size < file.st_size ? file.st_size - size : 0);
}

static void tell(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    if (told >= 0 && length > 0) dprintf(told, "%.*s\n", (int)length, path);
}

static int flush(int fd, long call, int fails) {
    struct stat file;
    int is_watched = aside >= 0 && !fstat(fd, &file) && is_inside(fd);
    if (!is_watched) return syscall(call, fd);
    count();
    int flushed = fails ? -1 : syscall(call, fd);
    for (Change *older, *change = newest; change; change = older) {
        older = change->older;
        if (change->inode != file.st_ino) continue;
        // The pages count as clean from now on, and what comes back is what was there before.
        if (fails) undo_write(change, 0);
        if (fails || !flushed) forget(change);
    }
    if (!flushed) tell(fd);
    if (fails) errno = EIO;
    return flushed;
}

// The directory of a path, open, if it lies in the folder; and the name in it.
static int directory(int at, const char *path, char name[256]) {
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (aside < 0) return -1;
    int length = slash ? slash - path + 1 : 1;
    snprintf(parent, sizeof parent, "%.*s", length, slash ? path : ".");
    snprintf(name, 256, "%s", slash ? slash + 1 : path);
    int fd = syscall(SYS_openat, at, parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && is_inside(fd)) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static Change *add_name(int kind, int fd, const char *name) {
    struct stat of;
    if (fstat(fd, &of)) abort();
    Change *change = add(kind, of.st_ino, fd);
    strcpy(change->name, name);
    return change;
}

// Keeps what a name stands for, if there is anything: it may have to be put back.
static void keep_aside(int fd, const char *name, char kept[32]) {
    snprintf(kept, 32, "kept-%lu", ++put_aside);
    if (linkat(fd, name, aside, kept, 0)) kept[0] = 0;
}

static int open_in(int at, const char *path, int flags, mode_t mode) {
    char name[256];
    pthread_mutex_lock(&lock);
    int in = flags & (O_CREAT | O_TRUNC) ? directory(at, path, name) : -1;
    int is_new = in >= 0 && faccessat(in, name, F_OK, 0);
    // Cut by the call below, that it may be undone.
    int fd = syscall(SYS_openat, at, path, in >= 0 ? flags & ~O_TRUNC : flags, mode);
    int error = errno;
    if (fd >= 0 && in >= 0 && flags & O_TRUNC && !is_new) {
        will_resize(fd, 0);
        syscall(SYS_ftruncate, fd, 0);
        count();
    }
    if (fd >= 0 && is_new && flags & O_CREAT) {
        add_name(CREATED, in, name);
        count();
    } else if (in >= 0) {
        close(in);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

int openat(int at, const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_in(at, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_in(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));
int openat64(int at, const char *path, int flags, ...) __attribute__((alias("openat")));

// What a call did, and what it says of it.
static long done(long result) {
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

// The same for a call that changed a file, if it did.
static long changed(int fd, long result) {
    int error = errno;
    struct stat file;
    if (result >= 0 && is_file_inside(fd, &file)) count();
    errno = error;
    return done(result);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
    pthread_mutex_lock(&lock);
    will_write(fd, offset, length);
    return changed(fd, syscall(SYS_pwrite64, fd, bytes, length, offset));
}

ssize_t write(int fd, const void *bytes, size_t length) {
    struct stat file;
    // A pipe may make its writer wait.
    if (!is_file_inside(fd, &file)) return syscall(SYS_write, fd, bytes, length);
    pthread_mutex_lock(&lock);
    will_write(fd, place(fd), length);
    return changed(fd, syscall(SYS_write, fd, bytes, length));
}

ssize_t writev(int fd, const struct iovec *parts, int parts_count) {
    struct stat file;
    size_t length = 0;
    if (!is_file_inside(fd, &file)) return syscall(SYS_writev, fd, parts, parts_count);
    for (int part = 0; part < parts_count; part++) length += parts[part].iov_len;
    pthread_mutex_lock(&lock);
    will_write(fd, place(fd), length);
    return changed(fd, syscall(SYS_writev, fd, parts, parts_count));
}

int ftruncate64(int fd, off_t size) {
    pthread_mutex_lock(&lock);
    will_resize(fd, size);
    return changed(fd, syscall(SYS_ftruncate, fd, size));
}

int fsync(int fd) {
    pthread_mutex_lock(&lock);
    return done(flush(fd, SYS_fsync, 0));
}

int fdatasync(int fd) {
    struct stat file;
    pthread_mutex_lock(&lock);
    int fails = is_file_inside(fd, &file) && ++flushes == fail_at;
    return done(flush(fd, SYS_fdatasync, fails));
}

int mkdir(const char *path, mode_t mode) {
    char name[256];
    pthread_mutex_lock(&lock);
    int in = directory(AT_FDCWD, path, name);
    long made = syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (!made && in >= 0) add_name(CREATED, in, name), count();
    return done(made);
}

int rename(const char *from, const char *to) {
    char name[256], old_name[256], kept[32] = "";
    pthread_mutex_lock(&lock);
    int in = directory(AT_FDCWD, to, name), old_in = directory(AT_FDCWD, from, old_name);
    if (in >= 0) keep_aside(in, name, kept);
    long renamed = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (!renamed && in >= 0 && old_in >= 0) {
        Change *change = add_name(RENAMED, in, name);
        change->old_fd = old_in;
        strcpy(change->old_name, old_name), strcpy(change->aside, kept);
        count();
    }
    return done(renamed);
}

int unlink(const char *path) {
    char name[256], kept[32] = "";
    pthread_mutex_lock(&lock);
    int in = directory(AT_FDCWD, path, name);
    if (in >= 0) keep_aside(in, name, kept);
    long removed = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (!removed && in >= 0) strcpy(add_name(REMOVED, in, name)->aside, kept), count();
    return done(removed);
}

ssize_t pwrite(int, const void *, size_t, off_t) __attribute__((alias("pwrite64")));
int ftruncate(int, off_t) __attribute__((alias("ftruncate64")));
