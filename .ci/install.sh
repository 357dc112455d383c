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

# A Debian package as a tree in the build directory, with the libraries that it needs and the system
# lacks: for servers whose programs find their other files beside them, and that must not be started.
tree_of_apt() { # NAME PACKAGE
    have apt-get && have dpkg-deb || return 1
    local dir=target/tools/$1 new=target/tools/$1.new packages
    rm -rf "$new" && mkdir -p "$new/archives" || return 1
    apt-cache show "$2" >/dev/null 2>&1 || apt-get update -qq >/dev/null 2>&1
    # Only a just-in-time compiler needs LLVM, and nothing goes wrong without it.
    packages=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts \
        --no-breaks --no-replaces --no-enhances "$2" | grep -E '^lib[a-z0-9.+-]+$' | grep -v '^libllvm' | sort -u)
    packages=$(for package in $packages; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
    done)
    # shellcheck disable=SC2086 # names of packages, without spaces
    (cd "$new/archives" && { apt-get download -qq "$2" $packages ||
        { apt-get update -qq && apt-get download -qq "$2" $packages; }; }) >/dev/null 2>&1 &&
        for archive in "$new"/archives/*.deb; do dpkg-deb -x "$archive" "$new" || return 1; done &&
        rm -rf "$new/archives" "$dir" && mv "$new" "$dir"
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
