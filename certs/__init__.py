"""TLS identities for a broker and for everybody who talks to it: made, renewed, revoked and shown.

    python -m certs init tls          a CA and a first broker, backend, owner and device
    python -m certs issue tls cam-7   one more device
    python -m certs renew tls --due   what ends soon, with the same key
    python -m certs revoke tls cam-7  into the list that mosquitto reads as `crlfile`
    python -m certs show tls

`authority` says what is in a certificate (values in, values out, no files, no clock); `folder` keeps them on disk;
`__main__` is the shell command. Nothing here knows the agent or the simulator, and they know only the three file
names in an identity's folder: `tls.crt`, `tls.key`, `ca.crt`.

Rules: a private key is never overwritten without `--force`, never readable by anybody else, and never in git (each
folder ignores itself). A certificate is in the index before it is on disk, so whatever was handed out can be revoked.
"""
