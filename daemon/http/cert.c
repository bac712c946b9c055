/* The self-signed certificate of a demo or a first start; an administrator replaces the two files. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/file.h"
#include "base/id.h"
#include "daemon/http.h"

#define VALID_DAYS 825 /* the most that browsers take */

static void free_key(EVP_PKEY **p)
{
	EVP_PKEY_free(*p);
}

static void free_cert(X509 **p)
{
	X509_free(*p);
}

static void free_bio(BIO **p)
{
	BIO_free(*p);
}

static bool add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool ok = e && X509_add_ext(cert, e, -1);
	X509_EXTENSION_free(e);
	return ok;
}

static int put_names(struct hs_buf *b, const char *const *names, size_t n)
{
	int rc = 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		uint8_t address[16];
		bool ip = inet_pton(AF_INET, names[i], address) == 1 || inet_pton(AF_INET6, names[i], address) == 1;
		if (strpbrk(names[i], ", \t\n:") && !ip)
			return -EINVAL; /* would be read as another field */
		rc = hs_buf_printf(b, "%s%s:%s", b->len ? "," : "", ip ? "IP" : "DNS", names[i]);
	}
	return rc;
}

static bool fill(X509 *cert, EVP_PKEY *key, const char *subject_alt)
{
	uint8_t serial[16];
	hs_random(serial, sizeof serial);
	serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40); /* positive, and of constant length */
	BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
	bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
	BN_free(number);
	X509_NAME *name = X509_get_subject_name(cert);
	return ok && X509_set_version(cert, X509_VERSION_3) && X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
	       X509_gmtime_adj(X509_getm_notAfter(cert), (long)VALID_DAYS * 86400) && X509_set_pubkey(cert, key) &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)"Hisho (self-signed)", -1, -1, 0) &&
	       X509_set_issuer_name(cert, name) && add_extension(cert, NID_subject_alt_name, subject_alt) &&
	       add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(cert, NID_key_usage, "critical,digitalSignature") && add_extension(cert, NID_ext_key_usage, "serverAuth") &&
	       X509_sign(cert, key, EVP_sha256());
}

static int replace_from(BIO *bio, const char *file, mode_t mode)
{
	char *data;
	long n = BIO_get_mem_data(bio, &data);
	return n > 0 ? hs_file_replace(AT_FDCWD, file, data, (size_t)n, mode) : -ENOMEM;
}

int hs_tls_make_demo(const char *key_file, const char *cert_file, const char *const *names, size_t n_names, struct hs_err *err)
{
	if (access(key_file, F_OK) == 0 && access(cert_file, F_OK) == 0)
		return 0;
	HS_BUF_AUTO alt = HS_BUF_INIT;
	int rc = put_names(&alt, names, n_names);
	const char *alt_text = rc == 0 ? hs_buf_cstr(&alt) : NULL;
	HS_CLEANUP(free_key) EVP_PKEY *key = EVP_EC_gen("P-256");
	HS_CLEANUP(free_cert) X509 *cert = X509_new();
	HS_CLEANUP(free_bio) BIO *key_pem = BIO_new(BIO_s_secmem()), *cert_pem = BIO_new(BIO_s_mem());
	if (!alt_text || !key || !cert || !key_pem || !cert_pem || !fill(cert, key, alt_text) ||
	    !PEM_write_bio_PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL) || !PEM_write_bio_X509(cert_pem, cert))
		return hs_fail(err, rc < 0 ? -rc : EINVAL, "tls.certificate", HS_N_("No certificate could be made for these names."), "%s",
			       alt_text ? alt_text : "");
	rc = replace_from(key_pem, key_file, 0600);
	if (rc == 0)
		rc = replace_from(cert_pem, cert_file, 0644);
	return rc < 0 ? hs_fail_errno(err, rc, "tls.write", key_file) : 0;
}
