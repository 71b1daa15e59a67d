#!/usr/bin/env bash
# Makes the Debian package of what was built.
#
#   tools/make-deb.sh [--binaries DIR] [--out DIR] [--version VERSION] [--compression xz|zstd|gzip|none]
#
# DIR of the binaries (default target/release) holds the six jobs and plana-manuals; `make deb` builds them first.
set -euo pipefail
umask 022
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C.UTF-8

jobs=(filestore-tarball insurance-snapshot partition-roller pg-dump-to-sos restore-from-sos retention-pruner)
binaries=target/release out=target version= compression=xz
while [ $# -gt 0 ]; do
  case $1 in
    --binaries) binaries=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --version) version=$2; shift 2 ;;
    --compression) compression=$2; shift 2 ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) echo "usage: tools/make-deb.sh [--binaries DIR] [--out DIR] [--version VERSION] [--compression NAME]" >&2; exit 2 ;;
  esac
done
for program in dpkg-deb objdump strip gzip; do
  command -v "$program" >/dev/null || { echo "make-deb: $program is missing: apt-get install dpkg binutils gzip" >&2; exit 1; }
done
for program in "${jobs[@]}" plana-manuals; do
  [ -x "$binaries/$program" ] || { echo "make-deb: $binaries/$program is missing: run 'make deb', which builds it" >&2; exit 1; }
done
[ -n "$version" ] || version=$(sed -n '1s/^plana-jobs (\([^)]*\)).*/\1/p' packaging/changelog)

root=$(mktemp -d "${TMPDIR:-/tmp}/plana-deb.XXXXXX")
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$root"
put() { install -D -m "$1" "$2" "$root/$3"; }

for job in "${jobs[@]}"; do
  put 755 "$binaries/$job" "usr/bin/$job"
  strip --strip-all --remove-section=.comment "$root/usr/bin/$job"
done
units=(systemd/*.service systemd/*.timer)
for unit in "${units[@]}"; do
  put 644 "$unit" "lib/systemd/system/${unit##*/}"
done
put 644 systemd/plana-jobs.sysusers usr/lib/sysusers.d/plana-jobs.conf
put 755 packaging/notify usr/lib/plana-jobs/notify
put 644 packaging/default etc/default/plana-jobs
put 644 config/installed.toml etc/plana-jobs/config.toml
install -d -m 755 "$root/etc/plana-jobs/conf.d"
# Each unit loads one of these; a directory that is missing would keep it from starting, an empty one does not.
install -d -m 700 "$root/etc/plana-jobs/credentials"
mapfile -t purposes < <(sed -n 's|^LoadCredential=[a-z-]*:/etc/plana-jobs/credentials/||p' "${units[@]}" | sort -u)
for purpose in "${purposes[@]}"; do
  install -d -m 700 "$root/etc/plana-jobs/credentials/$purpose"
done

"$binaries/plana-manuals" "$root/generated"
for page in "$root"/generated/man1/*; do
  put 644 "$page" "usr/share/man/man1/${page##*/}"
done
put 644 packaging/plana-jobs-notify.8 usr/share/man/man8/plana-jobs-notify.8
for job in "${jobs[@]}"; do
  put 644 "$root/generated/bash/$job.bash" "usr/share/bash-completion/completions/$job"
  put 644 "$root/generated/zsh/_$job" "usr/share/zsh/vendor-completions/_$job"
  put 644 "$root/generated/fish/$job.fish" "usr/share/fish/vendor_completions.d/$job.fish"
done
rm -r "$root/generated"

documents=usr/share/doc/plana-jobs
put 644 packaging/copyright "$documents/copyright"
put 644 packaging/lintian-overrides usr/share/lintian/overrides/plana-jobs
put 644 packaging/changelog "$documents/changelog.Debian"
put 644 README.md "$documents/README.md"
put 644 systemd/README.md "$documents/README.systemd.md"
put 644 shared/config/src/defaults.toml "$documents/defaults.toml"
put 644 config/plana.toml "$documents/examples/plana.toml"
put 644 config/exo.toml "$documents/examples/exo.toml"
gzip -9n "$root"/usr/share/man/man*/* "$root/$documents/changelog.Debian" "$root/$documents"/README*.md

mkdir "$root/DEBIAN"
install -m 755 packaging/postinst packaging/prerm packaging/postrm "$root/DEBIAN/"
(cd "$root" && find etc -type f -printf '/%p\n' | sort) >"$root/DEBIAN/conffiles"
(cd "$root" && find usr lib -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
# The oldest C library that has all that the binaries call.
libc=$(objdump -T "$root"/usr/bin/* | grep -oE 'GLIBC_[0-9.]+' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
size=$(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$(dpkg --print-architecture)/" -e "s/@LIBC@/$libc/" -e "s/@SIZE@/$size/" \
  packaging/control >"$root/DEBIAN/control"

mkdir -p "$out"
package=$out/plana-jobs_${version}_$(dpkg --print-architecture).deb
dpkg-deb --root-owner-group "-Z$compression" --build "$root" "$package" >&2
echo "$package"
