/* The floor for a clean-up of an index: the least that any program must do.
 *
 * usage: floor INDEX DIRECTORY DROPS
 *
 * DROPS holds one line for each member to drop, in the order of the index: the offset of its first
 * byte, its length in bytes, and the name of its file. The program unlinks each file, copies the
 * index without the dropped ranges in pieces of 1 MB, flushes the copy to the disk and puts it in
 * the index's place. It parses, checks and decides nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static char in[1 << 20], out[1 << 20];
static long long in_start, in_end;
static size_t out_used;

static void flush(int to)
{
    for (size_t done = 0; done < out_used;) {
        ssize_t put = write(to, out + done, out_used - done);
        if (put < 0)
            die("write");
        done += (size_t)put;
    }
    out_used = 0;
}

static void copy_range(int from, int to, long long start, long long end)
{
    while (start < end) {
        if (start < in_start || start >= in_end) {
            ssize_t got = pread(from, in, sizeof in, start);
            if (got <= 0)
                die("read");
            in_start = start;
            in_end = start + got;
        }
        long long here = (end < in_end ? end : in_end) - start;
        if (here > (long long)(sizeof out - out_used))
            here = (long long)(sizeof out - out_used);
        memcpy(out + out_used, in + (start - in_start), (size_t)here);
        out_used += (size_t)here;
        start += here;
        if (out_used == sizeof out)
            flush(to);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: floor INDEX DIRECTORY DROPS\n");
        return 2;
    }
    int directory = open(argv[2], O_RDONLY | O_DIRECTORY);
    int index = open(argv[1], O_RDONLY);
    FILE *drops = fopen(argv[3], "r");
    if (directory < 0 || index < 0 || !drops)
        die("open");
    int fresh = openat(directory, "floor.tmp", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fresh < 0)
        die("create");

    long long offset, length, done = 0;
    char name[256];
    while (fscanf(drops, "%lld %lld %255s", &offset, &length, name) == 3) {
        if (unlinkat(directory, name, 0) < 0)
            die(name);
        copy_range(index, fresh, done, offset);
        done = offset + length;
    }
    copy_range(index, fresh, done, lseek(index, 0, SEEK_END));
    flush(fresh);
    if (fsync(fresh) < 0)
        die("fsync");
    if (renameat(directory, "floor.tmp", AT_FDCWD, argv[1]) < 0)
        die("rename");
    if (fsync(directory) < 0)
        die("fsync of the directory");
    return 0;
}
