# For scripts to source, from the root of the repository: installs programs that they lack.

have() { command -v "$1" >/dev/null 2>&1; }

# With apt, where we may; says whether it worked.
from_apt() {
    have apt-get && [ "$(id -u)" = 0 ] || return 1
    { apt-get install -qqy --no-install-recommends "$@" ||
        { apt-get update -qq && apt-get install -qqy --no-install-recommends "$@"; }; } >/dev/null
}

# One program of a Debian package, into the build directory: for packages that would start a service
# if they were installed. Needs no rights, nor the network where it has been done before.
program_of_apt() { # PROGRAM PACKAGE
    have apt-get && have dpkg-deb || return 1
    local dir=target/tools/$2
    rm -rf "$dir" && mkdir -p "$dir" target/tools/bin || return 1
    (cd "$dir" && { apt-get download -qq "$2" || { apt-get update -qq && apt-get download -qq "$2"; }; }) >/dev/null 2>&1 &&
        dpkg-deb --fsys-tarfile "$dir/$2"_*.deb | tar -x -C target/tools/bin --strip-components=3 "./usr/bin/$1"
    local status=$?
    rm -rf "$dir"
    return "$status"
}

# From PyPI into an environment of the build directory, whose programs come first from here on.
from_pip() {
    [ -x target/tools/bin/pip ] || python3 -m venv target/tools
    target/tools/bin/pip install --quiet --disable-pip-version-check "$@"
}
mkdir -p target
export PATH="$PWD/target/tools/bin:$PATH"

# zlib-ng, below pingora, is built with cmake.
install_cmake() { have cmake || from_apt cmake || from_pip cmake; }
