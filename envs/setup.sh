#!/bin/sh
# Install everything, and this project, into a virtual environment: `make` runs it in the project's folder when
# requirements.txt or pyproject.toml has changed, or another torch is asked for.
#   TORCH=... PIP_ARGS=... sh envs/setup.sh PYTHON VENV        (variables: as the Makefile has them)
set -eu
python=$1
venv=$2
fail() {
  echo "error: $1" >&2
  exit 2
}

# Everything is compiled now, once. Left to the first import, each job would compile torch and transformers anew wherever
# PYTHONDONTWRITEBYTECODE is set (containers, CI): ten seconds of work a job.
if uv --version > /dev/null 2>&1; then
  uv=yes
  # uv looks for packages where pip was told to look.
  [ -z "${PIP_FIND_LINKS:-}" ] || export UV_FIND_LINKS="${UV_FIND_LINKS:-$(echo "$PIP_FIND_LINKS" | tr " " ,)}"
  [ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"
  create() { uv venv --quiet --python "$(command -v "$python")" "$venv"; }
  install() { uv pip install --quiet --compile-bytecode --python "$venv/bin/python" ${PIP_ARGS:-} "$@"; }
else
  uv=
  create() { "$python" -m venv "$venv"; }
  install() { "$venv/bin/python" -m pip install --quiet --retries 5 --timeout 120 ${PIP_ARGS:-} "$@"; }
fi

if ! [ -x "$venv/bin/python" ]; then
  "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' ||
    fail "Python 3.11, 3.12 or 3.13 is needed; name one with make PYTHON=/path/to/python3.11"
  create
fi
# An environment that uv made has no pip.
[ "$uv" ] || [ -x "$venv/bin/pip" ] || "$venv/bin/python" -m ensurepip --default-pip > /dev/null

# Other systems than Linux have one build of torch. PyPI's is the one whose version has no label, which === insists on; all
# others have one, and lie on PyTorch's own index, which is not asked if pip was told of a folder that has the wheel.
version=$(sed -n 's/^torch==\([^ ]*\).*/\1/p' requirements.txt)
case "$(uname -s) ${TORCH:-}" in
  "Linux cuda") install --no-deps "torch===$version" ;;
  "Linux "?*)
    install --no-deps --no-index "torch==$version+$TORCH" 2> /dev/null ||
      install --no-deps --index-url "https://download.pytorch.org/whl/$TORCH" "torch==$version+$TORCH" ||
      fail "TORCH=$TORCH names no build of torch $version that can be had here: say cpu, cuda, or none"
    ;;
esac
install --requirement requirements.txt
install --no-deps --no-build-isolation --editable .
echo "${TORCH:-}" > "$venv/.torch"
