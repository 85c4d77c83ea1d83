#!/bin/sh
# Media has a certificate and its key before it starts: (1) those of MEDIA_TLS_FULLCHAIN_B64 and MEDIA_TLS_PRIVKEY_B64,
# which `files` of vars.yaml has written by now; (2) else those that are here; (3) else self-signed ones for PRIVATE_IP.
set -eu
umask 077

certificate=tls/fullchain.pem
key=tls/privkey.pem

fail() {
    echo "$1" >&2
    exit 1
}

if [ -n "${MEDIA_TLS_FULLCHAIN_B64:-}" ] && [ -z "${MEDIA_TLS_PRIVKEY_B64:-}" ]; then
    fail "MEDIA_TLS_FULLCHAIN_B64 is set and MEDIA_TLS_PRIVKEY_B64 is not: set both, or none"
fi
if [ -z "${MEDIA_TLS_FULLCHAIN_B64:-}" ] && [ -n "${MEDIA_TLS_PRIVKEY_B64:-}" ]; then
    fail "MEDIA_TLS_PRIVKEY_B64 is set and MEDIA_TLS_FULLCHAIN_B64 is not: set both, or none"
fi

# A boot that was cut off between the last two moves below.
if [ -s "$key" ] && [ ! -e "$certificate" ] && [ -s tls/.new/fullchain.pem ]; then
    mv tls/.new/fullchain.pem "$certificate"
fi
if [ -s "$certificate" ] && [ -s "$key" ]; then
    exit 0
fi
if [ -e "$certificate" ] || [ -e "$key" ]; then
    fail "only one of $certificate and $key is in $PWD, or one is empty: add the other one, or remove both"
fi

command -v openssl >/dev/null ||
    fail "there is no certificate, and no openssl to make one: install openssl, or set MEDIA_TLS_FULLCHAIN_B64 and MEDIA_TLS_PRIVKEY_B64"
[ -n "${PRIVATE_IP:-}" ] || fail "PRIVATE_IP has no value: the certificate would name nobody"

names="IP:$PRIVATE_IP"
if [ -n "${MEDIA_TLS_SAN_DNS:-}" ]; then
    names="$names,DNS:$MEDIA_TLS_SAN_DNS"
fi

# Made beside them and moved when both are whole.
mkdir -p tls
chmod 0755 tls
rm -rf tls/.new
mkdir tls/.new
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 825 \
    -subj "/CN=$PRIVATE_IP" -addext "subjectAltName=$names" \
    -keyout tls/.new/privkey.pem -out tls/.new/fullchain.pem
chmod 0644 tls/.new/fullchain.pem
mv tls/.new/privkey.pem "$key"
mv tls/.new/fullchain.pem "$certificate"
rmdir tls/.new
echo "made a self-signed certificate for $names"
