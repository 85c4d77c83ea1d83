# shellcheck shell=sh
# The .rpm: one for all architectures. Sourced by packaging/build.sh, which has these:
: "${work:?}" "${version:?}" "${out:?}"

make_rpm() {
    command -v rpmbuild >/dev/null || fail "no rpmbuild: on Debian, apt-get install rpm"
    root=$work/rpm
    make_root "$root" /usr/bin/python3.11
    add_papers "$root" site-functions
    # Those of the libraries are beside them.
    install -D -m 644 LICENSE "$root/usr/share/licenses/delphi-agent/LICENSE"
    settle "$root"
    fill packaging/rpm/scripts.in >"$work/scripts"
    sed -e "s|@VERSION@|$version|" -e "s|@ROOT@|$root|" -e "/@SCRIPTS@/r $work/scripts" -e '/@SCRIPTS@/d' \
        packaging/rpm/delphi-agent.spec.in >"$work/delphi-agent.spec"
    # A name of its own, and none of the caller's settings.
    HOME=$work rpmbuild -bb --quiet --define "_topdir $work/rpmbuild" --define "_rpmdir $work/rpms" \
        --define '_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' "$work/delphi-agent.spec"
    mv "$work/rpms/delphi-agent-$version-1.noarch.rpm" "$out/"
}
