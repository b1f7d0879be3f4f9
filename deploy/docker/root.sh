#!/bin/sh
# What is in the image: root.sh PROGRAM DIRECTORY puts the program and the libraries it is linked with into DIRECTORY.
# The Dockerfile runs it, and the test that tries the image's content on this host.
set -eu
program=$1
root=$2

install -d -m 0755 "$root" "$root/etc"
install -D -m 0755 "$program" "$root/usr/bin/dbgov"
strip "$root/usr/bin/dbgov"
# The loader and the libraries, at the paths by which they are looked for.
ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
	install -D -m 0755 "$library" "$root$library"
done
# Public authorities, for sinks over TLS.
install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
# Names of users and groups: the DaemonSet mounts the host's over these.
echo 'root:x:0:0:root:/:/usr/sbin/nologin' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
