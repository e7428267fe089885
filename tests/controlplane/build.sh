#!/usr/bin/env bash
# Builds the programs that the tests run against: a real Kubernetes control plane, kwok (which plays
# kubelets), helm, promtool and prometheus. Each is compiled from Go modules that the go.mod and
# go.sum beside this script pin, so all that a fresh machine needs is `go` and its module proxy.
#
#   build.sh                    all components
#   build.sh helm prometheus    only these
#
# Progress goes to stderr. The last line on stdout is BIN=<directory that holds the programs>.
#
# Environment:
#   VRAMGUARD_CONTROLPLANE_CACHE   where built programs are kept; default: vramguard/controlplane in
#                                  the user's cache directory. Outside the checkout, so that a clean
#                                  checkout does not mean half an hour of compiling.
#   KUBEBUILDER_ASSETS             a directory with kube-apiserver, etcd or kubectl: those found there
#                                  are used as they are and not built.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly cache="${VRAMGUARD_CONTROLPLANE_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME or VRAMGUARD_CONTROLPLANE_CACHE must be set}/.cache}/vramguard/controlplane}"
readonly -a all_components=(etcd kubernetes kwok helm prometheus)
# Seconds between two signs of life: linking alone can be silent for minutes.
readonly heartbeat=20

say() { printf '%s\n' "$*" >&2; }
die() {
    say "build.sh: $*"
    exit 1
}

# The recipe of one component. Sets:
#   module    the module whose version names the component
#   programs  name=package pairs, of which the go.mod lists the packages as tools too
#   tags      Go build tags
#   stamps    linker -X settings that carry a version into the programs
recipe() {
    local version
    tags=""
    stamps=()
    case $1 in
    etcd)
        module=go.etcd.io/etcd/server/v3
        programs=("etcd=$module")
        ;;
    kubernetes)
        module=k8s.io/kubernetes
        programs=()
        local name
        for name in kube-apiserver kube-controller-manager kube-scheduler kubectl; do
            programs+=("$name=$module/cmd/$name")
        done
        # Without these the server calls itself v0.0.0-master+$Format, which clients cannot parse.
        version=$(version_of "$1")
        local -a part
        IFS=. read -r -a part <<<"${version#v}"
        local into
        for into in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
            stamps+=("$into.gitVersion=$version" "$into.gitMajor=${part[0]}" "$into.gitMinor=${part[1]}")
        done
        ;;
    kwok)
        module=sigs.k8s.io/kwok
        programs=("kwok=$module/cmd/kwok")
        ;;
    helm)
        module=helm.sh/helm/v4
        programs=("helm=$module/cmd/helm")
        stamps=("$module/internal/version.version=$(version_of "$1")")
        ;;
    prometheus)
        module=github.com/prometheus/prometheus
        programs=("promtool=$module/cmd/promtool" "prometheus=$module/cmd/prometheus")
        # The cloud service discoveries are most of the dependencies and no test wants one; static,
        # file and HTTP discovery stay. The web UI is embedded only under a tag that is not set here.
        tags=remove_all_sd
        # As a Go module, Prometheus 3.16.0 is v0.316.0.
        version=$(version_of "$1")
        stamps=("github.com/prometheus/common/version.Version=3.${version#v0.3}")
        ;;
    *) die "unknown component '$1'; there are: ${all_components[*]}" ;;
    esac
    leave_out_given_assets
}

# Drops from `programs` what KUBEBUILDER_ASSETS already holds.
leave_out_given_assets() {
    [[ -n ${KUBEBUILDER_ASSETS:-} ]] || return 0
    local -a wanted=()
    local pair
    for pair in "${programs[@]}"; do
        given_asset "${pair%%=*}" || wanted+=("$pair")
    done
    programs=("${wanted[@]+"${wanted[@]}"}")
}

# The names are those that KUBEBUILDER_ASSETS is defined to hold, no others.
given_asset() {
    case $1 in
    kube-apiserver | etcd | kubectl) [[ -n ${KUBEBUILDER_ASSETS:-} && -x $KUBEBUILDER_ASSETS/$1 ]] ;;
    *) return 1 ;;
    esac
}

