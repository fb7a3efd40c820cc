// A small HTTP server that forgets to release something with every request; /warm names the moment, /quit ends it.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tmq.h"
struct session { char user[64]; char agent[128]; };
struct request { char path[256]; struct session *session; };
static struct session *last_session;
static struct session *open_session(const char *agent) {
    struct session *s = calloc(1, sizeof *s);
    snprintf(s->agent, sizeof s->agent, "%s", agent);
    return last_session = s;
}
static void answer(int connection, const struct request *r) {
    char *body = malloc(4096);
    int n = snprintf(body, 4096, "you asked for %s\n", r->path);
    dprintf(connection, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", n, body);
    free(body);
}
static int serve(int connection) {
    char line[1024];
    ssize_t n = read(connection, line, sizeof line - 1);
    if (n <= 0) return 1;
    line[n] = 0;
    struct request *r = malloc(sizeof *r);
    if (sscanf(line, "GET %255s", r->path) != 1) strcpy(r->path, "/");
    r->session = open_session("client");
    answer(connection, r);
    int go_on = strcmp(r->path, "/quit") != 0;
    if (strcmp(r->path, "/warm") == 0) TMQ_MARK("warm");
    free(r);
    return go_on;
}
int main(void) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 16)) return perror("listen"), 1;
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (int go_on = 1; go_on;) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) continue;
        go_on = serve(connection);
        close(connection);
    }
    return last_session ? 0 : 1;
}
