#include "crypto/passphrase.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <sodium.h>

#include "crypto/key.h"

void hs_passphrase_destroy(struct hs_passphrase *p)
{
	sodium_free(p); /* wipes, and takes NULL */
}

void hs_passphrase_drop(struct hs_passphrase **p)
{
	hs_passphrase_destroy(*p);
}

static int read_line(int fd, struct hs_passphrase *p, const volatile sig_atomic_t *stopped)
{
	while (p->len < sizeof p->bytes) {
		if (*stopped)
			return -EINTR;
		ssize_t n = read(fd, p->bytes + p->len, sizeof p->bytes - p->len);
		if (n < 0 && errno == EINTR && !*stopped)
			continue;
		if (n < 0)
			return -errno;
		const uint8_t *end = memchr(p->bytes + p->len, '\n', (size_t)n);
		p->len = end ? (size_t)(end - p->bytes) : p->len + (size_t)n;
		if (end || n == 0)
			break;
	}
	return 0;
}

/* --- at a terminal --- */

static volatile sig_atomic_t stopped_by; /* the signal that came while echo was off */

static void on_signal(int number)
{
	stopped_by = number;
}

static const int enders[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static int ask(int fd, const char *prompt, struct hs_passphrase *p)
{
	struct termios before, quiet;
	struct sigaction old[HS_ARRAY_LEN(enders)];
	const struct sigaction noted = {.sa_handler = on_signal}; /* without SA_RESTART: read() returns */
	if (tcgetattr(fd, &before) < 0)
		return -errno;
	stopped_by = 0;
	for (size_t i = 0; i < HS_ARRAY_LEN(enders); i++) { /* known signals: cannot fail */
		(void)sigaction(enders[i], NULL, &old[i]);
		if (old[i].sa_handler != SIG_IGN)
			(void)sigaction(enders[i], &noted, NULL);
	}
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	int rc = tcsetattr(fd, TCSAFLUSH, &quiet) < 0 ? -errno : 0;
	if (rc == 0) {
		(void)fputs(prompt, stderr); /* a prompt that cannot be shown is still answered */
		rc = read_line(fd, p, &stopped_by);
		(void)fputc('\n', stderr);
		(void)tcsetattr(fd, TCSAFLUSH, &before); /* it could be set a moment ago */
	}
	for (size_t i = 0; i < HS_ARRAY_LEN(enders); i++)
		(void)sigaction(enders[i], &old[i], NULL);
	if (stopped_by)
		(void)raise(stopped_by); /* now as it would have been */
	return stopped_by ? -EINTR : rc;
}

int hs_passphrase_read(int fd, const char *prompt, struct hs_passphrase **ret, struct hs_err *err)
{
	static const volatile sig_atomic_t never;
	HS_PASSPHRASE_AUTO p = hs_crypto_init() == 0 ? sodium_malloc(sizeof *p) : NULL;
	if (!p)
		return hs_fail_errno(err, -ENOMEM, "keyring.passphrase", "");
	p->len = 0;
	int rc = isatty(fd) ? ask(fd, prompt, p) : read_line(fd, p, &never);
	if (rc < 0)
		return hs_fail_errno(err, rc, "keyring.passphrase", "");
	if (p->len > HS_PASSPHRASE_MAX)
		return hs_fail(err, EINVAL, "keyring.passphrase", HS_N_("The passphrase is too long."), "more than %d bytes",
			       HS_PASSPHRASE_MAX);
	if (p->len < HS_PASSPHRASE_MIN)
		return hs_fail(err, EINVAL, "keyring.passphrase", HS_N_("The passphrase is too short, or none was given."),
			       "%zu bytes, %d at least", p->len, HS_PASSPHRASE_MIN);
	*ret = p;
	p = NULL;
	return 0;
}