# version_of COMPONENT: the version that its go.mod requires. Needs `module`.
version_of() {
    local line
    while read -r line; do
        line=${line#require }
        if [[ $line == "$module v"* ]]; then
            line=${line#"$module "}
            printf '%s' "${line%% *}"
            return
        fi
    done <"$here/$1/go.mod"
    die "$1/go.mod does not require $module"
}

# key_of COMPONENT: names its directory in the cache. The hash covers everything that shapes the
# programs, and nothing else: a comment in this script must not cost a rebuild.
key_of() {
    local sum
    sum=$({
        uname -sm
        printf '%s\n' "${programs[@]}" "$tags" "${stamps[@]+"${stamps[@]}"}"
        cat -- "$here/$1/go.mod" "$here/$1/go.sum"
    } | sha256)
    printf '%s-%s-%s' "$1" "$(version_of "$1")" "${sum:0:12}"
}

sha256() {
    if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi
}

# A missing or old toolchain is an error that says what to install; asked only when there is
# something to build, so that a filled cache works without Go.
require_go() {
    local needs
    needs=$(sed -n 's/^go //p' "$here/$1/go.mod")
    command -v go >/dev/null ||
        die "Go is not installed (no 'go' on the PATH); $1 is built from source: install Go $needs or newer, or point VRAMGUARD_CONTROLPLANE_CACHE to a filled cache"
    local answer
    # Reading go.mod is where an older Go gives up, or fetches a newer one where GOTOOLCHAIN allows.
    answer=$(cd -- "$here/$1" && GOWORK=off go list -m 2>&1) ||
        die "$1 needs Go $needs or newer: $answer"
}

# build COMPONENT LABEL KEY: compiles into a temporary directory and renames it into place, so that a
# half-built component is never seen, whatever kills us.
build() {
    local component=$1 label=$2 key=$3
    require_go "$component"
    mkdir -p -- "$cache"
    # One process builds, others wait for it. Without flock two may build the same thing: slow, yet
    # correct, since each has its own temporary directory.
    exec 9>"$cache/.lock-$component"
    if command -v flock >/dev/null && ! flock -n 9; then
        say "$label: another process is building it, waiting"
        flock 9
    fi
    if [[ ! -d $cache/$key ]]; then
        scratch=$(mktemp -d -- "$cache/.building-$component.XXXXXX")
        mkdir -- "$scratch/bin"
        compile "$component" "$label"
        [[ -d $cache/$key ]] || mv -- "$scratch" "$cache/$key"
        rm -rf -- "$scratch"
        scratch=""
    fi
    exec 9>&-
}

# compile COMPONENT LABEL: one `go build` for all its programs, which share most packages.
compile() {
    local component=$1 label=$2 started=$SECONDS
    local -a packages=() ldflags=(-s -w)
    local item out=$scratch/bin/
    for item in "${programs[@]}"; do packages+=("${item#*=}"); done
    for item in "${stamps[@]+"${stamps[@]}"}"; do ldflags+=(-X "$item"); done
    # The last element of a package path is not always the program's name (etcd's is "v3").
    if ((${#programs[@]} == 1)); then out+=${programs[0]%%=*}; fi

    cd -- "$here/$component"
    # -mod=readonly: build exactly what go.sum names. No cgo: no C compiler needed. No VCS stamp: it
    # would be our commit, in their programs. No workspace file from a directory above.
    export GOFLAGS=-mod=readonly CGO_ENABLED=0 GOWORK=off
    say "$label: fetching modules"
    go mod download >"$scratch/log" 2>&1 || failed "$label" "$scratch/log"
    local total
    total=$(go list -deps -tags "$tags" "${packages[@]}" 2>>"$scratch/log" | wc -l) || failed "$label" "$scratch/log"
    go build -v -trimpath -buildvcs=false -tags "$tags" -ldflags "${ldflags[*]}" -o "$out" "${packages[@]}" \
        >"$scratch/log" 2>&1 9>&- &
    compiler=$!
    watch "$label" "$started" "$total"
    wait "$compiler" || failed "$label" "$scratch/log"
    compiler=""
    rm -f -- "$scratch/log"
    say "$label: built in $((SECONDS - started)) s"
}

# Says how far the compiler is until it ends: `go build -v` writes one line a package.
watch() {
    local label=$1 started=$2 total=$3 next=$((SECONDS + heartbeat)) compiled
    while kill -0 "$compiler" 2>/dev/null; do
        sleep 0.5
        ((SECONDS >= next)) || continue
        next=$((SECONDS + heartbeat))
        compiled=$(wc -l <"$scratch/log")
        say "$label … $((SECONDS - started)) s, $((compiled)) of $((total)) packages"
    done
}

failed() {
    tail -n 40 -- "$2" >&2
    die "$1 failed to build (the last lines of the compiler are above)"
}

# Leaves neither a compiler at work nor its half-done output when interrupted.
clean_up() {
    if [[ -n ${compiler:-} ]]; then kill "$compiler" 2>/dev/null || true; fi
    if [[ -n ${scratch:-} ]]; then rm -rf -- "$scratch"; fi
}

# gather DIRECTORY TARGET...: one directory of links to all programs, renamed into place as a whole.
gather() {
    local into=$1 target
    shift
    [[ ! -d $into ]] || return 0
    mkdir -p -- "$cache"
    scratch=$(mktemp -d -- "$cache/.gathering.XXXXXX")
    mkdir -- "$scratch/bin"
    for target in "$@"; do ln -s -- "$target" "$scratch/bin/${target##*/}"; done
    [[ -d $into ]] || mv -- "$scratch" "$into"
    rm -rf -- "$scratch"
    scratch=""
}

main() {
    local -a components=("$@") links=()
    ((${#components[@]})) || components=("${all_components[@]}")
    trap clean_up EXIT
    trap 'exit 130' INT TERM HUP
    local module tags pair component key number=0
    local -a programs stamps
    for component in "${components[@]}"; do
        number=$((number + 1))
        recipe "$component"
        for pair in "${programs[@]+"${programs[@]}"}"; do
            key=${key:-$(key_of "$component")}
            links+=("$cache/$key/bin/${pair%%=*}")
        done
        if [[ -n ${key:-} && ! -d $cache/$key ]]; then
            build "$component" "[$number/${#components[@]}] $component $(version_of "$component")" "$key"
        fi
        key=""
    done
    for pair in kube-apiserver etcd kubectl; do
        if given_asset "$pair"; then links+=("$(cd -- "$KUBEBUILDER_ASSETS" && pwd)/$pair"); fi
    done
    local all
    all=$(printf '%s\n' "${links[@]}" | sha256)
    gather "$cache/programs-${all:0:12}" "${links[@]}"
    printf 'BIN=%s\n' "$cache/programs-${all:0:12}/bin"
}

main "$@"
