#!/bin/sh
# As root, while the container's image is built; VERSION is the option of that name.
set -eu

fits() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

python=
look() {
  for python in /usr/local/python/current/bin/python3 /usr/local/bin/python3 python3; do
    if fits "$python"; then return; fi
  done
  python=
}

look
if [ -z "$python" ] && command -v apt-get >/dev/null; then
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends python3-venv
  rm -rf /var/lib/apt/lists/*
  look
fi
if [ -z "$python" ]; then
  echo "idtoken-proxy needs Python 3.11 or later with venv; add the feature ghcr.io/devcontainers/features/python" >&2
  exit 1
fi

case ${VERSION:-latest} in
  latest) package=idtoken-proxy ;;
  *[!0-9A-Za-z.]*) echo "version: $VERSION is no version" >&2; exit 1 ;;
  *) package=idtoken-proxy==$VERSION ;;
esac

"$python" -m venv /opt/idtoken-proxy
/opt/idtoken-proxy/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir "$package"
ln -sf /opt/idtoken-proxy/bin/idtoken-proxy /usr/local/bin/idtoken-proxy
mkdir -p /usr/local/share/idtoken-proxy /usr/local/share/man/man1 /etc/bash_completion.d
ln -sf /opt/idtoken-proxy/share/man/man1/idtoken-proxy.1 /usr/local/share/man/man1/idtoken-proxy.1
/usr/local/bin/idtoken-proxy completion bash > /etc/bash_completion.d/idtoken-proxy

cat > /usr/local/share/idtoken-proxy/start <<'START'
#!/bin/sh
# As the developer, in the workspace, at each start of the container.
set -eu
state=${XDG_STATE_HOME:-$HOME/.local/state}
if [ -z "${IDTOKEN_PROXY_CONFIG:-}" ] && ! [ -f config/proxy.yaml ] && ! [ -f proxy.yaml ] && ! [ -f /etc/idtoken-proxy/proxy.yaml ]; then
  echo "idtoken-proxy: there is no proxy.yaml yet; idtoken-proxy init writes one"
  exit 0
fi
idtoken-proxy check >/dev/null
mkdir -p "$state"
setsid idtoken-proxy serve </dev/null >"$state/idtoken-proxy.log" 2>&1 &
echo "idtoken-proxy: started; its log is $state/idtoken-proxy.log"
START
chmod 755 /usr/local/share/idtoken-proxy/start
